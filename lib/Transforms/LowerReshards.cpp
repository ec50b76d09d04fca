// SPDX-License-Identifier: Apache-2.0
// tp-lower-reshards: each tp.reshard becomes the cheapest chain of collectives and local slices.

#include "ProblemBuilder.h"
#include "ValueShardings.h"
#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_LOWERRESHARDSPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct LowerReshards : tenon::impl::LowerReshardsPassBase<LowerReshards> {
  using LowerReshardsPassBase::LowerReshardsPassBase;

  void runOnOperation() override {
    FailureOr<ValueShardings> shardings = ValueShardings::create(getOperation());
    std::string error;
    std::optional<cost::MachineModel> machineModel = cost::loadMachine(machine, error);
    if (!machineModel)
      emitError(getOperation().getLoc()) << error;
    if (failed(shardings) || !machineModel)
      return signalPassFailure();
    const sharding::Mesh &mesh = shardings->mesh();
    cost::CostModel model(*machineModel);
    ReshardPrices prices(mesh, model);
    // Decide before anything is changed.
    std::vector<std::pair<ReshardOp, sharding::ReshardPath>> paths;
    bool ok = true;
    getOperation().walk([&](ReshardOp op) {
      auto from =
          toSharding(op.getFrom(), op.getType().getRank(), mesh, [&] { return op.emitOpError(); });
      auto to =
          toSharding(op.getTo(), op.getType().getRank(), mesh, [&] { return op.emitOpError(); });
      if (failed(from) || failed(to)) {
        ok = false;
        return;
      }
      auto path = prices.path(cast<RankedTensorType>(op.getType()), *from, *to);
      if (!path) {
        op.emitOpError() << "no list of collectives leads from " << op.getFrom() << " to "
                         << op.getTo();
        ok = false;
        return;
      }
      if (path->communicates() && op.getInput().getDefiningOp<ml_program::GlobalLoadConstOp>()) {
        op.emitOpError() << "a weight is never resharded at run time except by a local slice";
        ok = false;
        return;
      }
      paths.push_back({op, std::move(*path)});
    });
    if (!ok)
      return signalPassFailure();
    for (auto &[op, path] : paths)
      lower(op, path, mesh);
  }

private:
  void lower(ReshardOp op, const sharding::ReshardPath &path, const sharding::Mesh &mesh) {
    OpBuilder builder(op);
    Value value = op.getInput();
    auto type = cast<RankedTensorType>(op.getType());
    ShardingAttr from = op.getFrom();
    for (const sharding::Step &step : path.steps) {
      ShardingAttr to = toAttr(&getContext(), step.after, mesh);
      ArrayAttr axes = toAttr(&getContext(), step.axes, mesh);
      auto create = [&](auto tag) -> Value {
        using Op = decltype(tag);
        return Op::create(builder, op.getLoc(), type, value, axes, from, to,
                          builder.getDenseI64ArrayAttr(type.getShape()), op.getCauseAttr());
      };
      switch (step.kind) {
      case sharding::StepKind::Slice:
        value = create(LocalSliceOp());
        break;
      case sharding::StepKind::AllGather:
        value = create(AllGatherOp());
        break;
      case sharding::StepKind::AllToAll:
        value = create(AllToAllOp());
        break;
      case sharding::StepKind::AllReduce:
        value = create(AllReduceOp());
        break;
      case sharding::StepKind::ReduceScatter:
        value = create(ReduceScatterOp());
        break;
      }
      from = to;
    }
    op.getResult().replaceAllUsesWith(value);
    op.erase();
  }
};

} // namespace
