// RUN: tp-opt %s --tp-compile="mesh=dp:2,tp:2 memory=none to=local" | FileCheck %s

// Over two axes each operand has the padding of one dimension and repeats real data along the other: not zero.
// CHECK: %[[P:.*]] = tp.binary mul
// CHECK: %[[M:.*]] = tp.mask_padding %[[P]] dim = 1 from <length 3 over {"tp"}> value = 0.0
// CHECK: tp.reduce sum %[[M]] [1]
tp.mesh @mesh <"dp"=2, "tp"=2>
func.func @forward(%x: tensor<3x1xf32> {tp.name = "x"}, %z: tensor<1x3xf32> {tp.name = "z"}) -> (tensor<3x1xf32> {tp.name = "y0"}) {
  %e = tp.unary exp %z {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<1x3xf32>
  %p = tp.binary mul %x, %e {tp.strategy = #tp.strategy<"d0" = {"dp"}, "d1" = {"tp"}>} : (tensor<3x1xf32>, tensor<1x3xf32>) -> tensor<3x3xf32>
  %s = tp.reduce sum %p [1] {tp.strategy = #tp.strategy<"d0" = {"dp"}, "d1" = {"tp"}>} : tensor<3x3xf32> to tensor<3x1xf32>
  return %s : tensor<3x1xf32>
}
