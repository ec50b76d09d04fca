// RUN: tp-opt %s -split-input-file -verify-diagnostics

// BufferType C1
// expected-error @below {{expected f32, bf16, f16, i32, i64 or i1, found 'f64'}}
module attributes {test.type = !plan.buffer<f64>} {}

// -----

// ValueAttr C1
// expected-error @below {{expected a number of elements, found -1}}
module attributes {test.v = #plan.value<start -1 over {"tp"}>} {}

// -----

// ValueAttr C2
// expected-error @below {{needs at least one axis}}
module attributes {test.v = #plan.value<start 4 over {}>} {}

// -----

// ValueAttr C2
// expected-error @below {{axis "tp" is named more than once}}
module attributes {test.v = #plan.value<length 4 over {"tp", "tp"}>} {}

// -----

// SliceAttr C1
// expected-error @below {{expected as many strides as sizes (2), found 1}}
module attributes {test.s = #plan.slice<0, [2, 3], [1]>} {}

// -----

// SliceAttr C2
// expected-error @below {{sizes are not negative}}
module attributes {test.s = #plan.slice<0, [-2], [1]>} {}

// -----

// PartAttr C1
// expected-error @below {{differ in length: 1, 1, 1, 2}}
module attributes {test.p = #plan.part<"w", f32[8], offset = 0, sizes = [8], strides = [1], axes = [[]], partial = [], at = 0, to = [1, 1]>} {}

// -----

// PartAttr C2
// expected-error @below {{sizes are not negative}}
module attributes {test.p = #plan.part<"w", f32[8], offset = 0, sizes = [-8], strides = [1], axes = [[]], partial = [], at = 0, to = [1]>} {}

// -----

// MeshOp C1
// expected-error @below {{expected one size and one parent per axis (2), found 1 and 2}}
plan.mesh ["a", "b"] sizes [2] of ["a", "b"]

// -----

// MeshOp C2
// expected-error @below {{axis "a" has size 0, expected at least 1}}
plan.mesh ["a"] sizes [0] of ["a"]

// -----

// MeshOp C3
// expected-error @below {{axis "a" is named more than once}}
plan.mesh ["a", "a"] sizes [2, 2] of ["a", "a"]

// -----

// WeightOp C1
// expected-error @below {{expected at least one part}}
plan.weight @w 8 : f32 []

// -----

// WeightOp C2
// expected-error @below {{expected a number of elements, found -8}}
plan.weight @w -8 : f32 [#plan.part<"w", f32[8], offset = 0, sizes = [8], strides = [1], axes = [[]], partial = [], at = 0, to = [1]>]

// -----

// EntryOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{may not stand in a plan.entry}}
  "plan.mesh"() {axes = [], sizes = array<i64>, parents = []} : () -> ()
}

// -----

// EntryOp C1
plan.entry @e attributes {events = 1 : i32} {
  plan.record {event = 0 : i32}
  // expected-error @below {{stands too late: an entry lists buffers, inputs, instructions, outputs}}
  %x = plan.buffer 64 : !plan.buffer<f32>
}

// -----

// EntryOp C2
plan.entry @e attributes {events = 1 : i32} {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{names event 1 of an entry with 1}}
  plan.record {event = 1 : i32}
}

// -----

// BufferOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected a number of elements, found -1}}
  %b = plan.buffer -1 : !plan.buffer<f32>
}

// -----

// BufferOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected an offset that is a multiple of 64, found 32}}
  %b = plan.buffer 1 at 32 : !plan.buffer<f32>
}

// -----

// WeightBufferOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{names no weight: @none}}
  %b = plan.weight_buffer @none : !plan.buffer<f32>
}

// -----

// WeightBufferOp C1
plan.weight @w 8 : f32 [#plan.part<"w", f32[8], offset = 0, sizes = [8], strides = [1], axes = [[]], partial = [], at = 0, to = [1]>]
plan.entry @e {
  // expected-error @below {{is of 'bf16', the weight of 'f32'}}
  %b = plan.weight_buffer @w : !plan.buffer<bf16>
}

// -----

// InputOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{needs a plan.buffer of 60 elements}}
  plan.input "x" %x [6, 10] : !plan.buffer<f32>
}

// -----

// InputOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected a range of two numbers on integers}}
  plan.input "x" %x [8, 8] range [0, 3] : !plan.buffer<f32>
}

// -----

// OutputOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected one list of axis names per dimension}}
  plan.output "x" %x [8, 8] axes [[]] : !plan.buffer<f32>
}

// -----

// region outside its buffer
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{c reaches elements 1 to 64 of a buffer of 64}}
  plan.matmul a(%x[0, 8x8xf32]) b(%x[0, 8x8xf32]) c(%y[1, 8x8xf32]) {einsum = "mk,nk->mn"}
}

// -----

// write through stride 0
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{writes through a stride of 0 at out}}
  plan.copy x(%x[0, 8xf32]) out(%y[0, 8xf32 by 0])
}

// -----

// write to a weight
plan.weight @w 8 : f32 [#plan.part<"w", f32[8], offset = 0, sizes = [8], strides = [1], axes = [[]], partial = [], at = 0, to = [1]>]
plan.entry @e {
  %x = plan.buffer 8 : !plan.buffer<f32>
  %b = plan.weight_buffer @w : !plan.buffer<f32>
  // expected-error @below {{writes a weight through out}}
  plan.copy x(%x[0, 8xf32]) out(%b[0, 8xf32])
}

// -----

// MatMulOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{term 'mkq' of the einsum names 3 dimensions, a is [4, 8]}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) c(%y[0, 4x8xf32]) {einsum = "mkq,nk->mn"}
}

// -----

// MatMulOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{label 'm' has sizes 4 and 8}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) c(%y[0, 4x8xf32]) {einsum = "mk,nm->kn"}
}

// -----

// MatMulOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{label 'n' is twice in 'nn'}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) c(%y[0, 4x8xf32]) {einsum = "mk,nn->mk"}
}

// -----

// MatMulOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{label 'j' is in one term only}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) c(%y[0, 4x8xf32]) {einsum = "mk,nj->mn"}
}

// -----

// MatMulOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected bias of [4, 8], found [8]}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) bias(%x[0, 8xf32]) c(%y[0, 4x8xf32]) {einsum = "mk,nk->mn"}
}

// -----

// MatMulOp C4
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{unknown activation 'selu'; expected none, gelu}}
  plan.matmul a(%x[0, 4x8xf32]) b(%x[0, 8x8xf32]) c(%y[0, 4x8xf32]) {einsum = "mk,nk->mn", activation = "selu"}
}

// -----

// AttentionOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected k of [1, 4, 1, 8], found [1, 4, 1, 4]}}
  plan.attention q(%x[0, 1x4x1x1x8xf32]) k(%x[0, 1x4x1x4xf32]) v(%x[0, 1x4x1x8xf32]) out(%y[0, 1x4x1x1x8xf32]) {scale = 1.0 : f32}
}

// -----

// AttentionOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected q of rank 5, found [4, 8]}}
  plan.attention q(%x[0, 4x8xf32]) k(%x[0, 1x4x1x8xf32]) v(%x[0, 1x4x1x8xf32]) out(%y[0, 1x4x1x1x8xf32]) {scale = 1.0 : f32}
}

// -----

// AttentionOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{a position without causal means nothing}}
  plan.attention q(%x[0, 1x4x1x1x8xf32]) k(%x[0, 1x4x1x8xf32]) v(%x[0, 1x4x1x8xf32]) out(%y[0, 1x4x1x1x8xf32]) {scale = 1.0 : f32, position = #plan.value<3>}
}

// -----

// GatherRowsOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [4, 8], found [4, 4]}}
  plan.gather_rows ids(%i[0, 4xi64]) table(%x[0, 8x8xf32]) out(%y[0, 4x4xf32]) {base = #plan.value<0>, rows = #plan.value<8>}
}

// -----

// GatherRowsOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected ids of i32 or i64, found 'f32'}}
  plan.gather_rows ids(%x[0, 4xf32]) table(%x[0, 8x8xf32]) out(%y[0, 4x8xf32]) {base = #plan.value<0>, rows = #plan.value<8>}
}

// -----

// TakeOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [1, 8], found [8]}}
  plan.take x(%x[0, 8x8xf32]) out(%y[0, 8xf32]) {dim = 0 : i32, index = 0 : i64, base = #plan.value<0>, rows = #plan.value<8>}
}

// -----

// NormOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{unknown kind 'batch'; expected layer, rms}}
  plan.norm x(%x[0, 8x8xf32]) out(%y[0, 8x8xf32]) {kind = "batch", dims = 1 : i32, eps = 1.0 : f32}
}

// -----

// NormOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected dims between 1 and 2, found 3}}
  plan.norm x(%x[0, 8x8xf32]) out(%y[0, 8x8xf32]) {kind = "rms", dims = 3 : i32, eps = 1.0 : f32}
}

// -----

// NormOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [8, 8], found [8, 4]}}
  plan.norm x(%x[0, 8x8xf32]) out(%y[0, 8x4xf32]) {kind = "rms", dims = 1 : i32, eps = 1.0 : f32}
}

// -----

// NormOp C4
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{a sum needs a residual}}
  plan.norm x(%x[0, 8x8xf32]) out(%y[0, 8x8xf32]) sum(%y[0, 8x8xf32]) {kind = "rms", dims = 1 : i32, eps = 1.0 : f32}
}

// -----

// RopeOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [2, 4, 8], found [2, 4, 4]}}
  plan.rope x(%x[0, 2x4x8xf32]) positions(%i[0, 2x4xi64]) cos(%x[0, 4x4xf32]) sin(%x[0, 4x4xf32]) out(%y[0, 2x4x4xf32])
}

// -----

// RopeOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected positions of [2, 4], found [4]}}
  plan.rope x(%x[0, 2x4x8xf32]) positions(%i[0, 4xi64]) cos(%x[0, 4x4xf32]) sin(%x[0, 4x4xf32]) out(%y[0, 2x4x8xf32])
}

// -----

// RopeOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected sin of [4, 4], found [2, 4]}}
  plan.rope x(%x[0, 2x4x8xf32]) positions(%i[0, 2x4xi64]) cos(%x[0, 4x4xf32]) sin(%x[0, 2x4xf32]) out(%y[0, 2x4x8xf32])
}

// -----

// ElementwiseOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{malformed expression '$0 add': 'add' finds too few values}}
  plan.elementwise input(%x[0, 8xf32]) out(%y[0, 8xf32]) {expr = "$0 add"}
}

// -----

// ElementwiseOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{malformed expression '$0 foo': unknown term 'foo'}}
  plan.elementwise input(%x[0, 8xf32]) out(%y[0, 8xf32]) {expr = "$0 foo"}
}

// -----

// ElementwiseOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected one value at the end, found 2}}
  plan.elementwise input(%x[0, 8xf32]) out(%y[0, 8xf32]) {expr = "$0 1"}
}

// -----

// ElementwiseOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{term $1 names no input; there are 1}}
  plan.elementwise input(%x[0, 8xf32]) out(%y[0, 8xf32]) {expr = "$1"}
}

// -----

// ElementwiseOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at most 16 operators, found 17}}
  plan.elementwise input(%x[0, 8xf32]) out(%y[0, 8xf32]) {expr = "$0 neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg"}
}

// -----

// ElementwiseOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected an input of [8], found [4]}}
  plan.elementwise input(%x[0, 4xf32]) out(%y[0, 8xf32]) {expr = "$0 neg"}
}

// -----

// ReduceOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{unknown kind 'mean'; expected sum, max, min}}
  plan.reduce x(%x[0, 8x8xf32]) out(%y[0, 8x1xf32]) {kind = "mean", dims = array<i64: 1>}
}

// -----

// ReduceOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [8, 1], found [8, 8]}}
  plan.reduce x(%x[0, 8x8xf32]) out(%y[0, 8x8xf32]) {kind = "sum", dims = array<i64: 1>}
}

// -----

// ReduceOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected sorted, distinct dims, found [1, 0]}}
  plan.reduce x(%x[0, 8x8xf32]) out(%y[0, 1x1xf32]) {kind = "sum", dims = array<i64: 1, 0>}
}

// -----

// SoftmaxOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{dimension 2 is outside [8, 8]}}
  plan.softmax x(%x[0, 8x8xf32]) out(%y[0, 8x8xf32]) {dim = 2 : i32}
}

// -----

// CopyOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected out of [8, 8], found [64]}}
  plan.copy x(%x[0, 8x8xf32]) out(%y[0, 64xf32])
}

// -----

// FillOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{dimension 2 is outside [8, 8]}}
  plan.fill out(%x[0, 8x8xf32]) {value = 0.0 : f64, dim = 2 : i32, from = #plan.value<0>}
}

// -----

// FillOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected `from` exactly when dim is given}}
  plan.fill out(%x[0, 8x8xf32]) {value = 0.0 : f64, dim = 1 : i32}
}

// -----

// AllReduceOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected contiguous regions}}
  plan.all_reduce x(%x[0, 8xf32 by 2]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// -----

// AllReduceOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected 8 elements, found 4}}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 4xf32]) {axes = ["tp"]}
}

// -----

// AllReduceOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at least one axis}}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = []}
}

// -----

// AllGatherOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected contiguous regions}}
  plan.all_gather x(%x[0, 8xf32 by 2]) out(%y[0, 16xf32]) {axes = ["tp"]}
}

// -----

// AllGatherOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected a multiple of 8 elements, found 12}}
  plan.all_gather x(%x[0, 8xf32]) out(%y[0, 12xf32]) {axes = ["tp"]}
}

// -----

// AllGatherOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at least one axis}}
  plan.all_gather x(%x[0, 8xf32]) out(%y[0, 16xf32]) {axes = []}
}

// -----

// ReduceScatterOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected contiguous regions}}
  plan.reduce_scatter x(%x[0, 16xf32 by 2]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// -----

// ReduceScatterOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected a multiple of 8 elements, found 12}}
  plan.reduce_scatter x(%x[0, 12xf32]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// -----

// ReduceScatterOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at least one axis}}
  plan.reduce_scatter x(%x[0, 16xf32]) out(%y[0, 8xf32]) {axes = []}
}

// -----

// AllToAllOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected contiguous regions}}
  plan.all_to_all x(%x[0, 8xf32 by 2]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// -----

// AllToAllOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected 8 elements, found 4}}
  plan.all_to_all x(%x[0, 8xf32]) out(%y[0, 4xf32]) {axes = ["tp"]}
}

// -----

// AllToAllOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at least one axis}}
  plan.all_to_all x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = []}
}

// -----

// BroadcastOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected contiguous regions}}
  plan.broadcast x(%x[0, 8xf32 by 2]) out(%y[0, 8xf32]) {axes = ["tp"]}
}

// -----

// BroadcastOp C2
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected 8 elements, found 4}}
  plan.broadcast x(%x[0, 8xf32]) out(%y[0, 4xf32]) {axes = ["tp"]}
}

// -----

// BroadcastOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected at least one axis}}
  plan.broadcast x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = []}
}

// -----

// AllReduceOp C1
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{expected x and out of one type, found 'f32' and 'i64'}}
  plan.all_reduce x(%x[0, 8xf32]) out(%i[0, 8xi64]) {axes = ["tp"]}
}

// -----

// AllReduceOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{names an axis twice}}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp", "tp"]}
}

// -----

// AllReduceOp C3
plan.entry @e {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{unknown reduction 'mean'}}
  plan.all_reduce x(%x[0, 8xf32]) out(%y[0, 8xf32]) {axes = ["tp"], reduce = "mean"}
}

// -----

// RecordOp C1
plan.entry @e attributes {events = 1 : i32} {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{event -1 is negative}}
  plan.record {event = -1 : i32}
}

// -----

// WaitOp C1
plan.entry @e attributes {events = 1 : i32} {
  %x = plan.buffer 64 : !plan.buffer<f32>
  %y = plan.buffer 64 : !plan.buffer<f32>
  %i = plan.buffer 64 : !plan.buffer<i64>
  // expected-error @below {{event -1 is negative}}
  plan.wait {event = -1 : i32}
}
