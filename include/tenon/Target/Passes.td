// SPDX-License-Identifier: Apache-2.0
// Passes that leave the compiler: a module in the plan dialect becomes a file, or is judged as one.
#ifndef TENON_TARGET_PASSES_TD
#define TENON_TARGET_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanEmitPass : Pass<"plan-emit", "::mlir::ModuleOp"> {
  let summary = "Verify the plan for every rank and write it to a file";
  let description = [{
    The module must be in the plan dialect with its buffers assigned. The verifier is the runtime's own. Nothing is written when it
    refuses.
  }];
  let options = [Option<"output", "output", "std::string", "\"\"", "Path of the plan file">];
}

def PlanVerifyPass : Pass<"plan-verify", "::mlir::ModuleOp"> {
  let summary = "Let the runtime's verifier judge the plan for every rank";
}

#endif
