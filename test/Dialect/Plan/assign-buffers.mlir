// RUN: tp-opt %s -split-input-file --plan-assign-buffers | FileCheck %s
// RUN: tp-opt %s -split-input-file --plan-assign-buffers="in-place=false" | FileCheck %s --check-prefix=APART

plan.mesh ["tp"] sizes [2] of ["tp"]

// A chain of 4 buffers of 256 bytes, two live at a time: 512 bytes.
// CHECK-LABEL: plan.entry @chain attributes {arena_bytes = 512 : i64, live_bytes_bound = 512 : i64}
plan.entry @chain {
  %a = plan.buffer 64 : !plan.buffer<f32>
  %b = plan.buffer 64 : !plan.buffer<f32>
  %c = plan.buffer 64 : !plan.buffer<f32>
  %d = plan.buffer 64 : !plan.buffer<f32>
  plan.fill out(%a[0, 64xf32]) {value = 0.0 : f64}
  plan.copy x(%a[0, 64xf32]) out(%b[0, 64xf32])
  plan.copy x(%b[0, 64xf32]) out(%c[0, 64xf32])
  plan.copy x(%c[0, 64xf32]) out(%d[0, 64xf32])
  plan.output "d" %d [64] axes [[]] : !plan.buffer<f32>
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// Sizes are rounded up to 64 bytes: 4 + 4 bytes need 128.
// CHECK-LABEL: plan.entry @rounding attributes {arena_bytes = 128 : i64, live_bytes_bound = 128 : i64}
plan.entry @rounding {
  %a = plan.buffer 1 : !plan.buffer<f32>
  %b = plan.buffer 1 : !plan.buffer<f32>
  plan.fill out(%a[0, 1xf32]) {value = 0.0 : f64}
  plan.copy x(%a[0, 1xf32]) out(%b[0, 1xf32])
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// An input keeps its place for the whole step (64), so the two buffers behind its last use cannot take it.
// CHECK-LABEL: plan.entry @input attributes {arena_bytes = 192 : i64, live_bytes_bound = 192 : i64}
plan.entry @input {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %a = plan.buffer 16 : !plan.buffer<f32>
  %b = plan.buffer 16 : !plan.buffer<f32>
  plan.input "x" %x [16] : !plan.buffer<f32>
  plan.copy x(%x[0, 16xf32]) out(%a[0, 16xf32])
  plan.copy x(%a[0, 16xf32]) out(%b[0, 16xf32])
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// Greedy placement by first use leaves a hole of 64 between 64 and 192 here; by size it does not: a (128) and c (192) are never
// live together, b (64) is live with both. Bound: b + c = 256.
// CHECK-LABEL: plan.entry @order attributes {arena_bytes = 256 : i64, live_bytes_bound = 256 : i64}
plan.entry @order {
  %a = plan.buffer 32 : !plan.buffer<f32>
  %b = plan.buffer 16 : !plan.buffer<f32>
  %c = plan.buffer 48 : !plan.buffer<f32>
  plan.fill out(%a[0, 32xf32]) {value = 0.0 : f64}
  plan.copy x(%a[0, 16xf32]) out(%b[0, 16xf32])
  plan.fill out(%c[0, 48xf32]) {value = 0.0 : f64}
  plan.copy x(%b[0, 16xf32]) out(%c[0, 16xf32])
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// The all_reduce reads %x on stream 1; nothing orders it before the fill of %z on stream 0, so %z may not take %x's place,
// although it comes later in the list. Three buffers of 64 bytes; the lives of the list alone would allow 128.
// APART-LABEL: plan.entry @concurrent attributes {arena_bytes = 192 : i64, events = 1 : i32, live_bytes_bound = 128 : i64}
plan.entry @concurrent attributes {events = 1 : i32} {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 16 : !plan.buffer<f32>
  %z = plan.buffer 16 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  plan.record {event = 0 : i32}
  plan.wait {event = 0 : i32, stream = 1 : i32}
  plan.all_reduce x(%x[0, 16xf32]) out(%y[0, 16xf32]) {axes = ["tp"], stream = 1 : i32}
  plan.fill out(%z[0, 16xf32]) {value = 0.0 : f64}
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// With a wait in between %z takes the place of %x: 128 bytes.
// APART-LABEL: plan.entry @ordered attributes {arena_bytes = 128 : i64, events = 2 : i32, live_bytes_bound = 128 : i64}
plan.entry @ordered attributes {events = 2 : i32} {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 16 : !plan.buffer<f32>
  %z = plan.buffer 16 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  plan.record {event = 0 : i32}
  plan.wait {event = 0 : i32, stream = 1 : i32}
  plan.all_reduce x(%x[0, 16xf32]) out(%y[0, 16xf32]) {axes = ["tp"], stream = 1 : i32}
  plan.record {event = 1 : i32, stream = 1 : i32}
  plan.wait {event = 1 : i32}
  plan.copy x(%y[0, 16xf32]) out(%z[0, 16xf32])
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// The operand dies in the all_reduce: in place.
// CHECK-LABEL: plan.entry @in_place
// CHECK: plan.all_reduce x(%[[X:[0-9]+]][0, 16xf32]) out(%[[X]][0, 16xf32])
// APART-LABEL: plan.entry @in_place
// APART: plan.all_reduce x(%[[X:[0-9]+]][0, 16xf32]) out(%[[Y:[0-9]+]][0, 16xf32])
// APART-NOT: out(%[[X]]
// APART: plan.output "y" %[[Y]]
plan.entry @in_place attributes {events = 1 : i32} {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 16 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  plan.record {event = 0 : i32}
  plan.wait {event = 0 : i32, stream = 1 : i32}
  plan.all_reduce x(%x[0, 16xf32]) out(%y[0, 16xf32]) {axes = ["tp"], stream = 1 : i32}
  plan.output "y" %y [16] axes [[]] : !plan.buffer<f32>
}

// -----

plan.mesh ["tp"] sizes [2] of ["tp"]

// The operand is read again: not in place.
// CHECK-LABEL: plan.entry @read_again
// CHECK: plan.all_reduce x(%[[X:[0-9]+]][0, 16xf32]) out(%[[Y:[0-9]+]][0, 16xf32])
// CHECK: plan.copy x(%[[X]][0, 16xf32])
// CHECK: plan.output "y" %[[Y]]
plan.entry @read_again attributes {events = 1 : i32} {
  %x = plan.buffer 16 : !plan.buffer<f32>
  %y = plan.buffer 16 : !plan.buffer<f32>
  %z = plan.buffer 16 : !plan.buffer<f32>
  plan.fill out(%x[0, 16xf32]) {value = 0.0 : f64}
  plan.record {event = 0 : i32}
  plan.wait {event = 0 : i32, stream = 1 : i32}
  plan.all_reduce x(%x[0, 16xf32]) out(%y[0, 16xf32]) {axes = ["tp"], stream = 1 : i32}
  plan.copy x(%x[0, 16xf32]) out(%z[0, 16xf32])
  plan.output "y" %y [16] axes [[]] : !plan.buffer<f32>
  plan.output "z" %z [16] axes [[]] : !plan.buffer<f32>
}
