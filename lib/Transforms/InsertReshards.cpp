// SPDX-License-Identifier: Apache-2.0
// tp-insert-reshards: after it, every operand already has the sharding that its user's strategy
// demands. Users that demand the same form of a value share one tp.reshard, placed before the first
// of them.

#include "ValueShardings.h"
#include "tenon/Transforms/Passes.h"

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

/// Says which choice made the reshard necessary.
std::string causeOf(Value value, Operation *user) {
  auto spell = [](Operation *op) {
    std::string text;
    llvm::raw_string_ostream os(text);
    os << op->getName();
    if (Attribute strategy = op->getAttr(kStrategyAttr))
      os << " " << strategy;
    return text;
  };
  Operation *producer = value.getDefiningOp();
  return (producer ? spell(producer) : std::string("an entry argument")) + " feeds " + spell(user);
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
                                       builder.getStringAttr(causeOf(group.value, first)));
      for (OpOperand *use : group.uses)
        use->set(reshard.getResult());
    }
  }
};

} // namespace
