// SPDX-License-Identifier: Apache-2.0
// Head dimensions into the matmuls around them. A dimension that was joined before a contraction is
// contracted in its parts: matmul "abk,nk->abn" (reshape [b,s,g,r,d] -> [b,s,k], w) becomes
// "abcde,ncde->abn" with the weight's view [n,g,r,d]. A dimension that is split, or cut into parts,
// after a matmul comes out of the matmul in this form.

#include "RaiseGraph.h"
#include "RaiseLayout.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

namespace {

using Parts = SmallVector<SmallVector<int64_t>>;

bool isLarge(int64_t size) { return size != 1; }

/// Per dimension of a reshape's result the dimensions that it joins (itself where it joins none).
std::optional<Parts> joinedParts(ReshapeOp reshape) {
  ArrayRef<int64_t> from = shapeOf(reshape.getInput()), to = shapeOf(reshape.getResult());
  Parts parts;
  for (int64_t size : to)
    parts.push_back({size});
  bool joins = false;
  for (const ReshapeGroup &group : reshapeGroups(from, to)) {
    ArrayRef<int64_t> left = from.slice(group.from, group.fromEnd - group.from),
                      right = to.slice(group.to, group.toEnd - group.to);
    if (llvm::count_if(left, isLarge) < 2 || llvm::count_if(right, isLarge) != 1)
      continue;
    int64_t at = group.to + (llvm::find_if(right, isLarge) - right.begin());
    parts[at].assign(left.begin(), left.end());
    joins = true;
  }
  return joins ? std::optional(parts) : std::nullopt;
}

/// The joins behind a value, also through elementwise ops of its shape.
std::optional<Parts> findJoins(Value value, int depth = 0) {
  Operation *op = value.getDefiningOp();
  if (auto reshape = dyn_cast_or_null<ReshapeOp>(op))
    return joinedParts(reshape);
  if (!isa_and_nonnull<UnaryOp, ConvertOp, BinaryOp>(op) || depth == 6)
    return std::nullopt;
  for (Value operand : op->getOperands())
    if (shapeOf(operand) == shapeOf(value))
      if (std::optional<Parts> parts = findJoins(operand, depth + 1))
        return parts;
  return std::nullopt;
}

/// Contracts dimensions that one operand joins in their parts. Returns true when it did.
bool splitContraction(MatMulOp op, bool left, LayoutRewriter &rewriter) {
  if (op.getBias() || op.getResidual() || op.getActivation() != ActivationKind::None)
    return false;
  Einsum einsum = *parseEinsum(op.getEinsum());
  std::optional<Parts> parts = findJoins(left ? op.getLhs() : op.getRhs());
  if (!parts)
    return false;
  FreshLetters fresh(op.getEinsum());
  llvm::SmallDenseMap<char, std::pair<std::string, SmallVector<int64_t>>> letters;
  bool contracts = false;
  for (auto [letter, sizes] : llvm::zip_equal(left ? einsum.lhs : einsum.rhs, *parts)) {
    auto &[names, split] = letters[letter];
    split = sizes;
    if (sizes.size() == 1) {
      names = std::string(1, letter);
      continue;
    }
    contracts |= !StringRef(einsum.result).contains(letter);
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::optional<char> next = fresh.next();
      if (!next)
        return false;
      names.push_back(*next);
    }
  }
  if (!contracts)
    return false;
  std::string text;
  auto layoutOf = [&](StringRef term, Value value) {
    Parts split;
    for (auto [letter, size] : llvm::zip_equal(term, shapeOf(value))) {
      auto it = letters.find(letter);
      split.push_back(it == letters.end() ? SmallVector<int64_t>{size} : it->second.second);
      text += it == letters.end() ? std::string(1, letter) : it->second.first;
    }
    return Layout::split(split);
  };
  Layout lhs = layoutOf(einsum.lhs, op.getLhs());
  text += ",";
  Layout rhs = layoutOf(einsum.rhs, op.getRhs());
  text += "->";
  Layout result = layoutOf(einsum.result, op.getResult());
  if (!rewriter.can(op.getLhs(), lhs) || !rewriter.can(op.getRhs(), rhs))
    return false;
  OpBuilder builder(op);
  Value newLhs = rewriter.make(op.getLhs(), lhs), newRhs = rewriter.make(op.getRhs(), rhs);
  Value matmul =
      MatMulOp::create(builder, op.getLoc(), typeWith(op.getResult(), result.resultShape()), text,
                       newLhs, newRhs, Value(), Value(), ActivationKind::None);
  op.getResult().replaceAllUsesWith(
      makeReshape(builder, op.getLoc(), matmul, shapeOf(op.getResult())));
  return true;
}

/// What a reshape splits is computed split, if the ops before it can. Dimensions that it joins are
/// joined after.
void pullSplit(ReshapeOp op, LayoutRewriter &rewriter) {
  ArrayRef<int64_t> from = shapeOf(op.getInput()), to = shapeOf(op.getResult());
  // Dimensions of size 1 between two others may belong to either: first to the left, as a sequence
  // of one position does.
  for (bool unitsLeft : {true, false}) {
    SmallVector<ReshapeGroup> groups = reshapeGroups(from, to);
    for (size_t i = 1; unitsLeft && i < groups.size(); ++i)
      while (groups[i].to < groups[i].toEnd - 1 && to[groups[i].to] == 1 &&
             groups[i - 1].toEnd == groups[i].to) {
        ++groups[i - 1].toEnd;
        ++groups[i].to;
      }
    Parts parts;
    for (int64_t size : from)
      parts.push_back({size});
    bool splits = false;
    for (const ReshapeGroup &group : groups) {
      ArrayRef<int64_t> right = to.slice(group.to, group.toEnd - group.to);
      if (group.fromEnd - group.from != 1 || right.size() < 2)
        continue;
      parts[group.from].assign(right.begin(), right.end());
      splits = true;
    }
    Layout layout = Layout::split(parts);
    if (!splits || !rewriter.can(op.getInput(), layout))
      continue;
    Value made = rewriter.make(op.getInput(), layout);
    OpBuilder builder(op);
    op.getResult().replaceAllUsesWith(makeReshape(builder, op.getLoc(), made, to));
    return;
  }
}

/// A slice of a projection becomes a projection with a slice of the weight. Slices of a weight
/// itself stay: other entries may read other parts of it.
void pullSlice(SliceOp op, LayoutRewriter &rewriter) {
  Layout layout = Layout::slice(op.getOffsets(), op.getSizes(), op.getStrides());
  if (isWeight(op.getInput()) || !rewriter.can(op.getInput(), layout))
    return;
  op.getResult().replaceAllUsesWith(rewriter.make(op.getInput(), layout));
}

template <typename Op, typename Fn>
void forEach(func::FuncOp function, WeightViews &weights, Fn rewrite) {
  LayoutRewriter rewriter(weights);
  SmallVector<Op> ops(function.getOps<Op>());
  for (Op op : ops)
    rewrite(op, rewriter);
  rewriter.finish(function);
  dropNoOps(function);
}

} // namespace

void raise::raiseHeads(func::FuncOp function, WeightViews &weights) {
  forEach<MatMulOp>(function, weights, [](MatMulOp op, LayoutRewriter &rewriter) {
    if (!splitContraction(op, /*left=*/true, rewriter))
      splitContraction(op, /*left=*/false, rewriter);
  });
  forEach<SliceOp>(function, weights, pullSlice);
  forEach<ReshapeOp>(function, weights, pullSplit);
}
