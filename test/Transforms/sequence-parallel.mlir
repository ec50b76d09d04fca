// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=collective" | FileCheck %s

// Between a row-parallel and a column-parallel matmul the all-reduce becomes a reduce-scatter and an all-gather, because
// the norm between them then works on half of the rows; the bytes are the same.
ml_program.global private @d(#ml_program.extern : tensor<384x1536xf32>) : tensor<384x1536xf32> {tp.key = "d"}
ml_program.global private @u(#ml_program.extern : tensor<1536x384xf32>) : tensor<1536x384xf32> {tp.key = "u"}
ml_program.global private @g(#ml_program.extern : tensor<384xf32>) : tensor<384xf32> {tp.key = "g"}

// CHECK: tp.matmul {{.*}}"k" = {"tp"}
// CHECK-NEXT: = tp.reduce_scatter {{.*}} to <[{"tp"}, {}]>
// CHECK-NEXT: = tp.layer_norm {{.*}}"d0" = {"tp"}
// CHECK-NEXT: = tp.all_gather
// CHECK-NEXT: tp.matmul {{.*}}"n" = {"tp"}
func.func @forward(%a: tensor<512x1536xf32> {tp.name = "a", tp.sharding = #tp.sharding<[{}, {"tp"}]>}) -> (tensor<512x1536xf32> {tp.name = "y"}) {
  %wd = ml_program.global_load_const @d : tensor<384x1536xf32>
  %wu = ml_program.global_load_const @u : tensor<1536x384xf32>
  %wg = ml_program.global_load_const @g : tensor<384xf32>
  %0 = tp.matmul "tk,nk->tn" %a, %wd {tp.strategy = #tp.strategy<"k" = {"tp"}>} : (tensor<512x1536xf32>, tensor<384x1536xf32>) -> tensor<512x384xf32>
  %1 = tp.layer_norm %0 scale %wg bias %wg eps = 1.0e-5 : (tensor<512x384xf32>, tensor<384xf32>, tensor<384xf32>) -> tensor<512x384xf32>
  %2 = tp.matmul "tk,nk->tn" %1, %wu {tp.strategy = #tp.strategy<"n" = {"tp"}>} : (tensor<512x384xf32>, tensor<1536x384xf32>) -> tensor<512x1536xf32>
  return %2 : tensor<512x1536xf32>
}
