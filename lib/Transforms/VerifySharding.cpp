// SPDX-License-Identifier: Apache-2.0
// tp-verify-sharding: the invariant of `resharded` and `collective`, checked from the rules alone.
// Shares no decision with the passes before it.

#include "ValueShardings.h"
#include "tenon/Transforms/Passes.h"

namespace tenon {
#define GEN_PASS_DEF_VERIFYSHARDINGPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

namespace {

struct VerifySharding : tenon::impl::VerifyShardingPassBase<VerifySharding> {
  void runOnOperation() override {
    FailureOr<ValueShardings> shardings = ValueShardings::create(getOperation());
    if (failed(shardings))
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getBody().front())
        for (OpOperand &operand : op.getOpOperands())
          if (failed(verify(operand, *shardings)))
            return signalPassFailure();
  }

  LogicalResult verify(OpOperand &operand, ValueShardings &shardings) {
    FailureOr<sharding::Sharding> has = shardings.of(operand.get()),
                                  wants = shardings.demand(operand);
    if (failed(has) || failed(wants))
      return failure();
    Operation *op = operand.getOwner();
    if (*has != *wants)
      return op->emitOpError() << "operand " << operand.getOperandNumber() << " has sharding "
                               << sharding::toString(*has, shardings.mesh())
                               << ", its strategy demands "
                               << sharding::toString(*wants, shardings.mesh());
    if (isa<func::ReturnOp>(op) && !has->partial.empty())
      return op->emitOpError() << "result " << operand.getOperandNumber()
                               << " is partial: " << sharding::toString(*has, shardings.mesh());
    return success();
  }
};

} // namespace
