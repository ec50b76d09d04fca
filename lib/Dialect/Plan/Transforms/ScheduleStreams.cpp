// SPDX-License-Identifier: Apache-2.0
// plan-schedule-streams: applies scheduleStreams to each entry of a module.

#include "tenon/Dialect/Plan/IR/PlanTranslation.h"
#include "tenon/Dialect/Plan/Transforms/Passes.h"
#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace tenon::plan {
#define GEN_PASS_DEF_SCHEDULESTREAMSPASS
#include "tenon/Dialect/Plan/Transforms/Passes.h.inc"

namespace {
struct ScheduleStreamsPass : impl::ScheduleStreamsPassBase<ScheduleStreamsPass> {
  void runOnOperation() override {
    FailureOr<plan::Plan> plan = exportPlan(getOperation());
    if (failed(plan))
      return signalPassFailure();
    for (plan::Entry &entry : plan->entries)
      scheduleStreams(entry);
    for (auto [op, entry] : llvm::zip_equal(getOperation().getOps<EntryOp>(), plan->entries))
      replaceEntry(op, entry, *plan);
  }
};
} // namespace
} // namespace tenon::plan
