// SPDX-License-Identifier: Apache-2.0

#include "ValueShardings.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using sharding::Sharding;

static int64_t rankOf(Value value) { return cast<RankedTensorType>(value.getType()).getRank(); }

FailureOr<ValueShardings> ValueShardings::create(ModuleOp module) {
  MeshOp mesh = findMesh(module);
  if (!mesh)
    return emitError(module.getLoc()) << "the module has no tp.mesh; run tp-assign-shardings first",
           failure();
  return ValueShardings(module, toMesh(mesh));
}

FailureOr<std::pair<sharding::Rule, sharding::Strategy>> ValueShardings::strategyOf(Operation *op) {
  if (auto it = strategies.find(op); it != strategies.end())
    return it->second;
  auto shardable = dyn_cast<ShardableOpInterface>(op);
  if (!shardable)
    return op->emitOpError() << "has no sharding rule", failure();
  auto attr = op->getAttrOfType<StrategyAttr>(kStrategyAttr);
  if (!attr)
    return op->emitOpError() << "has no " << kStrategyAttr, failure();
  std::pair<sharding::Rule, sharding::Strategy> result{shardable.getShardingRule(), {}};
  FailureOr<sharding::Strategy> strategy =
      toStrategy(attr, result.first, theMesh, [&] { return op->emitOpError(); });
  if (failed(strategy))
    return failure();
  result.second = std::move(*strategy);
  return strategies[op] = std::move(result);
}

FailureOr<Sharding> ValueShardings::of(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    if (auto attr = function.getArgAttrOfType<ShardingAttr>(argument.getArgNumber(), kShardingAttr))
      return toSharding(attr, rankOf(value), theMesh, [&] { return function.emitOpError(); });
    return Sharding::replicated(rankOf(value));
  }
  Operation *op = value.getDefiningOp();
  auto error = [&] { return op->emitOpError(); };
  if (auto load = dyn_cast<ml_program::GlobalLoadConstOp>(op)) {
    auto global = symbols.lookup<ml_program::GlobalOp>(load.getGlobal().getLeafReference());
    if (!global)
      return load.emitOpError() << "reads an unknown global " << load.getGlobal(), failure();
    auto attr = global->getAttrOfType<ShardingAttr>(kShardingAttr);
    if (!attr)
      return global.emitOpError() << "has no " << kShardingAttr, failure();
    return toSharding(attr, rankOf(value), theMesh, error);
  }
  if (auto reshard = dyn_cast<ReshardOp>(op))
    return toSharding(reshard.getTo(), rankOf(value), theMesh, error);
  if (isa<CollectiveOpInterface>(op))
    return toSharding(op->getAttrOfType<ShardingAttr>("to"), rankOf(value), theMesh, error);
  auto strategy = strategyOf(op);
  if (failed(strategy))
    return failure();
  return sharding::resultSharding(strategy->first, strategy->second,
                                  cast<OpResult>(value).getResultNumber());
}

FailureOr<Sharding> ValueShardings::demand(OpOperand &operand) {
  Operation *op = operand.getOwner();
  auto error = [&] { return op->emitOpError(); };
  if (isa<func::ReturnOp>(op)) {
    auto function = op->getParentOfType<func::FuncOp>();
    if (auto attr =
            function.getResultAttrOfType<ShardingAttr>(operand.getOperandNumber(), kShardingAttr))
      return toSharding(attr, rankOf(operand.get()), theMesh, error);
    return Sharding::replicated(rankOf(operand.get()));
  }
  if (auto reshard = dyn_cast<ReshardOp>(op))
    return toSharding(reshard.getFrom(), rankOf(operand.get()), theMesh, error);
  if (isa<CollectiveOpInterface>(op))
    return toSharding(op->getAttrOfType<ShardingAttr>("from"), rankOf(operand.get()), theMesh,
                      error);
  auto strategy = strategyOf(op);
  if (failed(strategy))
    return failure();
  return sharding::operandSharding(strategy->first, strategy->second, operand.getOperandNumber());
}
