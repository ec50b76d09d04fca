// SPDX-License-Identifier: Apache-2.0

#include "RaiseGraph.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

ArrayRef<int64_t> raise::shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}
int64_t raise::sizeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getNumElements();
}
Type raise::elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}
RankedTensorType raise::typeWith(Value value, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, elementOf(value));
}

bool raise::isWeight(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<ml_program::GlobalLoadConstOp>(op))
      return true;
    if (!isa<ReshapeOp, TransposeOp, SliceOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

std::optional<double> raise::splatOf(Value value) {
  while (isa_and_nonnull<BroadcastOp, ReshapeOp, ConvertOp>(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  auto constant = value.getDefiningOp<ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!elements || !elements.isSplat() || elements.empty())
    return std::nullopt;
  if (isa<FloatType>(elements.getElementType()))
    return elements.getSplatValue<APFloat>().convertToDouble();
  return static_cast<double>(elements.getSplatValue<APInt>().getSExtValue());
}

bool raise::isSplat(Value value, double expected) {
  std::optional<double> found = splatOf(value);
  // Half a unit in the last place of the type, and what a double loses on its way through text.
  double precision = elementOf(value).isF32()    ? 1e-6
                     : elementOf(value).isF16()  ? 1e-3
                     : elementOf(value).isBF16() ? 4e-3
                                                 : 0;
  return found && std::abs(*found - expected) <= precision * std::abs(expected);
}

Value raise::makeReshape(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> shape) {
  if (shapeOf(value) == shape)
    return value;
  return ReshapeOp::create(builder, loc, typeWith(value, shape), value);
}

Value raise::makeTranspose(OpBuilder &builder, Location loc, Value value,
                           ArrayRef<int64_t> permutation) {
  if (llvm::is_sorted(permutation))
    return value;
  SmallVector<int64_t> shape;
  for (int64_t dim : permutation)
    shape.push_back(shapeOf(value)[dim]);
  return TransposeOp::create(builder, loc, typeWith(value, shape), value, permutation);
}

std::optional<char> FreshLetters::next() {
  for (char letter : StringRef("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if (used.find(letter) == std::string::npos) {
      used.push_back(letter);
      return letter;
    }
  return std::nullopt;
}

llvm::DenseSet<Operation *> raise::liveOps(func::FuncOp function) {
  llvm::DenseSet<Operation *> live;
  for (Operation &op : llvm::reverse(function.getBody().front()))
    if (!isMemoryEffectFree(&op) || op.hasTrait<OpTrait::IsTerminator>() ||
        llvm::any_of(op.getUsers(), [&](Operation *user) { return live.contains(user); }))
      live.insert(&op);
  return live;
}

void raise::eraseDead(func::FuncOp function) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (op.use_empty() && isMemoryEffectFree(&op) && !op.hasTrait<OpTrait::IsTerminator>())
      op.erase();
}

/// The einsum's operand with its transpose taken away and its letters permuted instead.
static std::string withoutTranspose(StringRef term, OpOperand &operand) {
  auto transpose = operand.get().getDefiningOp<TransposeOp>();
  if (!transpose || !isWeight(transpose.getInput()))
    return term.str();
  std::string text(term.size(), ' ');
  for (auto [to, from] : llvm::enumerate(transpose.getPermutation()))
    text[from] = term[to];
  operand.set(transpose.getInput());
  return text;
}

void raise::dropNoOps(func::FuncOp function) {
  // In program order, so that what an op reads is already in its last form.
  for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
    OpBuilder builder(&op);
    if (auto reshape = dyn_cast<ReshapeOp>(op)) {
      if (auto inner = reshape.getInput().getDefiningOp<ReshapeOp>())
        reshape.getInputMutable().assign(inner.getInput());
    } else if (auto transpose = dyn_cast<TransposeOp>(op)) {
      if (auto inner = transpose.getInput().getDefiningOp<TransposeOp>()) {
        SmallVector<int64_t> permutation;
        for (int64_t dim : transpose.getPermutation())
          permutation.push_back(inner.getPermutation()[dim]);
        transpose.setPermutation(permutation);
        transpose.getInputMutable().assign(inner.getInput());
      }
    } else if (auto concat = dyn_cast<ConcatOp>(op)) {
      SmallVector<Value> inputs;
      llvm::copy_if(concat.getInputs(), std::back_inserter(inputs),
                    [](Value input) { return sizeOf(input) != 0; });
      if (inputs.size() == 1 && inputs.front().getType() == concat.getType())
        concat.getResult().replaceAllUsesWith(inputs.front());
      else if (!inputs.empty() && inputs.size() < concat.getInputs().size())
        concat.getInputsMutable().assign(inputs);
      continue;
    } else if (auto matmul = dyn_cast<MatMulOp>(op)) {
      Einsum einsum = *parseEinsum(matmul.getEinsum());
      std::string lhs = withoutTranspose(einsum.lhs, matmul.getLhsMutable()),
                  rhs = withoutTranspose(einsum.rhs, matmul.getRhsMutable());
      matmul.setEinsum(lhs + "," + rhs + "->" + einsum.result);
      continue;
    }
    if (isa<ReshapeOp, TransposeOp, BroadcastOp, SliceOp, ConvertOp>(op) &&
        op.getOperand(0).getType() == op.getResult(0).getType()) {
      auto transpose = dyn_cast<TransposeOp>(op);
      if (!transpose || llvm::is_sorted(transpose.getPermutation()))
        op.getResult(0).replaceAllUsesWith(op.getOperand(0));
    }
  }
  eraseDead(function);
}

void raise::raiseTakes(func::FuncOp function) {
  for (SliceOp slice : llvm::make_early_inc_range(function.getOps<SliceOp>())) {
    ArrayRef<int64_t> from = shapeOf(slice.getInput()), to = slice.getSizes();
    SmallVector<int64_t> dims;
    for (auto [dim, before, after] : llvm::enumerate(from, to))
      if (before != after)
        dims.push_back(dim);
    if (dims.empty() || llvm::any_of(dims, [&](int64_t dim) { return to[dim] != 1; }))
      continue;
    OpBuilder builder(slice);
    Value value = slice.getInput();
    for (int64_t dim : dims) {
      SmallVector<int64_t> shape(shapeOf(value));
      shape[dim] = 1;
      value = TakeOp::create(builder, slice.getLoc(), typeWith(value, shape), value, dim,
                             slice.getOffsets()[dim], nullptr, nullptr);
    }
    slice.getResult().replaceAllUsesWith(value);
    slice.erase();
  }
}
