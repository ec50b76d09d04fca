// A plan file says the same as the module it was written from.
// RUN: tp-opt %s --convert-tp-to-plan --plan-schedule-streams --plan-assign-buffers --plan-emit=output=%t.plan -o %t.mlir
// RUN: tp-opt %t.plan --to-text | tp-opt -o %t.again.mlir
// RUN: diff %t.mlir %t.again.mlir
// RUN: FileCheck %s < %t.again.mlir

// The same module gives the same bytes.
// RUN: tp-opt %s --convert-tp-to-plan --plan-schedule-streams --plan-assign-buffers --plan-emit=output=%t.twin.plan -o %t.mlir
// RUN: cmp %t.plan %t.twin.plan

// CHECK: plan.model = "tiny"
// CHECK: plan.mesh ["tp"] sizes [2] of ["tp"]
// CHECK: plan.weight @w1
// CHECK: plan.entry @forward
// CHECK: plan.input "x" %{{.*}} [4, 8]
// CHECK: plan.matmul {{.*}}layer = "mlp.up"
// CHECK: plan.all_reduce
module attributes {tp.model = "tiny"} {
tp.mesh @mesh <"tp"=2>
ml_program.global private @w1(#ml_program.extern : tensor<16x8xf32>) : tensor<16x8xf32> {tp.view = #tp.view<"w1", shape = [32, 8], offset = 0, sizes = [32, 8], strides = [8, 1]>, tp.sharding = #tp.sharding<[{"tp"}, {}]>, tp.shape = array<i64: 32, 8>}
ml_program.global private @w2(#ml_program.extern : tensor<8x16xf32>) : tensor<8x16xf32> {tp.view = #tp.view<"w2", shape = [8, 32], offset = 0, sizes = [8, 32], strides = [32, 1]>, tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 8, 32>}
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x"}, %ids: tensor<2xi64> {tp.name = "ids", tp.range = array<i64: 0, 4>}, %mask: tensor<1x4xi1> {tp.name = "mask", tp.mask_rows})
    -> (tensor<4x8xf32> {tp.name = "y"}, tensor<2x8xf32> {tp.name = "rows"}, tensor<1x4xi1> {tp.name = "not"}, tensor<2x8xf32> {tp.name = "half", tp.sharding = #tp.sharding<[{"tp"}, {}]>, tp.shape = array<i64: 3, 8>}) {
  %w1 = ml_program.global_load_const @w1 : tensor<16x8xf32>
  %w2 = ml_program.global_load_const @w2 : tensor<8x16xf32>
  %h = tp.matmul "mk,nk->mn" %x, %w1 {activation = #tp<activation gelu>, tp.predicted_us = 1.25 : f64} : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32> loc("mlp.up")
  %p = tp.matmul "mk,nk->mn" %h, %w2 : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32> loc("mlp.down")
  %r = tp.all_reduce %p over ["tp"] from <[{}, {}], partial = sum {"tp"}> to <[{}, {}]> of [4, 8] {cause = "down is cut over its columns"} : tensor<4x8xf32> to tensor<4x8xf32>
  %rows = tp.embedding %ids, %r : (tensor<2xi64>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %n = tp.unary not %mask : tensor<1x4xi1>
  %three = tp.slice %r [0, 0] [3, 8] [1, 1] : tensor<4x8xf32> to tensor<3x8xf32>
  %half = tp.local_slice %three over ["tp"] from <[{}, {}]> to <[{"tp"}, {}]> of [3, 8] : tensor<3x8xf32> to tensor<2x8xf32>
  return %r, %rows, %n, %half : tensor<4x8xf32>, tensor<2x8xf32>, tensor<1x4xi1>, tensor<2x8xf32>
}
}
