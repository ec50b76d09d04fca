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

struct Raise : tenon::impl::RaisePassBase<Raise> {
  void runOnOperation() override {
    FailureOr<WeightViews> weights = WeightViews::create(getOperation());
    if (failed(weights))
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
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
    if (failed(weights->finish()))
      signalPassFailure();
  }
};

} // namespace
