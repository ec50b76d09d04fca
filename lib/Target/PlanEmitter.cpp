// SPDX-License-Identifier: Apache-2.0
// PlanEmitter: plan files out and in, and the passes plan-emit and plan-verify.

#include "tenon/Target/PlanEmitter.h"
#include "tenon/Dialect/Plan/IR/PlanTranslation.h"
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"
#include "tenon/runtime/plan/Verify.h"

using namespace mlir;
using namespace tenon;

namespace tenon {
#define GEN_PASS_DEF_PLANEMITPASS
#define GEN_PASS_DEF_PLANVERIFYPASS
#include "tenon/Target/Passes.h.inc"
} // namespace tenon

FailureOr<plan::Plan> tenon::verifiedPlan(ModuleOp module) {
  FailureOr<plan::Plan> plan = plan::exportPlan(module);
  if (failed(plan))
    return failure();
  if (Status status = plan::verifyAll(*plan); !status)
    return emitError(module.getLoc()) << "the plan is not acceptable: " << status.message(),
           failure();
  return plan;
}

LogicalResult tenon::emitPlan(ModuleOp module, StringRef path) {
  FailureOr<plan::Plan> plan = verifiedPlan(module);
  if (failed(plan))
    return failure();
  if (Status status = plan::writeFile(*plan, path.str()); !status)
    return emitError(module.getLoc()) << status.message();
  return success();
}

FailureOr<plan::Plan> tenon::readPlanFile(StringRef bytes, StringRef name, MLIRContext *context) {
  Location loc = FileLineColLoc::get(context, name, 0, 0);
  Expected<plan::Plan> plan = plan::read(std::as_bytes(std::span(bytes.data(), bytes.size())));
  if (!plan)
    return emitError(loc) << plan.status().message(), failure();
  // The reader bounds counts and sizes, not indices; verify does, and what follows needs them in
  // range.
  if (Status status = plan::verifyAll(*plan); !status)
    return emitError(loc) << "the plan is not acceptable: " << status.message(), failure();
  return std::move(*plan);
}

OwningOpRef<ModuleOp> tenon::importPlanFile(StringRef bytes, StringRef name, MLIRContext *context) {
  FailureOr<plan::Plan> plan = readPlanFile(bytes, name, context);
  if (failed(plan))
    return {};
  context->loadDialect<plan::PlanDialect>();
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(context));
  plan::importPlan(*plan, *module);
  return module;
}

namespace {
struct PlanEmit : tenon::impl::PlanEmitPassBase<PlanEmit> {
  using PlanEmitPassBase::PlanEmitPassBase;
  void runOnOperation() override {
    if (output.empty()) {
      emitError(getOperation().getLoc()) << "plan-emit needs output=FILE";
      return signalPassFailure();
    }
    if (failed(emitPlan(getOperation(), output)))
      signalPassFailure();
  }
};

struct PlanVerify : tenon::impl::PlanVerifyPassBase<PlanVerify> {
  void runOnOperation() override {
    if (failed(verifiedPlan(getOperation())))
      signalPassFailure();
  }
};
} // namespace

std::unique_ptr<Pass> tenon::createPlanEmitPass(std::string path) {
  PlanEmitPassOptions options;
  options.output = std::move(path);
  return createPlanEmitPass(options);
}
