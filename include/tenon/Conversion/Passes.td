// SPDX-License-Identifier: Apache-2.0
// The pass from the tp dialect to the plan dialect.
#ifndef TENON_CONVERSION_PASSES_TD
#define TENON_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertTPToPlanPass : Pass<"convert-tp-to-plan", "::mlir::ModuleOp"> {
  let summary = "Turn one rank's graph into instructions on buffers";
  let description = [{
    Takes the phase `local` or `optimized`. Every value becomes a strided region of a buffer; reshapes, transposes, slices and broadcasts
    become other regions of the same buffer where strides can say so, and copies where not. Collectives become pads, copies,
    one flat collective and cuts; an even gather of a leading dimension and an all-reduce copy nothing. The order of the graph is kept; buffers have no
    place and instructions stream 0 until the passes of the plan dialect. With `machine`, every instruction that no
    `tp.predicted_us` prices gets the time that the cost model expects of it.
  }];
  let options = [
    Option<"machine", "machine", "std::string", "\"\"", "Machine model that prices the instructions: a shipped name or a JSON file; none: no prices">,
  ];
  let dependentDialects = ["::tenon::plan::PlanDialect"];
}

#endif
