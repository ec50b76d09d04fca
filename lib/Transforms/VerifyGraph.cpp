// SPDX-License-Identifier: Apache-2.0
// tp-verify-graph: the invariant of the phase `graph`: every op has a sharding rule that fits its
// shapes, every global is a typed extern with a view, and no two globals are the same view; there
// is something to run.

#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_VERIFYGRAPHPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

static std::vector<std::vector<int64_t>> shapesOf(ValueRange values) {
  std::vector<std::vector<int64_t>> shapes;
  for (Value value : values) {
    ArrayRef<int64_t> shape = cast<RankedTensorType>(value.getType()).getShape();
    shapes.emplace_back(shape.begin(), shape.end());
  }
  return shapes;
}

namespace {

struct VerifyGraph : tenon::impl::VerifyGraphPassBase<VerifyGraph> {
  void runOnOperation() override {
    bool ok = true;
    llvm::DenseMap<Attribute, ml_program::GlobalOp> views;
    for (auto global : getOperation().getOps<ml_program::GlobalOp>()) {
      auto external = dyn_cast_if_present<ml_program::ExternAttr>(global.getValueAttr());
      if (!external || external.getType() != global.getType()) {
        global.emitOpError() << "expected an extern initial value of the global's type "
                             << global.getType();
        ok = false;
      }
      Attribute view = global->getAttr(kViewAttr);
      if (!view) {
        global.emitOpError() << "has no " << kViewAttr;
        ok = false;
      } else if (auto [it, isNew] = views.try_emplace(view, global); !isNew) {
        global.emitOpError().attachNote(it->second.getLoc())
            << "is the same view as @" << it->second.getSymName();
        ok = false;
      }
    }
    if (llvm::none_of(getOperation().getOps<func::FuncOp>(),
                      [](func::FuncOp function) { return function.isPublic(); })) {
      emitError(getOperation().getLoc()) << "expected at least one public function";
      ok = false;
    }
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal() || !function.getBody().hasOneBlock()) {
        function.emitOpError() << "expected one block";
        ok = false;
        continue;
      }
      for (Operation &op : function.getBody().front())
        ok &= succeeded(verify(&op));
    }
    if (!ok)
      signalPassFailure();
  }

  LogicalResult verify(Operation *op) {
    if (isa<func::ReturnOp, ml_program::GlobalLoadConstOp>(op))
      return success();
    auto shardable = dyn_cast<ShardableOpInterface>(op);
    if (!shardable)
      return op->emitOpError()
             << "has no sharding rule, so it cannot be distributed; expected ops of the tp dialect";
    if (std::string why = sharding::check(shardable.getShardingRule(), shapesOf(op->getOperands()),
                                          shapesOf(op->getResults()));
        !why.empty())
      return op->emitOpError() << "its sharding rule does not fit its shapes: " << why;
    return success();
  }
};

} // namespace
