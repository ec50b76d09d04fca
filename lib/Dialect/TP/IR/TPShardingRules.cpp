// SPDX-License-Identifier: Apache-2.0
// The sharding rule of every graph op, as data, and what localisation adds where an op reads
// positions. A new op states its rule here in a few lines; everything else follows from it.

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using sharding::FactorKind;
using sharding::Linearity;
using sharding::Rule;

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

static bool isBool(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType().isInteger(1);
}
/// A dimension that is looked up gives zeros elsewhere, to be summed; booleans have no sum.
static FactorKind lookupKind(Value result) {
  return isBool(result) ? FactorKind::Whole : FactorKind::Lookup;
}

namespace {

/// Collects factors by name while a rule is written down.
struct RuleBuilder {
  Rule rule;

  int factor(std::string name, int64_t size, FactorKind kind = FactorKind::Parallel) {
    rule.factors.push_back({std::move(name), size, kind, sharding::Reduction::Sum, false});
    return static_cast<int>(rule.factors.size()) - 1;
  }
  /// Factors d0, d1, .. for the dimensions of a result.
  SmallVector<int> dims(ArrayRef<int64_t> shape) {
    SmallVector<int> result;
    for (auto [i, size] : llvm::enumerate(shape))
      result.push_back(factor("d" + std::to_string(i), size));
    return result;
  }
  void whole(int factor) { rule.factors[factor].kind = FactorKind::Whole; }

  /// One factor per dimension; a dimension of size 1 whose factor is larger is broadcast.
  sharding::ValueFactors value(ArrayRef<int64_t> shape, ArrayRef<int> factors) const {
    sharding::ValueFactors result;
    for (auto [size, factor] : llvm::zip_equal(shape, factors))
      result.push_back(factor < 0 || (size == 1 && rule.factors[factor].size != 1)
                           ? sharding::DimFactors{}
                           : sharding::DimFactors{factor});
    return result;
  }
  /// An operand that broadcasts to the dimensions `factors`, aligned at the last one.
  void broadcastOperand(Value operand, ArrayRef<int> factors) {
    rule.operands.push_back(value(shapeOf(operand), factors.take_back(shapeOf(operand).size())));
  }
  void operand(Value operand, ArrayRef<int> factors) {
    rule.operands.push_back(value(shapeOf(operand), factors));
  }
  void result(Value result, ArrayRef<int> factors) {
    rule.results.push_back(value(shapeOf(result), factors));
  }
  RuleBuilder &linear(Linearity linearity, std::vector<int> operands) {
    rule.linearity = linearity;
    rule.linearOperands = std::move(operands);
    return *this;
  }
};

/// Elementwise ops with broadcasting: one parallel factor per result dimension.
RuleBuilder elementwise(Operation *op) {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(op->getResult(0)));
  for (Value operand : op->getOperands())
    b.broadcastOperand(operand, dims);
  b.result(op->getResult(0), dims);
  return b;
}

/// Norms: the last `dims` dimensions are whole, parameters share their factors.
RuleBuilder norm(Operation *op, int64_t dims) {
  RuleBuilder b;
  ArrayRef<int64_t> shape = shapeOf(op->getResult(0));
  SmallVector<int> factors = b.dims(shape);
  for (int factor : ArrayRef<int>(factors).take_back(dims))
    b.whole(factor);
  for (Value operand : op->getOperands())
    b.broadcastOperand(operand, factors);
  b.result(op->getResult(0), factors);
  return b;
}

} // namespace

Rule MatMulOp::getShardingRule() {
  RuleBuilder b;
  FailureOr<Einsum> einsum = parseEinsum(getEinsum());
  assert(succeeded(einsum) && "the verifier checked the einsum");
  // An epilogue reads whole sums: neither a bias nor an activation may meet a part of one.
  const bool epilogue = getBias() || getResidual() || getActivation() != ActivationKind::None;
  const FactorKind contracted = epilogue ? FactorKind::Whole : FactorKind::Reduction;
  std::map<char, int> factors;
  auto add = [&](StringRef term, Value value) {
    for (auto [letter, size] : llvm::zip_equal(term, shapeOf(value)))
      if (!factors.count(letter))
        factors[letter] = b.factor(std::string(1, letter), size,
                                   StringRef(einsum->result).contains(letter) ? FactorKind::Parallel
                                                                              : contracted);
  };
  add(einsum->lhs, getLhs());
  add(einsum->rhs, getRhs());
  auto list = [&](StringRef term) {
    SmallVector<int> result;
    for (char letter : term)
      result.push_back(factors[letter]);
    return result;
  };
  b.operand(getLhs(), list(einsum->lhs));
  b.operand(getRhs(), list(einsum->rhs));
  SmallVector<int> result = list(einsum->result);
  for (Value extra : {getBias(), getResidual()})
    if (extra)
      b.broadcastOperand(extra, result);
  b.result(getResult(), result);
  if (!epilogue)
    b.linear(Linearity::Product, {0, 1});
  return b.rule;
}

double MatMulOp::getFlops() {
  FailureOr<Einsum> einsum = parseEinsum(getEinsum());
  double flops = 2;
  for (int64_t size : shapeOf(getResult()))
    flops *= size;
  for (auto [letter, size] : llvm::zip_equal(StringRef(einsum->lhs), shapeOf(getLhs())))
    if (!StringRef(einsum->result).contains(letter))
      flops *= size;
  return flops;
}

Rule UnaryOp::getShardingRule() {
  RuleBuilder b = elementwise(*this);
  if (getKind() == UnaryKind::Neg)
    b.linear(Linearity::Product, {0});
  return b.rule;
}

Rule BinaryOp::getShardingRule() {
  RuleBuilder b = elementwise(*this);
  switch (getKind()) {
  case BinaryKind::Add:
  case BinaryKind::Sub:
    b.linear(Linearity::Sum, {0, 1});
    break;
  case BinaryKind::Mul:
    b.linear(Linearity::Product, {0, 1});
    break;
  case BinaryKind::Div:
    b.linear(Linearity::Product, {0});
    break;
  default:
    break;
  }
  return b.rule;
}

Rule CompareOp::getShardingRule() { return elementwise(*this).rule; }
Rule SelectOp::getShardingRule() { return elementwise(*this).linear(Linearity::Sum, {1, 2}).rule; }
Rule ElementwiseOp::getShardingRule() { return elementwise(*this).rule; }

Rule ConvertOp::getShardingRule() {
  RuleBuilder b = elementwise(*this);
  Type from = cast<RankedTensorType>(getInput().getType()).getElementType(),
       to = cast<RankedTensorType>(getResult().getType()).getElementType();
  // A cast to a narrower type rounds, so it is not linear.
  if (isa<FloatType>(from) && isa<FloatType>(to) &&
      from.getIntOrFloatBitWidth() < to.getIntOrFloatBitWidth())
    b.linear(Linearity::Product, {0});
  return b.rule;
}

Rule ConstantOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getResult()));
  if (!getValue().isSplat())
    for (int factor : dims)
      b.whole(factor);
  b.result(getResult(), dims);
  return b.rule;
}

Operation *ConstantOp::localize(OpBuilder &builder, ValueRange, TypeRange types,
                                const sharding::Strategy &, const sharding::Mesh &) {
  auto type = cast<RankedTensorType>(types.front());
  auto value = cast<DenseElementsAttr>(getValue());
  return ConstantOp::create(builder, getLoc(), type,
                            value.isSplat() ? value.resizeSplat(type) : value);
}

Rule SoftmaxOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getResult()));
  b.whole(dims[getDim()]);
  b.operand(getInput(), dims);
  b.result(getResult(), dims);
  return b.rule;
}

Rule LayerNormOp::getShardingRule() { return norm(*this, getDims()).rule; }
Rule RmsNormOp::getShardingRule() { return norm(*this, getDims()).rule; }

Rule SdpaOp::getShardingRule() {
  // The imported form: only the batch is certain to be independent here; heads come with
  // tp.attention.
  RuleBuilder b;
  ArrayRef<int64_t> q = shapeOf(getQuery()), k = shapeOf(getKey()), v = shapeOf(getValue());
  int batch = b.factor("b", q[0]),
      h = b.factor("h", q[1], q[1] == k[1] ? FactorKind::Parallel : FactorKind::Whole),
      kv = q[1] == k[1] ? h : b.factor("g", k[1], FactorKind::Whole),
      s = b.factor("s", q[2], FactorKind::Whole), t = b.factor("t", k[2], FactorKind::Whole),
      d = b.factor("d", q[3], FactorKind::Whole), e = b.factor("e", v[3], FactorKind::Whole);
  b.operand(getQuery(), {batch, h, s, d});
  b.operand(getKey(), {batch, kv, t, d});
  b.operand(getValue(), {batch, kv, t, e});
  if (getMask())
    b.operand(getMask(), shapeOf(getMask()).size() == 2 ? ArrayRef<int>{batch, t}
                                                        : ArrayRef<int>{batch, h, s, t});
  if (getBias())
    b.operand(getBias(), {batch, h, s, t});
  b.result(getResult(), {batch, h, s, e});
  return b.rule;
}

Rule AttentionOp::getShardingRule() {
  RuleBuilder builder;
  ArrayRef<int64_t> q = shapeOf(getQ()), k = shapeOf(getK()), v = shapeOf(getV());
  int b = builder.factor("b", q[0]), s = builder.factor("s", q[1]), g = builder.factor("g", q[2]),
      r = builder.factor("r", q[3]), t = builder.factor("t", k[1], FactorKind::Whole),
      d = builder.factor("d", q[4], FactorKind::Whole),
      e = builder.factor("e", v[3], FactorKind::Whole);
  builder.rule.factors[s].positional = getCausal();
  builder.operand(getQ(), {b, s, g, r, d});
  builder.operand(getK(), {b, t, g, d});
  builder.operand(getV(), {b, t, g, e});
  if (getMask())
    builder.operand(getMask(), {b, s, t});
  if (getBias())
    builder.operand(getBias(), {b, g, r, s, t});
  builder.result(getResult(), {b, s, g, r, e});
  return builder.rule;
}

double AttentionOp::getFlops() {
  ArrayRef<int64_t> q = shapeOf(getQ()), k = shapeOf(getK()), v = shapeOf(getV());
  return 2.0 * q[0] * q[1] * q[2] * q[3] * k[1] * (q[4] + v[3]) * (getCausal() ? 0.5 : 1.0);
}

Operation *AttentionOp::localize(OpBuilder &builder, ValueRange operands, TypeRange types,
                                 const sharding::Strategy &strategy, const sharding::Mesh &mesh) {
  Operation *local = detail::cloneLocal(*this, builder, operands, types);
  const sharding::AxisList &axes = strategy.factorAxes[1];
  if (getCausal() && !axes.empty())
    cast<AttentionOp>(local).setPositionAttr(
        rankValue(getContext(), false, shapeOf(getQ())[1], axes, mesh));
  return local;
}

Rule RopeOp::getShardingRule() {
  RuleBuilder b;
  ArrayRef<int64_t> x = shapeOf(getInput());
  SmallVector<int> dims = b.dims(x);
  b.whole(dims.back());
  int capacity = b.factor("capacity", shapeOf(getCos())[0], FactorKind::Whole),
      half = b.factor("half", shapeOf(getCos())[1], FactorKind::Whole);
  b.operand(getInput(), dims);
  if (getPositions())
    b.operand(getPositions(), {dims[0], dims[1]});
  else
    b.rule.factors[dims[1]].positional = true;
  b.operand(getCos(), {capacity, half});
  b.operand(getSin(), {capacity, half});
  b.result(getResult(), dims);
  return b.linear(Linearity::Product, {0}).rule;
}

Operation *RopeOp::localize(OpBuilder &builder, ValueRange operands, TypeRange types,
                            const sharding::Strategy &strategy, const sharding::Mesh &mesh) {
  Operation *local = detail::cloneLocal(*this, builder, operands, types);
  const sharding::AxisList &axes = strategy.factorAxes[1];
  if (!getPositions() && !axes.empty())
    cast<RopeOp>(local).setPositionAttr(
        rankValue(getContext(), false, shapeOf(getInput())[1], axes, mesh));
  return local;
}

Rule EmbeddingOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> ids, row, result;
  for (auto [i, size] : llvm::enumerate(shapeOf(getIds())))
    ids.push_back(b.factor("i" + std::to_string(i), size));
  row.push_back(b.factor("v", shapeOf(getTable())[0], lookupKind(getResult())));
  for (auto [i, size] : llvm::enumerate(shapeOf(getTable()).drop_front()))
    row.push_back(b.factor("h" + std::to_string(i), size));
  result.append(ids);
  result.append(row.begin() + 1, row.end());
  b.operand(getIds(), ids);
  b.operand(getTable(), row);
  b.result(getResult(), result);
  return b.rule;
}

Operation *EmbeddingOp::localize(OpBuilder &builder, ValueRange operands, TypeRange types,
                                 const sharding::Strategy &strategy, const sharding::Mesh &mesh) {
  auto local = cast<EmbeddingOp>(detail::cloneLocal(*this, builder, operands, types));
  const sharding::AxisList &axes = strategy.factorAxes[shapeOf(getIds()).size()];
  if (!axes.empty()) {
    // Ids are tested against the rows that the rank owns, not against its block.
    local.setBaseAttr(rankValue(getContext(), false, shapeOf(getTable())[0], axes, mesh));
    local.setRowsAttr(rankValue(getContext(), true, shapeOf(getTable())[0], axes, mesh));
  }
  return local;
}

Rule TakeOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getInput()));
  b.rule.factors[dims[getDim()]].kind = lookupKind(getResult());
  b.operand(getInput(), dims);
  b.result(getResult(), dims);
  if (!isBool(getResult()))
    b.linear(Linearity::Product, {0});
  return b.rule;
}

Operation *TakeOp::localize(OpBuilder &builder, ValueRange operands, TypeRange types,
                            const sharding::Strategy &strategy, const sharding::Mesh &mesh) {
  auto local = cast<TakeOp>(detail::cloneLocal(*this, builder, operands, types));
  const sharding::AxisList &axes = strategy.factorAxes[getDim()];
  if (!axes.empty()) {
    int64_t n = shapeOf(getInput())[getDim()];
    local.setBaseAttr(rankValue(getContext(), false, n, axes, mesh));
    local.setRowsAttr(rankValue(getContext(), true, n, axes, mesh));
  }
  return local;
}

Rule ReshapeOp::getShardingRule() {
  // Factors are the common refinement of both shapes: 6x4 -> 3x8 has 3, 2, 4. Where none exists
  // (6x4 -> 4x6) the dimensions of that stretch are whole.
  RuleBuilder b;
  ArrayRef<int64_t> from = shapeOf(getInput()), to = shapeOf(getResult());
  sharding::ValueFactors operand(from.size()), result(to.size());
  bool empty = llvm::is_contained(from, 0);
  size_t i = 0, j = 0;
  int64_t left = 1, right = 1; // What remains of from[i - 1] and to[j - 1].
  auto name = [&]() { return "f" + std::to_string(b.rule.factors.size()); };
  while (!empty && (i < from.size() || j < to.size() || left > 1 || right > 1)) {
    if (left == 1 && i < from.size()) {
      left = from[i++];
      continue;
    }
    if (right == 1 && j < to.size()) {
      right = to[j++];
      continue;
    }
    if (left == 1 && right == 1)
      break;
    int64_t step = left <= right ? left : right;
    if (std::max(left, right) % step == 0) {
      int factor = b.factor(name(), step);
      operand[i - 1].push_back(factor);
      result[j - 1].push_back(factor);
      left /= step;
      right /= step;
      continue;
    }
    operand[i - 1].push_back(b.factor(name(), left, FactorKind::Whole));
    result[j - 1].push_back(b.factor(name(), right, FactorKind::Whole));
    int64_t l = left, r = right;
    while (l != r) {
      if (l < r) {
        l *= from[i];
        operand[i].push_back(b.factor(name(), from[i], FactorKind::Whole));
        ++i;
      } else {
        r *= to[j];
        result[j].push_back(b.factor(name(), to[j], FactorKind::Whole));
        ++j;
      }
    }
    left = right = 1;
  }
  if (empty) {
    for (auto [d, size] : llvm::enumerate(from))
      operand[d] = {b.factor(name(), size, FactorKind::Whole)};
    for (auto [d, size] : llvm::enumerate(to))
      result[d] = {b.factor(name(), size, FactorKind::Whole)};
  }
  b.rule.operands.push_back(operand);
  b.rule.results.push_back(result);
  return b.linear(Linearity::Product, {0}).rule;
}

Rule TransposeOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getInput())), result;
  for (int64_t dim : getPermutation())
    result.push_back(dims[dim]);
  b.operand(getInput(), dims);
  b.result(getResult(), result);
  return b.linear(Linearity::Product, {0}).rule;
}

Rule BroadcastOp::getShardingRule() {
  return elementwise(*this).linear(Linearity::Product, {0}).rule;
}

Rule SliceOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> operand, result;
  for (auto [i, n, size] : llvm::enumerate(shapeOf(getInput()), getSizes())) {
    std::string name = "d" + std::to_string(i);
    operand.push_back(b.factor(name, n, n == size ? FactorKind::Parallel : FactorKind::Whole));
    result.push_back(n == size ? operand.back() : b.factor(name + "_cut", size, FactorKind::Whole));
  }
  b.operand(getInput(), operand);
  b.result(getResult(), result);
  return b.linear(Linearity::Product, {0}).rule;
}

Operation *SliceOp::localize(OpBuilder &builder, ValueRange operands, TypeRange types,
                             const sharding::Strategy &, const sharding::Mesh &) {
  SmallVector<int64_t> sizes(cast<RankedTensorType>(types.front()).getShape());
  auto op = SliceOp::create(builder, getLoc(), types.front(), operands.front(), getOffsets(), sizes,
                            getStrides());
  return op;
}

Rule ConcatOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getResult()));
  b.whole(dims[getDim()]);
  std::vector<int> all;
  for (auto [i, input] : llvm::enumerate(getInputs())) {
    SmallVector<int> factors = dims;
    factors[getDim()] =
        b.factor("part" + std::to_string(i), shapeOf(input)[getDim()], FactorKind::Whole);
    b.operand(input, factors);
    all.push_back(static_cast<int>(i));
  }
  b.result(getResult(), dims);
  return b.linear(Linearity::Sum, all).rule;
}

Rule ReduceOp::getShardingRule() {
  RuleBuilder b;
  SmallVector<int> dims = b.dims(shapeOf(getInput()));
  for (int64_t dim : getDims()) {
    sharding::Factor &factor = b.rule.factors[dims[dim]];
    factor.kind = FactorKind::Reduction;
    factor.combiner = getKind() == ReduceKind::Sum   ? sharding::Reduction::Sum
                      : getKind() == ReduceKind::Max ? sharding::Reduction::Max
                                                     : sharding::Reduction::Min;
  }
  b.operand(getInput(), dims);
  b.result(getResult(), dims);
  if (getKind() == ReduceKind::Sum)
    b.linear(Linearity::Product, {0});
  return b.rule;
}
