// RUN: tp-opt %s --tp-fuse | FileCheck %s

// Bias and activation go into the matmul.
// CHECK-LABEL: func.func @epilogue
// CHECK-NEXT: %[[Y:.*]] = tp.matmul "bk,nk->bn" %{{.*}}, %{{.*}} bias %{{.*}} {activation = #tp<activation gelu>}
// CHECK-NEXT: return %[[Y]]
func.func @epilogue(%x: tensor<4x8xf32>, %w: tensor<16x8xf32>, %b: tensor<16xf32>) -> tensor<4x16xf32> {
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %1 = tp.binary add %0, %b : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  %2 = tp.unary gelu %1 : tensor<4x16xf32>
  return %2 : tensor<4x16xf32>
}

// A value with another user stays.
// CHECK-LABEL: func.func @second_user
// CHECK-NEXT: %[[Y:.*]] = tp.matmul
// CHECK: return %[[Y]]
func.func @second_user(%x: tensor<4x8xf32>, %w: tensor<16x8xf32>, %b: tensor<16xf32>) -> (tensor<4x16xf32>, tensor<4x16xf32>) {
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %1 = tp.unary gelu %0 : tensor<4x16xf32>
  return %0, %1 : tensor<4x16xf32>, tensor<4x16xf32>
}

// silu(a) * b is one pass over memory.
// CHECK-LABEL: func.func @gate
// CHECK: tp.elementwise "{{.*}}silu{{.*}}mul{{.*}}"
// CHECK-NEXT: return
func.func @gate(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = tp.unary silu %a : tensor<4x8xf32>
  %1 = tp.binary mul %0, %b : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// Constants of one value become numbers of the expression, exactly.
// CHECK-LABEL: func.func @constants
// CHECK: tp.elementwise "$0 0.10000000149011612 mul 1 add"
// CHECK-NEXT: return
func.func @constants(%a: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %c = tp.constant dense<0.1> : tensor<f32>
  %one = tp.constant dense<1.0> : tensor<4x8xf32>
  %0 = tp.binary mul %a, %c : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %1 = tp.binary add %0, %one : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// A constant that gives the result its shape stays an operand.
// CHECK-LABEL: func.func @shaping_constant
// CHECK: tp.binary mul
// CHECK-NOT: tp.elementwise
func.func @shaping_constant(%x: tensor<8xf32>) -> tensor<2x8xf32> {
  %c = tp.constant dense<2.0> : tensor<2x8xf32>
  %a = tp.binary mul %x, %c : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %y = tp.unary exp %a : tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
