// SPDX-License-Identifier: Apache-2.0
// RMS normalisation spelled out -> tp.rms_norm. The form is x * rsqrt(mean(x^2) + eps) [* weight],
// with x cast to f32 before and back after, or between the two products. What is rounded where
// stays as it is: a product with the weight that follows a cast to a narrower type remains a
// product of its own.

#include "RaiseGraph.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

namespace {

struct Norm {
  Value input;
  double eps = 0;
};

/// Matches rsqrt(sum(x^2) / n + eps) over the last dimension.
std::optional<Norm> matchStatistics(UnaryOp rsqrt) {
  Norm norm;
  auto takeEps = [&](Value value) {
    std::optional<double> eps = splatOf(value);
    norm.eps = eps.value_or(0);
    return eps && *eps > 0;
  };
  Value mean = otherOperand(rsqrt.getInput().getDefiningOp<BinaryOp>(), BinaryKind::Add, takeEps);
  auto scaled = mean ? mean.getDefiningOp<BinaryOp>() : BinaryOp();
  if (!scaled)
    return std::nullopt;
  Value sum;
  auto reduceOf = [](Value value) { return value ? value.getDefiningOp<ReduceOp>() : ReduceOp(); };
  auto isMean = [&](ReduceOp reduce, Value factor, bool divides) {
    if (!reduce || reduce.getKind() != ReduceKind::Sum)
      return false;
    int64_t n = shapeOf(reduce.getInput()).back();
    return isSplat(factor, divides ? double(n) : 1.0 / double(n));
  };
  if (scaled.getKind() == BinaryKind::Div &&
      isMean(reduceOf(scaled.getLhs()), scaled.getRhs(), true))
    sum = scaled.getLhs();
  if (scaled.getKind() == BinaryKind::Mul &&
      isMean(reduceOf(scaled.getLhs()), scaled.getRhs(), false))
    sum = scaled.getLhs();
  if (scaled.getKind() == BinaryKind::Mul &&
      isMean(reduceOf(scaled.getRhs()), scaled.getLhs(), false))
    sum = scaled.getRhs();
  ReduceOp reduce = reduceOf(sum);
  if (!reduce)
    return std::nullopt;
  int64_t rank = shapeOf(reduce.getInput()).size();
  auto square = reduce.getInput().getDefiningOp<BinaryOp>();
  if (!square || reduce.getDims() != ArrayRef<int64_t>{rank - 1})
    return std::nullopt;
  bool isSquare = (square.getKind() == BinaryKind::Mul && square.getLhs() == square.getRhs()) ||
                  (square.getKind() == BinaryKind::Pow && isSplat(square.getRhs(), 2));
  norm.input = square.getLhs();
  if (!isSquare || norm.input.getType() != square.getType())
    return std::nullopt;
  return norm;
}

/// The only user of a value, if it is an Op.
template <typename Op> Op onlyUser(Value value) {
  return value.hasOneUse() ? dyn_cast<Op>(*value.getUsers().begin()) : Op();
}

/// Replaces `last` by rms_norm(input) * scale.
void replaceBy(Operation *last, Value input, Value scale, double eps, bool rounded) {
  OpBuilder builder(last);
  auto norm = RmsNormOp::create(builder, last->getLoc(), input.getType(), input, scale,
                                APFloat(static_cast<float>(eps)), 1, rounded);
  last->getResult(0).replaceAllUsesWith(norm);
}

/// The product of a value of `shape` with a weight over its last dimension, if that is its only
/// user.
BinaryOp weightedBy(Value value, Value &scale) {
  auto weighted = onlyUser<BinaryOp>(value);
  auto isValue = [&](Value operand) { return operand == value; };
  Value other = otherOperand(weighted, BinaryKind::Mul, isValue);
  if (!other || shapeOf(other) != shapeOf(value).take_back(1))
    return BinaryOp();
  scale = other;
  return weighted;
}

void raiseNorm(UnaryOp rsqrt) {
  std::optional<Norm> norm = matchStatistics(rsqrt);
  if (!norm || !elementOf(norm->input).isF32())
    return;
  auto isStatistics = [&](Value value) { return value == rsqrt.getResult(); };
  for (Operation *user : llvm::make_early_inc_range(rsqrt->getUsers())) {
    auto product = dyn_cast<BinaryOp>(user);
    if (otherOperand(product, BinaryKind::Mul, isStatistics) != norm->input)
      continue;
    Operation *last = product;
    Value scale;
    if (BinaryOp weighted = weightedBy(product.getResult(), scale))
      last = weighted;
    // A cast around the whole belongs to the norm, which computes in f32 whatever its type.
    Value input = norm->input;
    auto widen = input.getDefiningOp<ConvertOp>();
    auto narrow = onlyUser<ConvertOp>(last->getResult(0));
    if (widen && narrow && widen.getInput().getType() == narrow.getType() &&
        isa<FloatType>(elementOf(widen.getInput()))) {
      input = widen.getInput();
      last = narrow;
    }
    // A weight behind the cast meets the rounded value.
    bool rounded = false;
    if (!scale && last == narrow)
      if (BinaryOp weighted = weightedBy(narrow.getResult(), scale);
          weighted && weighted.getType() == input.getType()) {
        last = weighted;
        rounded = true;
      }
    // Otherwise a constant of the pattern makes the result larger than the input.
    if (last->getResult(0).getType() == input.getType())
      replaceBy(last, input, scale, norm->eps, rounded);
  }
}

} // namespace

void raise::raiseNorms(func::FuncOp function) {
  SmallVector<UnaryOp> roots;
  for (auto op : function.getOps<UnaryOp>())
    if (op.getKind() == UnaryKind::Rsqrt)
      roots.push_back(op);
  for (UnaryOp op : roots)
    raiseNorm(op);
  eraseDead(function);
}
