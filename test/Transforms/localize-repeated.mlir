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

// Minus infinity in padding times zero is not zero: a matmul over it needs a mask.
// CHECK-LABEL: func.func @masked
// CHECK: %[[S:.*]] = tp.select
// CHECK: %[[M:.*]] = tp.mask_padding %[[S]] dim = 1 from <length 5 over {"tp"}> value = 0.0
// CHECK: tp.matmul "sk,kn->sn" %[[M]],
func.func @masked(%x: tensor<3x5xf32> {tp.name = "x"}, %m: tensor<3x5xi1> {tp.name = "m"}, %w: tensor<5x4xf32> {tp.name = "w"}) -> (tensor<3x4xf32> {tp.name = "y"}) {
  %c = tp.constant dense<0xFF800000> : tensor<f32>
  %s = tp.select %m, %x, %c {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<3x5xi1>, tensor<3x5xf32>, tensor<f32>) -> tensor<3x5xf32>
  %y = tp.matmul "sk,kn->sn" %s, %w {tp.strategy = #tp.strategy<"k" = {"tp"}>} : (tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// So may a product of two numbers be that are not zero.
// CHECK-LABEL: func.func @overflow
// CHECK: %[[S:.*]] = tp.binary mul
// CHECK: %[[M:.*]] = tp.mask_padding %[[S]] dim = 1 from <length 5 over {"tp"}> value = 0.0
// CHECK: tp.matmul "sk,kn->sn" %[[M]],
func.func @overflow(%x: tensor<3x5xf32> {tp.name = "x"}, %w: tensor<5x4xf32> {tp.name = "w"}) -> (tensor<3x4xf32> {tp.name = "y"}) {
  %c = tp.constant dense<1.0e20> : tensor<f32>
  %a = tp.binary add %x, %c {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<3x5xf32>, tensor<f32>) -> tensor<3x5xf32>
  %s = tp.binary mul %a, %a {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
  %y = tp.matmul "sk,kn->sn" %s, %w {tp.strategy = #tp.strategy<"k" = {"tp"}>} : (tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// Positions in padding lie in the tables.
// CHECK-LABEL: func.func @positions
// CHECK: %[[P:.*]] = tp.binary add
// CHECK: %[[M:.*]] = tp.mask_padding %[[P]] dim = 1 from <length 5 over {"tp"}> value = 0.0
// CHECK: tp.rope %{{.*}} at %[[M]]
func.func @positions(%x: tensor<1x5x2x4xf32> {tp.name = "x"}, %p: tensor<1x5xi64> {tp.name = "p"}, %c: tensor<8x2xf32> {tp.name = "c"}) -> (tensor<1x5x2x4xf32> {tp.name = "y"}) {
  %m = tp.constant dense<-1> : tensor<i64>
  %q = tp.binary add %p, %m {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<1x5xi64>, tensor<i64>) -> tensor<1x5xi64>
  %y = tp.rope %x at %q cos %c sin %c interleaved = false {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : (tensor<1x5x2x4xf32>, tensor<1x5xi64>, tensor<8x2xf32>, tensor<8x2xf32>) -> tensor<1x5x2x4xf32>
  return %y : tensor<1x5x2x4xf32>
}
