// SPDX-License-Identifier: Apache-2.0
// tp-insert-reshards: after it, every operand already has the sharding that its user's strategy
// demands. Users that demand the same form of a value share one tp.reshard, placed before the first
// of them.

#include "NamedPins.h"
#include "ValueShardings.h"
#include "tenon/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>

namespace tenon {
#define GEN_PASS_DEF_INSERTRESHARDSPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct Group {
  Value value;
  sharding::Sharding from, to;
  SmallVector<OpOperand *> uses;
};

/// A layer, its op and the strategy chosen for it: model.layers.0.mlp.down_proj (matmul k=[tp]).
std::string spell(Operation *op, ValueShardings &shardings) {
  std::string text = op->getName().stripDialect().str();
  if (op->hasAttr(kStrategyAttr))
    if (auto found = shardings.strategyOf(op); succeeded(found))
      if (std::string cuts = sharding::toString(found->second, found->first, shardings.mesh());
          !cuts.empty())
        text += " " + cuts;
  const std::string layer = layerOf(op);
  return layer.empty() ? text : layer + " (" + text + ")";
}

/// The choices that gave the value its form: the op that makes it, and where that op only passes a
/// partial value on, the one that it comes from, and so on: down (matmul k=[tp]) -> down (binary
/// partial=[tp]).
std::string originOf(Value value, ValueShardings &shardings) {
  std::string text;
  while (Operation *op = value.getDefiningOp()) {
    text = spell(op, shardings) + (text.empty() ? "" : " -> ") + text;
    auto found = shardings.strategyOf(op);
    if (!op->hasAttr(kStrategyAttr) || failed(found) || found->second.partial.empty())
      return text;
    // Of several, as in a residual sum, the latest.
    Value latest;
    for (Value operand : op->getOperands()) {
      auto form = shardings.of(operand);
      Operation *made = operand.getDefiningOp();
      if (made && succeeded(form) && !form->partial.empty() &&
          (!latest || latest.getDefiningOp()->isBeforeInBlock(made)))
        latest = operand;
    }
    if (!latest)
      return text;
    value = latest;
  }
  return text.empty() ? "an entry argument" : text;
}

/// Says which choices made the reshard necessary.
std::string causeOf(const Group &group, ValueShardings &shardings) {
  Operation *user = group.uses.front()->getOwner();
  std::string text = originOf(group.value, shardings);
  text += " gives " + sharding::toString(group.from, shardings.mesh()) + "; ";
  text += isa<func::ReturnOp>(user) ? "the entry's result" : spell(user, shardings);
  if (group.uses.size() > 1)
    text += " and " + std::to_string(group.uses.size() - 1) + " more";
  return text + (group.uses.size() > 1 ? " need " : " needs ") +
         sharding::toString(group.to, shardings.mesh());
}

struct InsertReshards : tenon::impl::InsertReshardsPassBase<InsertReshards> {
  void runOnOperation() override {
    FailureOr<ValueShardings> shardings = ValueShardings::create(getOperation());
    if (failed(shardings))
      return signalPassFailure();
    std::vector<Group> groups;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      std::map<std::pair<void *, sharding::Sharding>, size_t> index;
      for (Operation &op : function.getBody().front())
        for (OpOperand &operand : op.getOpOperands()) {
          FailureOr<sharding::Sharding> from = shardings->of(operand.get()),
                                        to = shardings->demand(operand);
          if (failed(from) || failed(to))
            return signalPassFailure();
          if (*from == *to)
            continue;
          auto [it, isNew] =
              index.try_emplace({operand.get().getAsOpaquePointer(), *to}, groups.size());
          if (isNew)
            groups.push_back({operand.get(), *from, *to, {}});
          groups[it->second].uses.push_back(&operand);
        }
    }
    for (Group &group : groups) {
      Operation *first = group.uses.front()->getOwner();
      OpBuilder builder(first);
      Operation *producer = group.value.getDefiningOp();
      auto reshard = ReshardOp::create(builder, producer ? producer->getLoc() : first->getLoc(),
                                       group.value.getType(), group.value,
                                       toAttr(&getContext(), group.from, shardings->mesh()),
                                       toAttr(&getContext(), group.to, shardings->mesh()),
                                       builder.getStringAttr(causeOf(group, *shardings)));
      for (OpOperand *use : group.uses)
        use->set(reshard.getResult());
    }
  }
};

} // namespace
