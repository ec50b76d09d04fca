// RUN: tp-opt %s --plan-schedule-streams | FileCheck %s

plan.mesh ["tp"] sizes [2] of ["tp"]

// A collective waits for its operand, its reader for the collective: one pair each.
// CHECK-LABEL: plan.entry @there_and_back attributes {events = 2 : i32}
plan.entry @there_and_back {
  %x = plan.buffer 8 : !plan.buffer<f32>
  %y = plan.buffer 8 : !plan.buffer<f32>
  %z = plan.buffer 8 : !plan.buffer<f32>
  // CHECK: plan.fill
  plan.fill out(%x[0, 8xf32]) {value = 0.0 : f64}
  // CHECK-NEXT: plan.record {event = 0 : i32}
  // CHECK-NEXT: plan.wait {event = 0 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.all_reduce {{.*}}stream = 1 : i32
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
  // CHECK-NEXT: plan.record {event = 1 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.wait {event = 1 : i32}
  // CHECK-NEXT: plan.copy
  plan.copy x(%y[0, 8xf32]) out(%z[0, 8xf32])
}

// The second reader runs behind the first, on the same stream: no event of its own. Two collectives on one stream need none
// between them either.
// CHECK-LABEL: plan.entry @implied attributes {events = 2 : i32}
plan.entry @implied {
  %x = plan.buffer 8 : !plan.buffer<f32>
  %y = plan.buffer 8 : !plan.buffer<f32>
  %z = plan.buffer 8 : !plan.buffer<f32>
  // CHECK: plan.fill
  // CHECK-NEXT: plan.record
  // CHECK-NEXT: plan.wait
  // CHECK-NEXT: plan.all_reduce
  // CHECK-NEXT: plan.all_reduce
  // CHECK-NEXT: plan.record
  // CHECK-NEXT: plan.wait
  // CHECK-NEXT: plan.copy
  // CHECK-NEXT: plan.copy
  // CHECK-NEXT: }
  plan.fill out(%x[0, 8xf32]) {value = 0.0 : f64}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
  plan.all_reduce x(%y[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
  plan.copy x(%y[0, 8xf32]) out(%z[0, 8xf32])
  plan.copy x(%y[0, 8xf32]) out(%z[0, 8xf32])
}

// The record stands right behind what is waited for, so that the independent copy runs beside the collective.
// CHECK-LABEL: plan.entry @overlap
plan.entry @overlap {
  %x = plan.buffer 8 : !plan.buffer<f32>
  %y = plan.buffer 8 : !plan.buffer<f32>
  %z = plan.buffer 8 : !plan.buffer<f32>
  // CHECK: plan.fill
  // CHECK-NEXT: plan.record {event = 0
  // CHECK-NEXT: plan.fill
  // CHECK-NEXT: plan.wait {event = 0
  // CHECK-NEXT: plan.all_reduce
  // Stream 0 ends behind stream 1.
  // CHECK-NEXT: plan.record {event = 1 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.wait {event = 1 : i32}
  // CHECK-NEXT: {{^ *}}}
  plan.fill out(%x[0, 8xf32]) {value = 0.0 : f64}
  plan.fill out(%z[0, 8xf32]) {value = 1.0 : f64}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// Writing what a collective reads is a hazard too; other bytes of the same buffer are none.
// CHECK-LABEL: plan.entry @bytes attributes {events = 2 : i32}
plan.entry @bytes {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 8 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  // CHECK: plan.all_reduce
  // CHECK-NEXT: plan.record {event = 1 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.fill out(%{{.*}}[8, 8xf32])
  // CHECK-NEXT: plan.wait {event = 1 : i32}
  // CHECK-NEXT: plan.fill out(%{{.*}}[4, 8xf32])
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
  plan.fill out(%x[8, 8xf32]) {value = 1.0 : f64}
  plan.fill out(%x[4, 8xf32]) {value = 1.0 : f64}
}

// A step that begins with a collective: stream 1 begins behind stream 0.
// CHECK-LABEL: plan.entry @first attributes {events = 2 : i32}
plan.entry @first {
  %x = plan.buffer 8 : !plan.buffer<f32>
  %y = plan.buffer 16 : !plan.buffer<f32>
  // CHECK: plan.input
  plan.input "x" %x [8] : !plan.buffer<f32>
  // CHECK-NEXT: plan.record {event = 0 : i32}
  // CHECK-NEXT: plan.wait {event = 0 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.all_gather
  // CHECK-NEXT: plan.record {event = 1 : i32, stream = 1 : i32}
  // CHECK-NEXT: plan.wait {event = 1 : i32}
  // CHECK-NEXT: plan.output
  plan.all_gather x(%x[0, 8xf32]) out(%y[0, 16xf32]) {axes = ["tp"]}
  plan.output "y" %y [16] axes [[]] : !plan.buffer<f32>
}

// An offset that depends on the rank may touch all of its buffer.
// CHECK-LABEL: plan.entry @rank attributes {events = 2 : i32}
plan.entry @rank {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 8 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  plan.all_reduce x(%x[start 2 over {"tp"} * 8, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
  // CHECK: plan.wait {event = 1 : i32}
  // CHECK-NEXT: plan.fill out(%{{.*}}[8, 8xf32])
  plan.fill out(%x[8, 8xf32]) {value = 1.0 : f64}
}

// A second run gives the same.
// RUN: tp-opt %s --plan-schedule-streams --plan-schedule-streams | FileCheck %s
