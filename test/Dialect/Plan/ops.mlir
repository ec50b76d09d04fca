// RUN: tp-opt %s | FileCheck %s
// RUN: tp-opt %s | tp-opt | FileCheck %s

// CHECK: plan.mesh ["tp.0", "tp.1"] sizes [2, 2] of ["tp", "tp"]
plan.mesh ["tp.0", "tp.1"] sizes [2, 2] of ["tp", "tp"]
// CHECK: plan.weight @w 64 : f32 [#plan.part<"w", bf16[8, 16], offset = 8, sizes = [8, 8], strides = [16, 1], axes = [{{\[\]}}, {{\[}}"tp.0"]], partial = ["tp.1"], at = 0, to = [4, 1]>]
plan.weight @w 64 : f32 [#plan.part<"w", bf16[8, 16], offset = 8, sizes = [8, 8], strides = [16, 1], axes = [[], ["tp.0"]], partial = ["tp.1"], at = 0, to = [4, 1]>]
// CHECK: plan.weight @"a.b+c" 8 : f32 ones [
plan.weight @"a.b+c" 8 : f32 ones [#plan.part<"a.b", f32[8], offset = 0, sizes = [8], strides = [1], axes = [[]], partial = [], at = 0, to = [1]>]

// CHECK-LABEL: plan.entry @forward attributes {arena_bytes = 1024 : i64, events = 1 : i32, live_bytes_bound = 512 : i64}
plan.entry @forward attributes {arena_bytes = 1024 : i64, live_bytes_bound = 512 : i64, events = 1 : i32} {
  // CHECK: %[[X:.*]] = plan.buffer 64 at 128 : !plan.buffer<f32>
  %x = plan.buffer 64 at 128 : !plan.buffer<f32>
  // CHECK: plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %z = plan.buffer 64 : !plan.buffer<f32>
  %ids = plan.buffer 8 : !plan.buffer<i64>
  %mask = plan.buffer 8 : !plan.buffer<i1>
  %h = plan.buffer 64 : !plan.buffer<bf16>
  %one = plan.buffer 1 : !plan.buffer<f16>
  %count = plan.buffer 1 : !plan.buffer<i32>
  // CHECK: %[[W:.*]] = plan.weight_buffer @w : !plan.buffer<f32>
  %w = plan.weight_buffer @w : !plan.buffer<f32>
  // CHECK: plan.input "ids" %{{.*}} [2, 4] range [0, 30522] : !plan.buffer<i64>
  plan.input "ids" %ids [2, 4] range [0, 30522] : !plan.buffer<i64>
  // CHECK: plan.input "mask" %{{.*}} [2, 4] mask_rows : !plan.buffer<i1>
  plan.input "mask" %mask [2, 4] mask_rows : !plan.buffer<i1>
  // CHECK: plan.matmul a(%[[X]][0, 4x8xf32]) b(%[[W]][0, 8x8xf32]) bias(%[[W]][8, 4x8xf32 by 0x1]) residual(%[[X]][0, 4x8xf32]) c(%{{.*}}[0, 4x8xf32]) {activation = "gelu_tanh", einsum = "mk,nk->mn", layer = "h.0", predicted_us = 1.500000e+00 : f64}
  plan.matmul a(%x[0, 4x8xf32]) b(%w[0, 8x8xf32]) bias(%w[8, 4x8xf32 by 0x1]) residual(%x[0, 4x8xf32]) c(%y[0, 4x8xf32]) {activation = "gelu_tanh", einsum = "mk,nk->mn", layer = "h.0", predicted_us = 1.5 : f64}
  // CHECK: plan.attention q(%{{.*}}[0, 2x4x1x1x8xf32]) k(%{{.*}}[0, 2x4x1x8xf32]) v(%{{.*}}[0, 2x4x1x8xf32]) mask(%{{.*}}[0, 2x4x4xi1 by 4x0x1]) out(%{{.*}}[0, 2x4x1x1x8xf32]) {causal, position = #plan.value<start 16 over {"tp.0"}>, scale = 1.250000e-01 : f32}
  plan.attention q(%x[0, 2x4x1x1x8xf32]) k(%y[0, 2x4x1x8xf32]) v(%y[0, 2x4x1x8xf32]) mask(%mask[0, 2x4x4xi1 by 4x0x1]) out(%z[0, 2x4x1x1x8xf32]) {causal, position = #plan.value<start 16 over {"tp.0"}>, scale = 0.125 : f32}
  // CHECK: plan.gather_rows ids(%{{.*}}[0, 2x4xi64]) table(%{{.*}}[0, 8x8xf32]) out(%{{.*}}[0, 2x4x8xf32]) {base = #plan.value<start 30 over {"tp.0", "tp.1"}>, rows = #plan.value<length 30 over {"tp.0", "tp.1"}>}
  plan.gather_rows ids(%ids[0, 2x4xi64]) table(%w[0, 8x8xf32]) out(%y[0, 2x4x8xf32]) {base = #plan.value<start 30 over {"tp.0", "tp.1"}>, rows = #plan.value<length 30 over {"tp.0", "tp.1"}>}
  // CHECK: plan.take x(%{{.*}}[0, 2x4x8xf32]) out(%{{.*}}[0, 2x1x8xf32]) {base = #plan.value<0>, dim = 1 : i32, index = 3 : i64, rows = #plan.value<4>}
  plan.take x(%y[0, 2x4x8xf32]) out(%z[0, 2x1x8xf32]) {base = #plan.value<0>, dim = 1 : i32, index = 3 : i64, rows = #plan.value<4>}
  // CHECK: plan.norm x(%{{.*}}[0, 8x8xf32]) scale(%{{.*}}[0, 8x8xf32 by 0x1]) residual(%{{.*}}[0, 8x8xf32]) out(%{{.*}}[0, 8x8xf32]) sum(%{{.*}}[0, 8x8xbf16]) {dims = 1 : i32
  plan.norm x(%x[0, 8x8xf32]) scale(%w[0, 8x8xf32 by 0x1]) residual(%z[0, 8x8xf32]) out(%y[0, 8x8xf32]) sum(%h[0, 8x8xbf16]) {dims = 1 : i32, eps = 1.0e-5 : f32, kind = "rms"}
  // CHECK: plan.rope x(%{{.*}}[0, 2x4x8xf32]) positions(%{{.*}}[0, 2x4xi64]) cos(%{{.*}}[0, 16x4xf32]) sin(%{{.*}}[0, 16x4xf32]) out(%{{.*}}[0, 2x4x8xf32]) {interleaved}
  plan.rope x(%x[0, 2x4x8xf32]) positions(%ids[0, 2x4xi64]) cos(%w[0, 16x4xf32]) sin(%w[0, 16x4xf32]) out(%y[0, 2x4x8xf32]) {interleaved}
  // CHECK: plan.elementwise input(%{{.*}}[0, 8xf32], %{{.*}}[start 2 over {"tp.1"} * 8 + 4, 8xf32]) out(%{{.*}}[0, 8xf32]) {expr = "$0 0.5 mul $1 add 1e-07 max"}
  plan.elementwise input(%x[0, 8xf32], %y[start 2 over {"tp.1"} * 8 + 4, 8xf32]) out(%z[0, 8xf32]) {expr = "$0 0.5 mul $1 add 1e-07 max"}
  // CHECK: plan.reduce x(%{{.*}}[0, 2x8xf32]) out(%{{.*}}[0, 2x1xf32]) {dims = array<i64: 1>, kind = "max"}
  plan.reduce x(%x[0, 2x8xf32]) out(%y[0, 2x1xf32]) {dims = array<i64: 1>, kind = "max"}
  // CHECK: plan.softmax x(%{{.*}}[0, 2x8xf32]) out(%{{.*}}[0, 2x8xf32]) {dim = 1 : i32}
  plan.softmax x(%x[0, 2x8xf32]) out(%y[0, 2x8xf32]) {dim = 1 : i32}
  // CHECK: plan.copy x(%{{.*}}[1, f32]) out(%{{.*}}[0, f16])
  plan.copy x(%x[1, f32]) out(%one[0, f16])
  // CHECK: plan.fill out(%{{.*}}[0, 1xi32]) {value = 3.000000e+00 : f64}
  plan.fill out(%count[0, 1xi32]) {value = 3.0 : f64}
  // CHECK: plan.fill out(%{{.*}}[0, 8x8xf32]) {dim = 1 : i32, from = #plan.value<length 13 over {"tp.0"}>, value = 0xFFF0000000000000 : f64}
  plan.fill out(%x[0, 8x8xf32]) {dim = 1 : i32, from = #plan.value<length 13 over {"tp.0"}>, value = 0xFFF0000000000000 : f64}
  // CHECK: plan.record {event = 0 : i32}
  plan.record {event = 0 : i32}
  // CHECK: plan.wait {event = 0 : i32, stream = 1 : i32}
  plan.wait {event = 0 : i32, stream = 1 : i32}
  // CHECK: plan.all_reduce x(%{{.*}}[0, 64xf32]) out(%{{.*}}[0, 64xf32]) {axes = ["tp.0", "tp.1"], cause = "rows", reduce = "max", stream = 1 : i32}
  plan.all_reduce x(%x[0, 64xf32]) out(%x[0, 64xf32]) {axes = ["tp.0", "tp.1"], cause = "rows", reduce = "max", stream = 1 : i32}
  // CHECK: plan.all_gather x(%{{.*}}[0, 32xf32]) out(%{{.*}}[0, 64xf32]) {axes = ["tp.1"]
  plan.all_gather x(%x[0, 32xf32]) out(%y[0, 64xf32]) {axes = ["tp.1"], stream = 1 : i32}
  // CHECK: plan.reduce_scatter x(%{{.*}}[0, 64xf32]) out(%{{.*}}[0, 32xf32]) {axes = ["tp.1"]
  plan.reduce_scatter x(%x[0, 64xf32]) out(%y[0, 32xf32]) {axes = ["tp.1"], stream = 1 : i32}
  // CHECK: plan.all_to_all x(%{{.*}}[0, 64xf32]) out(%{{.*}}[0, 64xf32]) {axes = ["tp.1"]
  plan.all_to_all x(%x[0, 64xf32]) out(%y[0, 64xf32]) {axes = ["tp.1"], stream = 1 : i32}
  // CHECK: plan.broadcast x(%{{.*}}[0, 64xf32]) out(%{{.*}}[0, 64xf32]) {axes = ["tp.1"]
  plan.broadcast x(%x[0, 64xf32]) out(%x[0, 64xf32]) {axes = ["tp.1"], stream = 1 : i32}
  // CHECK: plan.output "y" %{{.*}} [16, 8] axes {{\[\[}}"tp.0"], []] : !plan.buffer<f32>
  plan.output "y" %y [16, 8] axes [["tp.0"], []] : !plan.buffer<f32>
}
