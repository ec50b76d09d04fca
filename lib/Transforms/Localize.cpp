// SPDX-License-Identifier: Apache-2.0
// tp-localize: from global types and strategies to one rank's program. A module pass: globals and
// all entry points change together. Builds fresh functions; each op builds its own local form
// through its interface, and padding that a reduction could see is masked first.

#include "Padding.h"
#include "ValueShardings.h"
#include "tenon/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"

#include <limits>

namespace tenon {
#define GEN_PASS_DEF_LOCALIZEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using sharding::Sharding;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {

class FunctionLocalizer {
public:
  FunctionLocalizer(func::FuncOp function, ValueShardings &shardings)
      : source(function), shardings(shardings), mesh(shardings.mesh()),
        builder(function.getContext()) {}

  LogicalResult run();

private:
  LogicalResult createFunction();
  LogicalResult localize(Operation *op);
  LogicalResult localizeGraphOp(Operation *op);
  void localizeCollective(Operation *op, const Sharding &to);
  /// Masks what a reduction over padded dimensions could see.
  void maskOperands(Operation *op, const sharding::Rule &rule, const sharding::Strategy &strategy,
                    SmallVector<Value> &operands);
  void maskPositions(Operation *op, const sharding::Rule &rule, const sharding::Strategy &strategy,
                     SmallVector<Value> &operands);
  Value mask(Operation *op, Value local, Value global, const Sharding &sharding,
             const sharding::DimFactors &factors, double value, const sharding::Rule &rule,
             unsigned operand);

  func::FuncOp source, target;
  ValueShardings &shardings;
  const sharding::Mesh &mesh;
  OpBuilder builder;
  IRMapping mapping;
  llvm::DenseMap<Value, Padding> padding; ///< By global value.
  llvm::DenseSet<Value> infinite;         ///< Global values whose real elements may be infinite.
};

LogicalResult FunctionLocalizer::createFunction() {
  builder.setInsertionPoint(source);
  SmallVector<Type> results;
  Operation *terminator = source.getBody().front().getTerminator();
  SmallVector<Sharding> resultShardings;
  for (OpOperand &operand : terminator->getOpOperands()) {
    FailureOr<Sharding> sharding = shardings.demand(operand);
    if (failed(sharding))
      return failure();
    results.push_back(localType(typeOf(operand.get()), *sharding, mesh));
    resultShardings.push_back(*sharding);
  }
  target = func::FuncOp::create(builder, source.getLoc(), source.getName(),
                                builder.getFunctionType(source.getArgumentTypes(), results));
  target.setVisibility(source.getVisibility());
  for (unsigned i = 0; i < source.getNumArguments(); ++i)
    for (NamedAttribute attribute : source.getArgAttrDict(i) ? source.getArgAttrDict(i).getValue()
                                                             : ArrayRef<NamedAttribute>())
      if (attribute.getName() != kShardingAttr)
        target.setArgAttr(i, attribute.getName(), attribute.getValue());
  for (auto [i, sharding] : llvm::enumerate(resultShardings)) {
    if (DictionaryAttr attributes = source.getResultAttrDict(i))
      for (NamedAttribute attribute : attributes)
        target.setResultAttr(i, attribute.getName(), attribute.getValue());
    target.setResultAttr(i, kShardingAttr, toAttr(builder.getContext(), sharding, mesh));
    target.setResultAttr(
        i, kShapeAttr, builder.getDenseI64ArrayAttr(typeOf(terminator->getOperand(i)).getShape()));
  }
  Block *block = target.addEntryBlock();
  builder.setInsertionPointToStart(block);
  for (auto [from, to] : llvm::zip_equal(source.getArguments(), block->getArguments())) {
    // An argument arrives whole on every rank; where it is pinned to a sharding, it is cut here.
    FailureOr<Sharding> sharding = shardings.of(from);
    if (failed(sharding))
      return failure();
    Value value = to;
    Sharding now = Sharding::replicated(typeOf(from).getRank());
    for (auto [dim, axes] : llvm::enumerate(sharding->dims)) {
      if (axes.empty())
        continue;
      Sharding next = now;
      next.dims[dim] = axes;
      MLIRContext *context = builder.getContext();
      value = LocalSliceOp::create(
          builder, source.getLoc(), localType(typeOf(from), next, mesh), value,
          toAttr(context, axes, mesh), toAttr(context, now, mesh), toAttr(context, next, mesh),
          builder.getDenseI64ArrayAttr(typeOf(from).getShape()), StringAttr());
      now = next;
    }
    mapping.map(from, value);
    padding[from] =
        hasPadding(typeOf(from).getShape(), *sharding, mesh) ? Padding::Zero : Padding::None;
  }
  return success();
}

LogicalResult FunctionLocalizer::run() {
  if (failed(createFunction()))
    return failure();
  for (Operation &op : source.getBody().front())
    if (failed(localize(&op)))
      return failure();
  source.erase();
  return success();
}

LogicalResult FunctionLocalizer::localize(Operation *op) {
  if (auto ret = dyn_cast<func::ReturnOp>(op)) {
    SmallVector<Value> values;
    for (Value value : ret.getOperands())
      values.push_back(mapping.lookup(value));
    func::ReturnOp::create(builder, ret.getLoc(), values);
    return success();
  }
  if (isa<ReshardOp>(op))
    return op->emitOpError() << "must be lowered before localisation; run tp-lower-reshards first";
  if (!isa<ml_program::GlobalLoadConstOp, CollectiveOpInterface>(op))
    return localizeGraphOp(op);
  FailureOr<Sharding> to = shardings.of(op->getResult(0));
  if (failed(to))
    return failure();
  if (auto load = dyn_cast<ml_program::GlobalLoadConstOp>(op)) {
    Value value = ml_program::GlobalLoadConstOp::create(
        builder, load.getLoc(), localType(typeOf(load.getResult()), *to, mesh), load.getGlobal());
    mapping.map(load.getResult(), value);
    padding[load.getResult()] =
        hasPadding(typeOf(load.getResult()).getShape(), *to, mesh) ? Padding::Zero : Padding::None;
    return success();
  }
  localizeCollective(op, *to);
  return success();
}

void FunctionLocalizer::localizeCollective(Operation *op, const Sharding &to) {
  Value input = op->getOperand(0), result = op->getResult(0);
  Operation *local = tp::detail::cloneLocal(op, builder, mapping.lookup(input),
                                            localType(typeOf(result), to, mesh));
  mapping.map(result, local->getResult(0));
  if (infinite.contains(input))
    infinite.insert(result);
  // Collectives add padding of zeros only; gathers cut it.
  bool padded = hasPadding(typeOf(result).getShape(), to, mesh);
  padding[result] = padded ? worse(padding.lookup(input), Padding::Zero) : Padding::None;
}

Value FunctionLocalizer::mask(Operation *op, Value local, Value global, const Sharding &sharding,
                              const sharding::DimFactors &factors, double value,
                              const sharding::Rule &rule, unsigned operand) {
  for (auto [dim, list] : llvm::enumerate(rule.operands[operand])) {
    if (list != factors || !hasPadding(typeOf(global).getShape()[dim], sharding.dims[dim], mesh))
      continue;
    local =
        MaskPaddingOp::create(builder, op->getLoc(), local.getType(), local,
                              builder.getI64IntegerAttr(static_cast<int64_t>(dim)),
                              rankValue(builder.getContext(), true, typeOf(global).getShape()[dim],
                                        sharding.dims[dim], mesh),
                              builder.getF64FloatAttr(value));
  }
  return local;
}

void FunctionLocalizer::maskOperands(Operation *op, const sharding::Rule &rule,
                                     const sharding::Strategy &strategy,
                                     SmallVector<Value> &operands) {
  for (auto [index, factor] : llvm::enumerate(rule.factors)) {
    if (factor.kind != sharding::FactorKind::Reduction ||
        !hasPadding(factor.size, strategy.factorAxes[index], mesh))
      continue;
    sharding::DimFactors factors{static_cast<int>(index)};
    auto maskOperand = [&](unsigned i, double value) {
      operands[i] = mask(op, operands[i], op->getOperand(i),
                         sharding::operandSharding(rule, strategy, i), factors, value, rule, i);
    };
    auto state = [&](unsigned i) { return padding.lookup(op->getOperand(i)); };
    if (isa<MatMulOp>(op)) {
      // 0 * finite = 0: one side zero and the other finite is enough.
      bool zero = state(0) == Padding::Zero || state(1) == Padding::Zero;
      if (state(0) == Padding::Unknown || !zero)
        maskOperand(0, 0.0);
      if (state(1) == Padding::Unknown)
        maskOperand(1, 0.0);
      continue;
    }
    double infinity = std::numeric_limits<double>::infinity();
    if (factor.combiner == sharding::Reduction::Max)
      maskOperand(0, -infinity);
    else if (factor.combiner == sharding::Reduction::Min)
      maskOperand(0, infinity);
    else if (state(0) != Padding::Zero)
      maskOperand(0, 0.0);
  }
}

// Positions beyond the owned ones must lie in the tables too.
void FunctionLocalizer::maskPositions(Operation *op, const sharding::Rule &rule,
                                      const sharding::Strategy &strategy,
                                      SmallVector<Value> &operands) {
  auto rope = dyn_cast<RopeOp>(op);
  if (!rope || !rope.getPositions())
    return;
  const unsigned index = rope.getPositionsMutable().begin()->getOperandNumber();
  Padding state = padding.lookup(rope.getPositions());
  if (state == Padding::None || state == Padding::Zero)
    return;
  Sharding sharding = sharding::operandSharding(rule, strategy, index);
  for (const sharding::DimFactors &factors : rule.operands[index])
    operands[index] =
        mask(op, operands[index], rope.getPositions(), sharding, factors, 0.0, rule, index);
}

LogicalResult FunctionLocalizer::localizeGraphOp(Operation *op) {
  auto decided = shardings.strategyOf(op);
  if (failed(decided))
    return failure();
  auto &[rule, strategy] = *decided;
  for (auto [factor, axes] : llvm::zip_equal(rule.factors, strategy.factorAxes))
    if (factor.positional && !axes.empty() && !isa<AttentionOp, RopeOp>(op))
      return op->emitOpError() << "reads positions along '" << factor.name
                               << "', which is sharded, but has no block offset";
  SmallVector<Value> operands;
  SmallVector<Padding> states;
  SmallVector<bool> infinities;
  for (Value operand : op->getOperands()) {
    operands.push_back(mapping.lookup(operand));
    infinities.push_back(infinite.contains(operand));
    states.push_back(infinities.back() ? Padding::Unknown : padding.lookup(operand));
  }
  maskOperands(op, rule, strategy, operands);
  maskPositions(op, rule, strategy, operands);
  SmallVector<Type> types;
  SmallVector<SmallVector<bool>> padded;
  for (OpResult result : op->getResults()) {
    Sharding sharding = sharding::resultSharding(rule, strategy, result.getResultNumber());
    types.push_back(localType(typeOf(result), sharding, mesh));
    padded.emplace_back();
    for (auto [n, axes] : llvm::zip_equal(typeOf(result).getShape(), sharding.dims))
      padded.back().push_back(hasPadding(n, axes, mesh));
  }
  Operation *local =
      cast<ShardableOpInterface>(op).localize(builder, operands, types, strategy, mesh);
  if (!local)
    return failure();
  mapping.map(op->getResults(), local->getResults());
  for (auto [result, dims] : llvm::zip_equal(op->getResults(), padded))
    padding[result] = paddingOf(op, states, dims);
  if (mayBeInfinite(op, infinities))
    infinite.insert_range(op->getResults());
  return success();
}

struct Localize : tenon::impl::LocalizePassBase<Localize> {
  void runOnOperation() override {
    FailureOr<ValueShardings> shardings = ValueShardings::create(getOperation());
    if (failed(shardings))
      return signalPassFailure();
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (failed(FunctionLocalizer(function, *shardings).run()))
        return signalPassFailure();
    for (auto global : getOperation().getOps<ml_program::GlobalOp>()) {
      auto type = cast<RankedTensorType>(global.getType());
      auto attr = global->getAttrOfType<ShardingAttr>(kShardingAttr);
      if (!attr) {
        global.emitOpError() << "has no " << kShardingAttr;
        return signalPassFailure();
      }
      FailureOr<Sharding> sharding =
          toSharding(attr, type.getRank(), shardings->mesh(), [&] { return global.emitOpError(); });
      if (failed(sharding))
        return signalPassFailure();
      RankedTensorType local = localType(type, *sharding, shardings->mesh());
      OpBuilder builder(&getContext());
      global->setAttr(kShapeAttr, builder.getDenseI64ArrayAttr(type.getShape()));
      global.setType(local);
      global.setValueAttr(ml_program::ExternAttr::get(&getContext(), local));
    }
  }
};

} // namespace
