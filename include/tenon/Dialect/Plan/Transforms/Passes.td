// SPDX-License-Identifier: Apache-2.0
// Passes on the plan dialect: which stream runs what, and where buffers lie.
#ifndef TENON_DIALECT_PLAN_TRANSFORMS_PASSES_TD
#define TENON_DIALECT_PLAN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

class PlanPass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::tenon::plan::PlanDialect"];
}

def ScheduleStreamsPass : PlanPass<"plan-schedule-streams"> {
  let summary = "Put collectives on stream 1 and order the two streams by the fewest events";
  let description = [{
    Keeps the order of the instructions. A pair of `plan.record` and `plan.wait` is added where an instruction touches bytes that an
    earlier one of the other stream writes, or writes bytes that it reads, unless earlier pairs imply it. Records and waits that stand in the
    input are dropped. Must run before plan-assign-buffers.
  }];
}

def AssignBuffersPass : PlanPass<"plan-assign-buffers"> {
  let summary = "Pack the buffers of each entry into one arena";
  let description = [{
    First an all_reduce takes over the buffer of its operand where that dies there. Then
    buffers whose lives may overlap on two streams get disjoint places, multiples of 64 bytes. Inputs live for the whole step, so
    that a step can be repeated; outputs live to its end. Writes `arena_bytes`, and `live_bytes_bound`: the largest
    sum of live bytes, which no packing can go below. Fails when the weights and an arena together exceed `memory-limit`.
  }];
  let options = [
    Option<"inPlace", "in-place", "bool", "true", "Let an all_reduce write over its operand where that dies there">,
    Option<"memoryLimit", "memory-limit", "int64_t", "0", "Bytes of weights and arena per rank; 0: any">,
  ];
}

#endif
