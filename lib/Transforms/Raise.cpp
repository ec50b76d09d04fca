// SPDX-License-Identifier: Apache-2.0
// tp-raise: from the imported form to the phase `graph`. The steps stand in files of their own
// (RaiseGraph.h).

#include "RaiseGraph.h"
#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_RAISEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::raise;

namespace {

/// Returns keys of tensors that must stay whole, because uses that cannot be one view share
/// elements.
FailureOr<std::set<std::string>> raiseModule(ModuleOp module, const std::set<std::string> &whole) {
  FailureOr<WeightViews> weights = WeightViews::create(module, whole);
  if (failed(weights))
    return failure();
  for (auto function : module.getOps<func::FuncOp>()) {
    // The verifier of the phase says what is wrong with any other function.
    if (function.isExternal() || !function.getBody().hasOneBlock())
      continue;
    dropNoOps(function);
    raiseNorms(function);
    raiseActivations(function);
    raiseRope(function, *weights);
    dropNoOps(function);
    raiseAttention(function, *weights);
    dropNoOps(function);
    raiseHeads(function, *weights);
    raiseTakes(function);
    dropNoOps(function);
  }
  return weights->finish();
}

struct Raise : tenon::impl::RaisePassBase<Raise> {
  void runOnOperation() override {
    OwningOpRef<ModuleOp> imported(getOperation().clone());
    std::set<std::string> whole;
    while (true) {
      FailureOr<std::set<std::string>> conflicts = raiseModule(getOperation(), whole);
      if (failed(conflicts))
        return signalPassFailure();
      if (conflicts->empty())
        return;
      whole.insert(conflicts->begin(), conflicts->end());
      OwningOpRef<ModuleOp> again(imported->clone());
      getOperation().getBodyRegion().takeBody(again->getBodyRegion());
    }
  }
};

} // namespace
