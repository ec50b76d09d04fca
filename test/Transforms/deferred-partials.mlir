// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=collective" | FileCheck %s

// A parallel block, as in GPT-J: attention's and the MLP's row-parallel matmuls are added to the residual. The sums of
// both are pending when they meet, so one collective serves where each of them alone would need one.
ml_program.global private @o(#ml_program.extern : tensor<256x1024xf32>) : tensor<256x1024xf32> {tp.key = "o"}
ml_program.global private @d(#ml_program.extern : tensor<256x1024xf32>) : tensor<256x1024xf32> {tp.key = "d"}
ml_program.global private @b(#ml_program.extern : tensor<256xf32>) : tensor<256xf32> {tp.key = "b"}

// CHECK: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// CHECK: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// CHECK: tp.binary add {{.*}}tp.strategy = #tp.strategy<partial = {"tp"}>
// CHECK: = tp.all_reduce
// CHECK-NOT: = tp.all_reduce
// CHECK-NOT: = tp.reduce_scatter
// CHECK-NOT: = tp.all_gather
func.func @forward(%x: tensor<64x256xf32> {tp.name = "x"}, %a: tensor<64x1024xf32> {tp.name = "a"}, %m: tensor<64x1024xf32> {tp.name = "m"})
    -> (tensor<64x256xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}]>}) {
  %wo = ml_program.global_load_const @o : tensor<256x1024xf32>
  %wd = ml_program.global_load_const @d : tensor<256x1024xf32>
  %wb = ml_program.global_load_const @b : tensor<256xf32>
  %ga = tp.unary gelu %a {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<64x1024xf32>
  %gm = tp.unary gelu %m {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<64x1024xf32>
  %0 = tp.matmul "tk,nk->tn" %ga, %wo : (tensor<64x1024xf32>, tensor<256x1024xf32>) -> tensor<64x256xf32>
  %1 = tp.matmul "tk,nk->tn" %gm, %wd : (tensor<64x1024xf32>, tensor<256x1024xf32>) -> tensor<64x256xf32>
  %2 = tp.binary add %0, %1 : (tensor<64x256xf32>, tensor<64x256xf32>) -> tensor<64x256xf32>
  %3 = tp.binary add %2, %wb : (tensor<64x256xf32>, tensor<256xf32>) -> tensor<64x256xf32>
  %4 = tp.binary add %3, %x : (tensor<64x256xf32>, tensor<64x256xf32>) -> tensor<64x256xf32>
  return %4 : tensor<64x256xf32>
}
