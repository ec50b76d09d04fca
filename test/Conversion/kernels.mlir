// RUN: tp-opt %s -split-input-file --convert-tp-to-plan | FileCheck %s

// The scale of a norm becomes a weight of ones under --random-weights; broadcasts are strides of 0; constants stand in
// expressions; the layer comes from the location.
// CHECK: module attributes {{.*}}plan.model = "m"{{.*}}plan.weights_bytes_unsharded = 64 : i64
// CHECK: plan.weight @b 8 : f32 [
// CHECK-NEXT: plan.weight @g 8 : f32 ones
// CHECK-NOT: plan.weight
// CHECK-LABEL: plan.entry @norms
// CHECK: plan.norm x(%{{.*}}[0, 4x8xf32]) scale(%[[G:.*]][0, 4x8xf32 by 0x1]) bias(%{{.*}}[0, 4x8xf32 by 0x1]) out(%[[N:.*]][0, 4x8xf32]) {dims = 1 : i32, eps = {{.*}}, kind = "layer", layer = "ln"}
// CHECK-NEXT: plan.norm x(%[[N]][0, 4x8xf32]) scale(%[[G]][0, 4x8xf32 by 0x1]) out(%[[M:.*]][0, 4x8xf32]) {{.*}}kind = "rms"
// CHECK-NEXT: plan.elementwise input(%[[M]][0, 4x8xf32]) out(%[[E:.*]][0, 4x8xf32]) {expr = "$0 2.5 mul"}
// CHECK-NEXT: plan.elementwise input(%[[E]][0, 4x8xf32], %[[M]][0, 4x8xf32]) out(%{{.*}}) {expr = "$0 silu $1 mul"}
module attributes {tp.model = "m"} {
ml_program.global private @b0(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"b", shape = [8], offset = 0, sizes = [8], strides = [1]>}
ml_program.global private @g0(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"g", shape = [8], offset = 0, sizes = [8], strides = [1]>}
ml_program.global private @unused(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"u", shape = [8], offset = 0, sizes = [8], strides = [1]>}
func.func @norms(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %g = ml_program.global_load_const @g0 : tensor<8xf32>
  %b = ml_program.global_load_const @b0 : tensor<8xf32>
  %n = tp.layer_norm %x scale %g bias %b eps = 1.0e-12 : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<4x8xf32> loc("ln")
  %m = tp.rms_norm %n scale %g eps = 1.0e-6 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %c = tp.constant dense<2.5> : tensor<f32>
  %e = tp.binary mul %m, %c : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %y = tp.elementwise "$0 silu $1 mul" %e, %m : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
}

// -----

// CHECK-LABEL: plan.entry @matmul
// CHECK: plan.input "x" %[[X:.*]] [2, 8] : !plan.buffer<bf16>
// CHECK: plan.matmul a(%[[X]][0, 2x8xbf16]) b(%{{.*}}[0, 4x8xbf16]) bias(%{{.*}}[0, 2x4xf32 by 0x1]) residual(%{{.*}}[0, 2x4xf32]) c(%{{.*}}[0, 2x4xf32]) {activation = "gelu", einsum = "mk,nk->mn", predicted_us = 2.500000e+00 : f64}
func.func @matmul(%x: tensor<2x8xbf16> {tp.name = "x"}, %w: tensor<4x8xbf16> {tp.name = "w"}, %b: tensor<4xf32> {tp.name = "b"},
                  %r: tensor<2x4xf32> {tp.name = "r"}) -> (tensor<2x4xf32> {tp.name = "y"}) {
  %y = tp.matmul "mk,nk->mn" %x, %w bias %b residual %r {activation = #tp<activation gelu>, tp.predicted_us = 2.5 : f64} : (tensor<2x8xbf16>, tensor<4x8xbf16>, tensor<4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// CHECK-LABEL: plan.entry @embedding
// CHECK: plan.input "ids" %[[I:.*]] [2, 4] range [0, 30] : !plan.buffer<i64>
// CHECK-NEXT: plan.gather_rows ids(%[[I]][0, 2x4xi64]) table(%{{.*}}[0, 15x8xf32]) out(%[[O:.*]][0, 2x4x8xf32]) {base = #plan.value<start 30 over {"tp"}>, rows = #plan.value<length 30 over {"tp"}>}
// CHECK-NEXT: plan.take x(%[[O]][0, 2x4x8xf32]) out(%[[T:.*]][0, 2x1x8xf32]) {base = #plan.value<start 8 over {"tp"}>, dim = 1 : i32, index = 7 : i64, rows = #plan.value<length 8 over {"tp"}>}
// CHECK-NEXT: plan.reduce x(%[[T]][0, 2x1x8xf32]) out(%[[R:.*]][0, 2x1x1xf32]) {dims = array<i64: 2>, kind = "max"}
// CHECK-NEXT: plan.softmax x(%[[T]][0, 2x1x8xf32]) out(%{{.*}}[0, 2x1x8xf32]) {dim = 2 : i32}
// CHECK-NEXT: plan.copy x(%[[O]][24, 2x1x8xf32 by 32x8x1]) out(%{{.*}}[0, 2x1x8xf32])
module {
tp.mesh @mesh <"tp"=2>
ml_program.global private @t(#ml_program.extern : tensor<15x8xf32>) : tensor<15x8xf32> {tp.view = #tp.view<"t", shape = [30, 8], offset = 0, sizes = [30, 8], strides = [8, 1]>, tp.sharding = #tp.sharding<[{"tp"}, {}]>, tp.shape = array<i64: 30, 8>}
func.func @embedding(%ids: tensor<2x4xi64> {tp.name = "ids", tp.range = array<i64: 0, 30>})
    -> (tensor<2x1x1xf32> {tp.name = "r"}, tensor<2x1x8xf32> {tp.name = "s"}, tensor<2x1x8xf32> {tp.name = "k"}) {
  %t = ml_program.global_load_const @t : tensor<15x8xf32>
  %o = tp.embedding %ids, %t {base = #tp.rank<start 30 over {"tp"}>, rows = #tp.rank<length 30 over {"tp"}>} : (tensor<2x4xi64>, tensor<15x8xf32>) -> tensor<2x4x8xf32>
  %k = tp.take %o dim = 1 index = 7 {base = #tp.rank<start 8 over {"tp"}>, rows = #tp.rank<length 8 over {"tp"}>} : tensor<2x4x8xf32> to tensor<2x1x8xf32>
  %r = tp.reduce max %k [2] : tensor<2x1x8xf32> to tensor<2x1x1xf32>
  %s = tp.softmax %k dim = 2 : tensor<2x1x8xf32>
  %whole = tp.take %o dim = 1 index = 3 : tensor<2x4x8xf32> to tensor<2x1x8xf32>
  return %r, %s, %whole : tensor<2x1x1xf32>, tensor<2x1x8xf32>, tensor<2x1x8xf32>
}
}

// -----

// The mask [2, 1, 4] repeats over queries; a bias of bf16 becomes f32.
// CHECK-LABEL: plan.entry @attention
// CHECK: plan.copy x(%{{.*}}[0, 1x1x1x4x4xbf16]) out(%[[B:.*]][0, 1x1x1x4x4xf32])
// CHECK-NEXT: plan.attention q(%{{.*}}[0, 2x4x1x2x8xf32]) k(%{{.*}}[0, 2x4x1x8xf32]) v(%{{.*}}[0, 2x4x1x8xf32]) mask(%{{.*}}[0, 2x4x4xi1 by 4x0x1]) bias(%[[B]][0, 2x1x2x4x4xf32 by 0x16x0x4x1]) out(%{{.*}}[0, 2x4x1x2x8xf32]) {causal, position = #plan.value<start 8 over {"tp"}>, scale = 5.000000e-01 : f32}
module {
tp.mesh @mesh <"tp"=2>
func.func @attention(%q: tensor<2x4x1x2x8xf32> {tp.name = "q"}, %k: tensor<2x4x1x8xf32> {tp.name = "k"}, %v: tensor<2x4x1x8xf32> {tp.name = "v"},
                     %m: tensor<2x1x4xi1> {tp.name = "m", tp.mask_rows}, %b: tensor<1x1x1x4x4xbf16> {tp.name = "b"}) -> (tensor<2x4x1x2x8xf32> {tp.name = "y"}) {
  %y = tp.attention %q, %k, %v mask %m bias %b scale = 0.5 causal = true {position = #tp.rank<start 8 over {"tp"}>} : (tensor<2x4x1x2x8xf32>, tensor<2x4x1x8xf32>, tensor<2x4x1x8xf32>, tensor<2x1x4xi1>, tensor<1x1x1x4x4xbf16>) -> tensor<2x4x1x2x8xf32>
  return %y : tensor<2x4x1x2x8xf32>
}
}

// -----

// CHECK-LABEL: plan.entry @rope
// CHECK: plan.rope x(%{{.*}}[0, 2x4x3x8xf32]) positions(%{{.*}}[0, 2x4xi64 by 0x1]) cos(%{{.*}}[0, 16x4xf32]) sin(%{{.*}}[0, 16x4xf32]) out(%{{.*}}[0, 2x4x3x8xf32])
func.func @rope(%x: tensor<2x4x3x8xf32> {tp.name = "x"}, %p: tensor<1x4xi64> {tp.name = "p"}, %c: tensor<16x4xf32> {tp.name = "c"},
                %s: tensor<16x4xf32> {tp.name = "s"}) -> (tensor<2x4x3x8xf32> {tp.name = "y"}) {
  %y = tp.rope %x at %p cos %c sin %s interleaved = false : (tensor<2x4x3x8xf32>, tensor<1x4xi64>, tensor<16x4xf32>, tensor<16x4xf32>) -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// -----

// Without positions they are counted once for both ropes: 0; 1; 2, 3; 4.
// CHECK-LABEL: plan.entry @counted
// CHECK: plan.fill out(%[[I:.*]][0, 1xi32]) {value = 0.0{{.*}}}
// CHECK-NEXT: plan.elementwise input(%[[I]][0, 1xi32]) out(%[[I]][1, 1xi32]) {expr = "$0 1 add"}
// CHECK-NEXT: plan.elementwise input(%[[I]][0, 2xi32]) out(%[[I]][2, 2xi32]) {expr = "$0 2 add"}
// CHECK-NEXT: plan.elementwise input(%[[I]][0, 1xi32]) out(%[[I]][4, 1xi32]) {expr = "$0 4 add"}
// CHECK-NEXT: plan.rope {{.*}} positions(%[[I]][0, 2x5xi32 by 0x1])
// CHECK-NEXT: plan.rope {{.*}} positions(%[[I]][0, 2x5xi32 by 0x1])
func.func @counted(%x: tensor<2x5x3x8xf32> {tp.name = "x"}, %c: tensor<16x4xf32> {tp.name = "c"}, %s: tensor<16x4xf32> {tp.name = "s"})
    -> (tensor<2x5x3x8xf32> {tp.name = "y"}) {
  %0 = tp.rope %x cos %c sin %s interleaved = false : (tensor<2x5x3x8xf32>, tensor<16x4xf32>, tensor<16x4xf32>) -> tensor<2x5x3x8xf32>
  %1 = tp.rope %0 cos %c sin %s interleaved = false : (tensor<2x5x3x8xf32>, tensor<16x4xf32>, tensor<16x4xf32>) -> tensor<2x5x3x8xf32>
  return %1 : tensor<2x5x3x8xf32>
}

// -----

// A block of 3 of 5 positions over 2: 0, 1, 2 and 3, 4; a third that is padding repeats the last one in range.
// CHECK-LABEL: plan.entry @block
// CHECK: plan.fill out(%[[I:.*]][5, 3xi32]) {value = 4.0{{.*}}}
// CHECK-NEXT: plan.rope {{.*}} positions(%[[I]][start 5 over {"tp"}, 2x3xi32 by 0x1])
module {
tp.mesh @mesh <"tp"=2>
func.func @block(%x: tensor<2x3x3x8xf32> {tp.name = "x"}, %c: tensor<16x4xf32> {tp.name = "c"}, %s: tensor<16x4xf32> {tp.name = "s"})
    -> (tensor<2x3x3x8xf32> {tp.name = "y"}) {
  %y = tp.rope %x cos %c sin %s interleaved = false {position = #tp.rank<start 5 over {"tp"}>} : (tensor<2x3x3x8xf32>, tensor<16x4xf32>, tensor<16x4xf32>) -> tensor<2x3x3x8xf32>
  return %y : tensor<2x3x3x8xf32>
}
}

// -----

// A table that is no splat is filled run by run where it is first used; a splat that is no number of an expression is one element, repeated.
// CHECK-LABEL: plan.entry @constants
// CHECK: plan.fill out(%[[T:.*]][0, 2xf32]) {value = 1.0{{.*}}}
// CHECK-NEXT: plan.fill out(%[[T]][2, 1xf32]) {value = 2.0{{.*}}}
// CHECK-NEXT: plan.elementwise input(%[[X:.*]][0, 3xf32], %[[T]][0, 3xf32]) out(%{{.*}}) {expr = "$0 $1 add"}
// CHECK-NEXT: plan.fill out(%[[S:.*]][0, 1xf32]) {value = 4.0{{.*}}}
// CHECK-NEXT: plan.copy x(%[[S]][0, 3xf32 by 0]) out(%[[F:.*]][0, 3xf32])
// CHECK-NEXT: plan.output
func.func @constants(%x: tensor<3xf32> {tp.name = "x"}) -> (tensor<3xf32> {tp.name = "y"}, tensor<3xf32> {tp.name = "z"}) {
  %t = tp.constant dense<[1.0, 1.0, 2.0]> : tensor<3xf32>
  %four = tp.constant dense<4.0> : tensor<3xf32>
  %y = tp.binary add %x, %t : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %y, %four : tensor<3xf32>, tensor<3xf32>
}

// -----

// Padding is masked where it lies when nobody else reads the value, else in a copy.
// CHECK-LABEL: plan.entry @mask
// CHECK: plan.elementwise input(%[[X:.*]][0, 4x3xf32]) out(%[[E:.*]][0, 4x3xf32]) {expr = "$0 exp"}
// CHECK-NEXT: plan.fill out(%[[E]][0, 4x3xf32]) {dim = 1 : i32, from = #plan.value<length 5 over {"tp"}>, value = 0.0{{.*}}}
// CHECK-NEXT: plan.copy x(%[[X]][0, 4x3xf32]) out(%[[C:.*]][0, 4x3xf32])
// CHECK-NEXT: plan.fill out(%[[C]][0, 4x3xf32]) {dim = 1 : i32
module {
tp.mesh @mesh <"tp"=2>
func.func @mask(%x: tensor<4x3xf32> {tp.name = "x"}) -> (tensor<4x3xf32> {tp.name = "y"}, tensor<4x3xf32> {tp.name = "z"}) {
  %e = tp.unary exp %x : tensor<4x3xf32>
  %y = tp.mask_padding %e dim = 1 from <length 5 over {"tp"}> value = 0.0 : tensor<4x3xf32>
  %z = tp.mask_padding %x dim = 1 from <length 5 over {"tp"}> value = 0.0 : tensor<4x3xf32>
  return %y, %z : tensor<4x3xf32>, tensor<4x3xf32>
}
}

// -----

// Integers stay integers; i1 comes from comparisons; a conversion is a copy.
// CHECK-LABEL: plan.entry @integers
// CHECK: plan.elementwise input(%{{.*}}[0, 4xi64]) out(%[[C:.*]][0, 4xi1]) {expr = "$0 3 lt"}
// CHECK-NEXT: plan.elementwise input(%[[C]][0, 4xi1], %{{.*}}[0, 4xi64]) out(%[[S:.*]][0, 4xi64]) {expr = "$0 $1 3 select"}
// CHECK-NEXT: plan.copy x(%[[S]][0, 4xi64]) out(%{{.*}}[0, 4xf32])
func.func @integers(%x: tensor<4xi64> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "y"}) {
  %three = tp.constant dense<3> : tensor<i64>
  %c = tp.compare lt %x, %three : (tensor<4xi64>, tensor<i64>) -> tensor<4xi1>
  %s = tp.select %c, %x, %three : (tensor<4xi1>, tensor<4xi64>, tensor<i64>) -> tensor<4xi64>
  %y = tp.convert %s : tensor<4xi64> to tensor<4xf32>
  return %y : tensor<4xf32>
}
