// SPDX-License-Identifier: Apache-2.0
// plan-assign-buffers: applies coalesceInPlace and pack to each entry of a module, and reports the
// result.

#include "tenon/Dialect/Plan/IR/PlanTranslation.h"
#include "tenon/Dialect/Plan/Transforms/BufferPacking.h"
#include "tenon/Dialect/Plan/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace tenon::plan {
#define GEN_PASS_DEF_ASSIGNBUFFERSPASS
#include "tenon/Dialect/Plan/Transforms/Passes.h.inc"

namespace {
struct AssignBuffersPass : impl::AssignBuffersPassBase<AssignBuffersPass> {
  using AssignBuffersPassBase::AssignBuffersPassBase;

  void runOnOperation() override {
    FailureOr<plan::Plan> plan = exportPlan(getOperation());
    if (failed(plan))
      return signalPassFailure();
    int64_t weights = 0;
    for (const plan::Weight &weight : plan->weights)
      weights += weight.elements * plan::byteWidth(weight.type);
    for (auto [op, entry] : llvm::zip_equal(getOperation().getOps<EntryOp>(), plan->entries)) {
      if (inPlace)
        coalesceInPlace(entry);
      PackingProblem problem = packingProblem(entry);
      std::vector<int64_t> offsets = pack(problem);
      entry.arenaBytes = evaluate(problem, offsets);
      entry.liveBytesBound = liveBytesBound(problem);
      if (entry.arenaBytes < 0) {
        op.emitOpError() << "internal error: packed buffers overlap";
        return signalPassFailure();
      }
      if (memoryLimit > 0 && weights + entry.arenaBytes > memoryLimit) {
        op.emitOpError() << "holds " << weights + entry.arenaBytes << " bytes per rank, " << weights
                         << " of weights and " << entry.arenaBytes
                         << " in its arena: more than the memory limit of " << memoryLimit;
        return signalPassFailure();
      }
      for (auto [buffer, offset] : llvm::zip_equal(entry.buffers, offsets))
        buffer.offset = buffer.kind == plan::Buffer::Kind::Weight ? 0 : offset;
      remark::analysis(op.getLoc(),
                       remark::RemarkOpts::name("arena").category("plan-assign-buffers"))
          << "entry " << entry.name << ": arena " << std::to_string(entry.arenaBytes)
          << " bytes, largest sum of live bytes " << std::to_string(entry.liveBytesBound);
    }
    for (auto [op, entry] : llvm::zip_equal(getOperation().getOps<EntryOp>(), plan->entries))
      replaceEntry(op, entry, *plan);
  }
};
} // namespace
} // namespace tenon::plan
