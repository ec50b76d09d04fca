// SPDX-License-Identifier: Apache-2.0
// tp-raise: from the imported form to the phase `graph`.

#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_RAISEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct Raise : tenon::impl::RaisePassBase<Raise> {
  void runOnOperation() override {
    // A weight that nothing views differently is a view of its whole stored tensor.
    for (auto global : getOperation().getOps<ml_program::GlobalOp>()) {
      auto key = global->getAttrOfType<StringAttr>(kKeyAttr);
      if (!key || global->hasAttr(kViewAttr))
        continue;
      ArrayRef<int64_t> shape = cast<RankedTensorType>(global.getType()).getShape();
      SmallVector<int64_t> strides(shape.size(), 1);
      for (size_t i = shape.size(); i-- > 1;)
        strides[i - 1] = strides[i] * shape[i];
      global->setAttr(kViewAttr, ViewAttr::get(&getContext(), key.getValue(), shape, 0, shape, strides));
      global->removeAttr(kKeyAttr);
    }
  }
};

} // namespace
