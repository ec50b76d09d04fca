// RUN: tp-opt %s --convert-tp-to-plan | FileCheck %s

// Two views of one tensor get names of their own; a bias that is partial is loaded at coordinate 0; the stored type of a part
// differs from the held one; a merged weight has its parts in place. Unsharded: 136 elements of f32 and 128 of bf16.
// CHECK: plan.weights_bytes_unsharded = 800 : i64
// CHECK: plan.weight @qkv 32 : f32 [#plan.part<"qkv", f32[8, 24], offset = 0, sizes = [8, 8], strides = [24, 1], axes = {{\[\[\], \["tp"\]\]}}, partial = [], at = 0, to = [4, 1]>]
// CHECK-NEXT: plan.weight @"qkv#2" 32 : f32 [#plan.part<"qkv", f32[8, 24], offset = 8
// CHECK-NEXT: plan.weight @b 8 : f32 [#plan.part<"b", f32[8], offset = 0, sizes = [8], strides = [1], axes = {{\[\[\]\]}}, partial = ["tp"], at = 0, to = [1]>]
// CHECK-NEXT: plan.weight @"k+v" 64 : bf16 [#plan.part<"k", f32[8, 8], {{.*}} at = 0, to = [8, 1]>, #plan.part<"v", bf16[8, 8], {{.*}} axes = {{\[\["tp"\], \[\]\]}}, partial = [], at = 32, to = [8, 1]>]
// CHECK-NOT: plan.weight @
tp.mesh @mesh <"tp"=2>
ml_program.global private @q(#ml_program.extern : tensor<8x4xf32>) : tensor<8x4xf32> {tp.view = #tp.view<"qkv", shape = [8, 24], offset = 0, sizes = [8, 8], strides = [24, 1]>, tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 8, 8>}
ml_program.global private @k(#ml_program.extern : tensor<8x4xf32>) : tensor<8x4xf32> {tp.view = #tp.view<"qkv", shape = [8, 24], offset = 8, sizes = [8, 8], strides = [24, 1]>, tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 8, 8>}
ml_program.global private @b(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"b", shape = [8], offset = 0, sizes = [8], strides = [1]>, tp.sharding = #tp.sharding<[{}], partial = sum {"tp"}>, tp.shape = array<i64: 8>}
ml_program.global private @kv(#ml_program.extern : tensor<8x8xbf16>) : tensor<8x8xbf16> {tp.parts = [
  {stored = f32, view = #tp.view<"k", shape = [8, 8], offset = 0, sizes = [8, 8], strides = [8, 1]>, sharding = #tp.sharding<[{"tp"}, {}]>, shape = array<i64: 4, 8>, offset = 0 : i64, strides = array<i64: 8, 1>},
  {view = #tp.view<"v", shape = [8, 8], offset = 0, sizes = [8, 8], strides = [8, 1]>, sharding = #tp.sharding<[{"tp"}, {}]>, shape = array<i64: 4, 8>, offset = 32 : i64, strides = array<i64: 8, 1>}]}

// Both entries share the weights; each has one buffer per weight however often it is loaded.
// CHECK-LABEL: plan.entry @one
// CHECK: plan.weight_buffer @qkv
// CHECK-NEXT: plan.weight_buffer @"qkv#2"
// CHECK-NOT: plan.weight_buffer
// CHECK: plan.input
func.func @one(%x: tensor<2x8xf32> {tp.name = "x"}) -> (tensor<2x4xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 2, 8>}) {
  %q = ml_program.global_load_const @q : tensor<8x4xf32>
  %k = ml_program.global_load_const @k : tensor<8x4xf32>
  %again = ml_program.global_load_const @k : tensor<8x4xf32>
  %0 = tp.matmul "mk,kn->mn" %x, %q : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %1 = tp.matmul "mk,kn->mn" %x, %k : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %2 = tp.matmul "mk,kn->mn" %x, %again : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %3 = tp.binary add %0, %1 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %4 = tp.binary add %3, %2 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}
// CHECK-LABEL: plan.entry @two
// CHECK: plan.output "y" %{{.*}} [8, 8] axes {{\[\[\], \[\]\]}}
func.func @two(%x: tensor<8x8xf32> {tp.name = "x"}) -> (tensor<8x8xf32> {tp.name = "y"}, tensor<8x8xbf16> {tp.name = "w"}) {
  %b = ml_program.global_load_const @b : tensor<8xf32>
  %w = ml_program.global_load_const @kv : tensor<8x8xbf16>
  %y = tp.binary add %x, %b : (tensor<8x8xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  %n = tp.unary neg %w : tensor<8x8xbf16>
  return %y, %n : tensor<8x8xf32>, tensor<8x8xbf16>
}
