// SPDX-License-Identifier: Apache-2.0
// tp-verify-local: the invariant of `local` and `optimized`: no strategy on any op, no reshard,
// shardings only on globals, entry arguments and results, and every global's type is its local
// block.

#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_VERIFYLOCALPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct VerifyLocal : tenon::impl::VerifyLocalPassBase<VerifyLocal> {
  void runOnOperation() override {
    MeshOp meshOp = findMesh(getOperation());
    if (!meshOp) {
      emitError(getOperation().getLoc()) << "the module has no tp.mesh";
      return signalPassFailure();
    }
    sharding::Mesh mesh = toMesh(meshOp);
    bool ok = true;
    for (auto global : getOperation().getOps<ml_program::GlobalOp>())
      ok &= succeeded(verify(global, mesh));
    getOperation().walk([&](Operation *op) {
      if (op->hasAttr(kStrategyAttr) || isa<ReshardOp>(op)) {
        op->emitOpError() << "still has a strategy or is a reshard after localisation";
        ok = false;
      }
      if (op->hasAttr(kShardingAttr) && !isa<ml_program::GlobalOp>(op)) {
        op->emitOpError() << "carries a sharding after localisation";
        ok = false;
      }
    });
    if (!ok)
      signalPassFailure();
  }

  LogicalResult verify(ml_program::GlobalOp global, const sharding::Mesh &mesh) {
    auto type = cast<RankedTensorType>(global.getType());
    auto external = dyn_cast_if_present<ml_program::ExternAttr>(global.getValueAttr());
    if (!external || external.getType() != type)
      return global.emitOpError() << "expected an extern initial value of the global's type "
                                  << type;
    if (global->hasAttr(kPartsAttr))
      return success();
    auto shape = global->getAttrOfType<DenseI64ArrayAttr>(kShapeAttr);
    auto attr = global->getAttrOfType<ShardingAttr>(kShardingAttr);
    if (!shape || !attr)
      return global.emitOpError() << "expected " << kShapeAttr << " and " << kShardingAttr;
    FailureOr<sharding::Sharding> sharding =
        toSharding(attr, shape.size(), mesh, [&] { return global.emitOpError(); });
    if (failed(sharding))
      return failure();
    auto expected = localType(RankedTensorType::get(shape.asArrayRef(), type.getElementType()),
                              *sharding, mesh);
    if (expected != type)
      return global.emitOpError() << "expected the local type " << expected << ", found " << type;
    return success();
  }
};

} // namespace
