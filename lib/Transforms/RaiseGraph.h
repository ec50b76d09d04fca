// SPDX-License-Identifier: Apache-2.0
// The steps of tp-raise, in the order of the pass, and what they share. Each step rewrites one
// function and leaves dead ops behind; eraseDead() takes them away.
#pragma once

#include "RaiseWeights.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "llvm/ADT/DenseSet.h"

namespace tenon::raise {

/// Removes ops that change nothing and joins neighbouring reshapes and transposes; transposes of
/// weights go into matmuls.
void dropNoOps(mlir::func::FuncOp function);
/// pow, mean, rsqrt, mul -> tp.rms_norm.
void raiseNorms(mlir::func::FuncOp function);
/// The tanh form of GELU spelled out -> gelu_tanh; x * sigmoid(x) -> silu.
void raiseActivations(mlir::func::FuncOp function);
/// x * cos + rotate_half(x) * sin -> tp.rope.
void raiseRope(mlir::func::FuncOp function, WeightViews &weights);
/// tp.sdpa -> tp.attention, with head dimensions straight from the projections where they can be.
void raiseAttention(mlir::func::FuncOp function, WeightViews &weights);
/// Reshapes and slices of projections into the projections, joined heads into contractions.
void raiseHeads(mlir::func::FuncOp function, WeightViews &weights);
/// Slices of one position -> tp.take.
void raiseTakes(mlir::func::FuncOp function);

/// Ops that a side effect or a result depends on.
llvm::DenseSet<mlir::Operation *> liveOps(mlir::func::FuncOp function);
void eraseDead(mlir::func::FuncOp function);

llvm::ArrayRef<int64_t> shapeOf(mlir::Value value);
int64_t sizeOf(mlir::Value value);
mlir::Type elementOf(mlir::Value value);
/// The value's type with another shape.
mlir::RankedTensorType typeWith(mlir::Value value, llvm::ArrayRef<int64_t> shape);
/// True for a loaded global, also behind ops that only move its elements.
bool isWeight(mlir::Value value);
/// The value of a constant of one value, also behind broadcasts and casts.
std::optional<double> splatOf(mlir::Value value);
/// True when the value is a constant near `expected`, as far as its element type can tell.
bool isSplat(mlir::Value value, double expected);

/// Reshape and transpose, unless they would change nothing.
mlir::Value makeReshape(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                        llvm::ArrayRef<int64_t> shape);
mlir::Value makeTranspose(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                          llvm::ArrayRef<int64_t> permutation);

/// If `op` is a `kind` with an operand that satisfies `first`, returns the other operand, else
/// null.
template <typename Fn> mlir::Value otherOperand(tp::BinaryOp op, tp::BinaryKind kind, Fn first) {
  if (!op || op.getKind() != kind)
    return {};
  if (first(op.getLhs()))
    return op.getRhs();
  return first(op.getRhs()) ? op.getLhs() : mlir::Value();
}

/// Letters that an einsum does not use yet.
class FreshLetters {
public:
  explicit FreshLetters(llvm::StringRef einsum) : used(einsum) {}
  std::optional<char> next();

private:
  std::string used;
};

} // namespace tenon::raise
