// SPDX-License-Identifier: Apache-2.0
// LowerFunction: one function of the phase `local` or `optimized` becomes one plan entry.
//
// Each SSA value is a region of a buffer (EntryBuilder); ops that only look at data make no
// instruction. Splat constants become numbers inside expressions, other constants are filled where
// first used.
#pragma once

#include "EntryBuilder.h"

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include <map>

namespace tenon {

/// The weights of the plan by the symbol of their global. `ones` is set for the scales of norms on
/// the way.
struct WeightTable {
  llvm::StringMap<int32_t> numbers;
  std::vector<plan::Weight> weights;
};

class FunctionLowering {
public:
  FunctionLowering(mlir::func::FuncOp function, const sharding::Mesh &mesh, WeightTable &weights)
      : function(function), mesh(mesh), weights(weights), build(entry) {}

  /// Returns the entry, or fails after an error at the op.
  mlir::FailureOr<plan::Entry> run();

private:
  using Result = mlir::FailureOr<plan::Operand>;
  using Sizes = EntryBuilder::Sizes;

  mlir::LogicalResult addInput(unsigned index);
  mlir::LogicalResult addOutput(unsigned index, mlir::Value value);
  mlir::LogicalResult lowerOp(mlir::Operation *op);

  // One per op; returns the region of the result.
  Result lower(mlir::ml_program::GlobalLoadConstOp op);
  Result lower(tp::ConstantOp op);
  Result lower(tp::MatMulOp op);
  Result lower(tp::UnaryOp op);
  Result lower(tp::BinaryOp op);
  Result lower(tp::CompareOp op);
  Result lower(tp::SelectOp op);
  Result lower(tp::ElementwiseOp op);
  Result lower(tp::ConvertOp op);
  Result lower(tp::SoftmaxOp op);
  Result lower(tp::LayerNormOp op);
  Result lower(tp::RmsNormOp op);
  Result lower(tp::AttentionOp op);
  Result lower(tp::RopeOp op);
  Result lower(tp::EmbeddingOp op);
  Result lower(tp::TakeOp op);
  Result lower(tp::ReshapeOp op);
  Result lower(tp::TransposeOp op);
  Result lower(tp::BroadcastOp op);
  Result lower(tp::SliceOp op);
  Result lower(tp::ConcatOp op);
  Result lower(tp::ReduceOp op);
  Result lower(tp::MaskPaddingOp op);
  /// tp.all_reduce and its kin, in LowerCollectives.cpp.
  Result lowerCollective(mlir::Operation *op);

  /// An expression over values: inputs are broadcast to the result, splat constants become numbers.
  Result expression(mlir::Operation *op, mlir::ValueRange inputs,
                    llvm::ArrayRef<plan::ExprTerm> terms);
  Result norm(mlir::Operation *op, plan::Norm::Kind kind, mlir::Value x, mlir::Value scale,
              mlir::Value bias, int64_t dims, float eps, bool rounded = false);

  /// Positions [batch, sequence] of a rope: its operand, or those counted from its `position`.
  Result ropePositions(tp::RopeOp op, int64_t batch, int64_t sequence);
  /// A buffer of `size` i32: 0, 1, .., count - 1, then count - 1 again. Made once, in log2(count)
  /// steps.
  plan::Operand iota(int64_t count, int64_t size);
  /// A rope's table as dense f32; made once for all ropes that share it.
  plan::Operand ropeTable(const plan::Operand &table);

  /// The region of a value; materialises a constant.
  Result region(mlir::Value value);
  /// A value that is one number everywhere.
  std::optional<double> splat(mlir::Value value);
  /// True when a value's buffer holds that value alone and only this user reads it.
  bool ownsBuffer(mlir::Value value, const plan::Operand &region);

  plan::Axes axes(const sharding::AxisList &list) { return {list.begin(), list.end()}; }
  mlir::FailureOr<plan::RankValue> rankValue(mlir::Operation *op, tp::RankValueAttr attr,
                                             int64_t otherwise);
  static Sizes shapeOf(mlir::Value value);
  plan::DataType typeOf(mlir::Value value);
  plan::Operand newResult(mlir::Operation *op);

  mlir::func::FuncOp function;
  const sharding::Mesh &mesh;
  WeightTable &weights;
  plan::Entry entry;
  EntryBuilder build;
  llvm::DenseMap<mlir::Value, plan::Operand> regions;
  std::map<std::pair<int64_t, int64_t>, plan::Operand> iotas;
  std::vector<std::pair<plan::Operand, plan::Operand>> ropeTables; ///< As given, and as made.
};

/// The name of the layer that a location stands for: its name, or the first name inside it; ""
/// without one.
std::string layerOf(mlir::Location loc);

} // namespace tenon
