// SPDX-License-Identifier: Apache-2.0
// tp-price-ops: writes the predicted time of every op of a rank's program on it, in microseconds,
// so that reports can put predicted beside measured. Decides nothing.

#include "OpPrice.h"
#include "tenon/Cost/CostModel.h"
#include "tenon/Sharding/Reshard.h"
#include "tenon/Transforms/Passes.h"

#include "llvm/ADT/SmallVectorExtras.h"

namespace tenon {
#define GEN_PASS_DEF_PRICEOPSPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct PriceOps : tenon::impl::PriceOpsPassBase<PriceOps> {
  using PriceOpsPassBase::PriceOpsPassBase;

  void runOnOperation() override {
    std::string error;
    std::optional<cost::MachineModel> machineModel = cost::loadMachine(machine, error);
    MeshOp meshOp = findMesh(getOperation());
    if (!machineModel || !meshOp) {
      emitError(getOperation().getLoc()) << (meshOp ? error : "the module has no tp.mesh");
      return signalPassFailure();
    }
    cost::CostModel model(*machineModel);
    sharding::Mesh mesh = toMesh(meshOp);
    Builder builder(&getContext());
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getBody().front())
        if (double seconds = secondsOf(&op, model, mesh); seconds > 0)
          op.setAttr(kPredictedAttr, builder.getF64FloatAttr(seconds * 1e6));
  }

  double secondsOf(Operation *op, const cost::CostModel &model, const sharding::Mesh &mesh) {
    if (isa<func::ReturnOp, ml_program::GlobalLoadConstOp>(op))
      return 0;
    if (isa<CollectiveOpInterface>(op))
      return collectiveSeconds(op, model, mesh);
    auto types = [](TypeRange range) {
      return llvm::map_to_vector(range, [](Type t) { return cast<RankedTensorType>(t); });
    };
    return opSeconds(op, types(op->getOperandTypes()), types(op->getResultTypes()), model);
  }

  double collectiveSeconds(Operation *op, const cost::CostModel &model,
                           const sharding::Mesh &mesh) {
    auto error = [&] { return op->emitOpError(); };
    ArrayRef<int64_t> shape = op->getAttrOfType<DenseI64ArrayAttr>("shape").asArrayRef();
    int64_t rank = shape.size();
    FailureOr<sharding::Sharding> from =
        toSharding(op->getAttrOfType<ShardingAttr>("from"), rank, mesh, error);
    FailureOr<sharding::Sharding> to =
        toSharding(op->getAttrOfType<ShardingAttr>("to"), rank, mesh, error);
    FailureOr<sharding::AxisList> axes = toAxes(op->getAttrOfType<ArrayAttr>("axes"), mesh, error);
    if (failed(from) || failed(to) || failed(axes)) {
      signalPassFailure();
      return 0;
    }
    sharding::Step step;
    step.axes = *axes;
    step.after = *to;
    step.kind = isa<AllReduceOp>(op)       ? sharding::StepKind::AllReduce
                : isa<AllGatherOp>(op)     ? sharding::StepKind::AllGather
                : isa<ReduceScatterOp>(op) ? sharding::StepKind::ReduceScatter
                : isa<AllToAllOp>(op)      ? sharding::StepKind::AllToAll
                                           : sharding::StepKind::Slice;
    for (int64_t dim = 0; dim < rank; ++dim) {
      if (to->dims[dim].size() > from->dims[dim].size())
        step.dim = static_cast<int>(dim);
      if (to->dims[dim].size() < from->dims[dim].size())
        (step.kind == sharding::StepKind::AllGather ? step.dim : step.fromDim) =
            static_cast<int>(dim);
    }
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    std::vector<int64_t> global(shape.begin(), shape.end());
    return model.stepPrice(global, mesh, elementBytes(type.getElementType()))(step, *from);
  }
};

} // namespace
