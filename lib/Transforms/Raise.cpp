// SPDX-License-Identifier: Apache-2.0
// tp-raise: from the imported form to the phase `graph`. The steps stand in files of their own
// (RaiseGraph.h).

#include "RaiseGraph.h"
#include "tenon/Transforms/Passes.h"

#include "llvm/Support/MathExtras.h"

namespace tenon {
#define GEN_PASS_DEF_RAISEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::raise;

namespace {

constexpr int64_t kMostElements = int64_t(1) << 48;

/// Returns keys of tensors that must stay whole, because uses that cannot be one view share
/// elements.
FailureOr<std::set<std::string>> raiseModule(ModuleOp module, const std::set<std::string> &whole) {
  FailureOr<WeightViews> weights = WeightViews::create(module, whole);
  if (failed(weights))
    return failure();
  for (auto function : module.getOps<func::FuncOp>()) {
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

/// Everything behind this pass takes for granted that values are tensors of known size and of a
/// plan's types.
LogicalResult checkTypes(ModuleOp module) {
  auto check = [](Operation *op, const Twine &what, Type type) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape())
      return op->emitOpError() << what << ": expected a tensor of static shape, found " << type;
    Type element = tensor.getElementType();
    if (!element.isF32() && !element.isBF16() && !element.isF16() && !element.isInteger(1) &&
        !element.isInteger(32) && !element.isInteger(64))
      return op->emitOpError() << what
                               << ": expected elements of f32, bf16, f16, i1, i32 or i64, found "
                               << type;
    int64_t count = 1;
    for (int64_t size : tensor.getShape())
      if (llvm::MulOverflow(count, size, count) || count > kMostElements)
        return op->emitOpError() << what << ": more than 2^48 elements: " << type;
    return success();
  };
  for (auto global : module.getOps<ml_program::GlobalOp>())
    if (failed(check(global, "global", global.getType())))
      return failure();
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return function.emitOpError() << "expected a body of one block";
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
      if (failed(check(function, "argument " + Twine(i), type)))
        return failure();
    for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
      if (failed(check(function, "result " + Twine(i), type)))
        return failure();
  }
  return success();
}

struct Raise : tenon::impl::RaisePassBase<Raise> {
  void runOnOperation() override {
    if (failed(checkTypes(getOperation())))
      return signalPassFailure();
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
