// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=local" | FileCheck %s
// RUN: tp-opt %s --tp-compile="mesh=tp:4 to=local" | FileCheck %s --check-prefix=FOUR

// Sizes that do not divide: 5 over 2 ranks. Padding is masked where a reduction over it could change the result.
ml_program.global private @w(#ml_program.extern : tensor<3x5xf32>) : tensor<3x5xf32> {tp.key = "w"}

// CHECK: @w({{.*}}) : tensor<3x3xf32> {tp.shape = array<i64: 3, 5>, tp.sharding = #tp.sharding<[{}, {"tp"}]>
// CHECK: %[[X:.*]] = tp.local_slice %{{.*}} : tensor<4x5xf32> to tensor<4x3xf32>
// CHECK: %[[E:.*]] = tp.unary exp %[[X]] : tensor<4x3xf32>
// The padding of the weight is zero and that of the other factor finite: the sum needs no mask.
// CHECK: tp.matmul "bk,nk->bn" %[[E]], %w
// The maximum does.
// CHECK: %[[M:.*]] = tp.mask_padding %[[E]] dim = 1 from <length 5 over {"tp"}> value = 0xFFF0000000000000
// CHECK: tp.reduce max %[[M]] [1]
// CHECK: tp.all_reduce {{.*}} partial = sum
// CHECK: tp.all_reduce {{.*}} partial = max

// Over four ranks the blocks are 2, 2, 1 and nothing.
// FOUR: tp.local_slice %{{.*}} : tensor<4x5xf32> to tensor<4x2xf32>
// FOUR: tp.mask_padding %{{.*}} from <length 5 over {"tp"}>
func.func @forward(%x: tensor<4x5xf32> {tp.name = "x"}) -> (tensor<4x3xf32> {tp.name = "y"}, tensor<4x1xf32> {tp.name = "z"}) {
  %w = ml_program.global_load_const @w : tensor<3x5xf32>
  %0 = tp.unary exp %x {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x5xf32>
  %1 = tp.matmul "bk,nk->bn" %0, %w {tp.strategy = #tp.strategy<"k" = {"tp"}>} : (tensor<4x5xf32>, tensor<3x5xf32>) -> tensor<4x3xf32>
  %2 = tp.reduce max %0 [1] {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x5xf32> to tensor<4x1xf32>
  return %1, %2 : tensor<4x3xf32>, tensor<4x1xf32>
}
