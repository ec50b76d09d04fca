// The runtime's verifier has the last word; nothing is written when it refuses.
// RUN: rm -f %t.plan
// RUN: not tp-opt %s --plan-emit=output=%t.plan 2>&1 | FileCheck %s
// RUN: not ls %t.plan
// CHECK: error: the plan is not acceptable: {{.*}}forward{{.*}}nothing has written

plan.mesh ["tp"] sizes [2] of ["tp"]
plan.entry @forward attributes {arena_bytes = 128 : i64, live_bytes_bound = 128 : i64} {
  %x = plan.buffer 8 at 0 : !plan.buffer<f32>
  %y = plan.buffer 8 at 64 : !plan.buffer<f32>
  plan.copy x(%x[0, 8xf32]) out(%y[0, 8xf32])
  plan.output "y" %y [8] axes [[]] : !plan.buffer<f32>
}
