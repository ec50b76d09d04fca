// RUN: tp-opt %s --tp-compile="mesh=tp:2 memory=none to=local" | FileCheck %s

// Where an operand is repeated along a dimension with padding, the padding holds real data: a sum over it needs a mask.
// CHECK-LABEL: func.func @broadcast
// CHECK: %[[B:.*]] = tp.broadcast %{{.*}} : tensor<4x1xf32> to tensor<4x4xf32>
// CHECK: %[[M:.*]] = tp.mask_padding %[[B]] dim = 1 from <length 7 over {"tp"}> value = 0.0
// CHECK: tp.reduce sum %[[M]] [1]
func.func @broadcast(%x: tensor<4x1xf32> {tp.name = "x"}) -> (tensor<4x1xf32> {tp.name = "y"}) {
  %0 = tp.broadcast %x {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x1xf32> to tensor<4x7xf32>
  %1 = tp.reduce sum %0 [1] {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x7xf32> to tensor<4x1xf32>
  return %1 : tensor<4x1xf32>
}

// CHECK-LABEL: func.func @add
// CHECK: %[[S:.*]] = tp.binary add
// CHECK: %[[M:.*]] = tp.mask_padding %[[S]] dim = 1 from <length 7 over {"tp"}> value = 0.0
// CHECK: tp.reduce sum %[[M]] [1]
func.func @add(%x: tensor<4x1xf32> {tp.name = "x"}, %z: tensor<7xf32> {tp.name = "z"}) -> (tensor<4x1xf32> {tp.name = "y"}) {
  %0 = tp.binary add %x, %z {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<4x1xf32>, tensor<7xf32>) -> tensor<4x7xf32>
  %1 = tp.reduce sum %0 [1] {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x7xf32> to tensor<4x1xf32>
  return %1 : tensor<4x1xf32>
}

// A product with zero padding is zero: no mask.
// CHECK-LABEL: func.func @mul
// CHECK: %[[P:.*]] = tp.binary mul
// CHECK-NEXT: tp.reduce sum %[[P]] [1]
func.func @mul(%x: tensor<4x1xf32> {tp.name = "x"}, %z: tensor<7xf32> {tp.name = "z"}) -> (tensor<4x1xf32> {tp.name = "y"}) {
  %0 = tp.binary mul %x, %z {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<4x1xf32>, tensor<7xf32>) -> tensor<4x7xf32>
  %1 = tp.reduce sum %0 [1] {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x7xf32> to tensor<4x1xf32>
  return %1 : tensor<4x1xf32>
}
