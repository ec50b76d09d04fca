// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise | FileCheck %s

// CHECK-LABEL: func.func @gelu_tanh
// CHECK-NEXT: %[[A:.*]] = tp.unary  gelu_tanh %arg0
// CHECK-NEXT: return %[[A]]
func.func @gelu_tanh(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = tp.constant dense<0.5> : tensor<f32>
  %three = tp.constant dense<3.0> : tensor<f32>
  %c = tp.constant dense<0.044715> : tensor<f32>
  %root = tp.constant dense<0.7978846> : tensor<f32>
  %one = tp.constant dense<1.0> : tensor<f32>
  %0 = tp.binary mul %x, %half : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %1 = tp.binary pow %x, %three : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %2 = tp.binary mul %1, %c : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %3 = tp.binary add %x, %2 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %4 = tp.binary mul %3, %root : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %5 = tp.unary tanh %4 : tensor<4x8xf32>
  %6 = tp.binary add %5, %one : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %7 = tp.binary mul %0, %6 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %7 : tensor<4x8xf32>
}

// -----

// x * (0.5 * (1 + tanh(..))) with the cube as products.
// CHECK-LABEL: func.func @other_order
// CHECK-NEXT: tp.unary  gelu_tanh %arg0
// CHECK-NEXT: return
func.func @other_order(%x: tensor<4xf32>) -> tensor<4xf32> {
  %half = tp.constant dense<0.5> : tensor<f32>
  %c = tp.constant dense<0.044715> : tensor<f32>
  %root = tp.constant dense<0.7978846> : tensor<f32>
  %one = tp.constant dense<1.0> : tensor<f32>
  %0 = tp.binary mul %x, %c : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = tp.binary mul %0, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = tp.binary mul %1, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = tp.binary add %2, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = tp.binary mul %root, %3 : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %5 = tp.unary tanh %4 : tensor<4xf32>
  %6 = tp.binary add %one, %5 : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %7 = tp.binary mul %half, %6 : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %8 = tp.binary mul %x, %7 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %8 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @silu
// CHECK-NEXT: tp.unary  silu %arg0
// CHECK-NEXT: return
func.func @silu(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = tp.unary sigmoid %x : tensor<4xf32>
  %1 = tp.binary mul %0, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// Near misses: another constant, another value.
// CHECK-LABEL: func.func @not_gelu
// CHECK-NOT: gelu_tanh
// CHECK-NOT: silu
func.func @not_gelu(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %half = tp.constant dense<0.5> : tensor<f32>
  %three = tp.constant dense<3.0> : tensor<f32>
  %c = tp.constant dense<0.044714> : tensor<f32>
  %right = tp.constant dense<0.044715> : tensor<f32>
  %root = tp.constant dense<0.7978846> : tensor<f32>
  %one = tp.constant dense<1.0> : tensor<f32>
  %0 = tp.binary mul %x, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = tp.binary pow %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = tp.binary mul %1, %c : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %3 = tp.binary add %x, %2 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = tp.binary mul %3, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %5 = tp.unary tanh %4 : tensor<4xf32>
  %6 = tp.binary add %5, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %7 = tp.binary mul %0, %6 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>

  %8 = tp.binary mul %1, %right : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %9 = tp.binary add %x, %8 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %10 = tp.binary mul %9, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %11 = tp.unary tanh %10 : tensor<4xf32>
  %12 = tp.binary add %11, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %13 = tp.binary mul %y, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %14 = tp.binary mul %13, %12 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>

  %15 = tp.unary sigmoid %x : tensor<4xf32>
  %16 = tp.binary mul %15, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %7, %14, %16 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// A constant of the pattern makes the result larger than x: not a unary op.
// CHECK-LABEL: func.func @larger
// CHECK-NOT: gelu_tanh
// CHECK: tp.unary tanh
func.func @larger(%x: tensor<8xf32>) -> tensor<2x8xf32> {
  %c0 = tp.constant dense<0.044715> : tensor<f32>
  %c1 = tp.constant dense<0.7978845608> : tensor<f32>
  %c2 = tp.constant dense<1.0> : tensor<f32>
  %c3 = tp.constant dense<0.5> : tensor<2x8xf32>
  %x2 = tp.binary mul %x, %x : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %x3 = tp.binary mul %x2, %x : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %t = tp.binary mul %x3, %c0 : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %s = tp.binary add %x, %t : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %u = tp.binary mul %s, %c1 : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %v = tp.unary tanh %u : tensor<8xf32>
  %p = tp.binary add %v, %c2 : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %h = tp.binary mul %x, %c3 : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %y = tp.binary mul %h, %p : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
