// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise | FileCheck %s

module {
  ml_program.global private @w(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.key = "w"}
  // CHECK-LABEL: func.func @products
  // CHECK: %[[W:.*]] = ml_program.global_load_const @w
  // CHECK-NEXT: %[[Y:.*]] = tp.rms_norm %arg0 scale %[[W]] eps = 9.99999997E-7
  // CHECK-NEXT: return %[[Y]]
  func.func @products(%x: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
    %w = ml_program.global_load_const @w : tensor<8xf32>
    %n = tp.constant dense<0.125> : tensor<f32>
    %eps = tp.constant dense<1.0e-06> : tensor<f32>
    %0 = tp.binary mul %x, %x : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %1 = tp.reduce sum %0 [2] : tensor<2x4x8xf32> to tensor<2x4x1xf32>
    %2 = tp.binary mul %1, %n : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
    %3 = tp.binary add %2, %eps : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
    %4 = tp.unary rsqrt %3 : tensor<2x4x1xf32>
    %5 = tp.binary mul %x, %4 : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
    %6 = tp.binary mul %w, %5 : (tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    return %6 : tensor<2x4x8xf32>
  }

  // The cast to f32 and back belongs to the norm; a weight behind it meets the rounded value.
  // CHECK-LABEL: func.func @casts
  // CHECK: %[[N:.*]] = tp.rms_norm %arg0 scale %arg1 eps = {{.*}} {rounded} : (tensor<2x8xbf16>, tensor<8xbf16>) -> tensor<2x8xbf16>
  // CHECK-NEXT: return %[[N]]
  func.func @casts(%x: tensor<2x8xbf16>, %w: tensor<8xbf16>) -> tensor<2x8xbf16> {
    %two = tp.constant dense<2.0> : tensor<f32>
    %n = tp.constant dense<8.0> : tensor<f32>
    %eps = tp.constant dense<1.0e-05> : tensor<f32>
    %x32 = tp.convert %x : tensor<2x8xbf16> to tensor<2x8xf32>
    %0 = tp.binary pow %x32, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
    %1 = tp.reduce sum %0 [1] : tensor<2x8xf32> to tensor<2x1xf32>
    %2 = tp.binary div %1, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
    %3 = tp.binary add %eps, %2 : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
    %4 = tp.unary rsqrt %3 : tensor<2x1xf32>
    %5 = tp.binary mul %x32, %4 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
    %6 = tp.convert %5 : tensor<2x8xf32> to tensor<2x8xbf16>
    %7 = tp.binary mul %6, %w : (tensor<2x8xbf16>, tensor<8xbf16>) -> tensor<2x8xbf16>
    return %7 : tensor<2x8xbf16>
  }
}

// -----

// Near misses: another divisor, no epsilon, another dimension, the root of another value.

// CHECK-LABEL: func.func @wrong_mean
// CHECK-NOT: tp.rms_norm
func.func @wrong_mean(%x: tensor<2x8xf32>, %y: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %n = tp.constant dense<0.125> : tensor<f32>
  %m = tp.constant dense<0.25> : tensor<f32>
  %half = tp.constant dense<0.5> : tensor<f32>
  %eps = tp.constant dense<1.0e-05> : tensor<f32>
  %0 = tp.binary mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = tp.reduce sum %0 [1] : tensor<2x8xf32> to tensor<2x1xf32>

  %2 = tp.binary mul %1, %m : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %3 = tp.binary add %2, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %4 = tp.unary rsqrt %3 : tensor<2x1xf32>
  %5 = tp.binary mul %x, %4 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>

  %6 = tp.binary mul %1, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %7 = tp.unary rsqrt %6 : tensor<2x1xf32>
  %8 = tp.binary mul %x, %7 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>

  %9 = tp.reduce sum %0 [0] : tensor<2x8xf32> to tensor<1x8xf32>
  %10 = tp.binary mul %9, %half : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %11 = tp.binary add %10, %eps : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %12 = tp.unary rsqrt %11 : tensor<1x8xf32>
  %13 = tp.binary mul %x, %12 : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>

  %14 = tp.binary add %6, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %15 = tp.unary rsqrt %14 : tensor<2x1xf32>
  %16 = tp.binary mul %y, %15 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %5, %8, %13, %16 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// CHECK-LABEL: func.func @larger
// CHECK-NOT: tp.rms_norm
// CHECK: tp.unary rsqrt
func.func @larger(%x: tensor<4x8xf32>) -> tensor<3x4x8xf32> {
  %c0 = tp.constant dense<0.125> : tensor<f32>
  %c1 = tp.constant dense<0.01> : tensor<3x1x1xf32>
  %x2 = tp.binary mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %r = tp.reduce sum %x2 [1] : tensor<4x8xf32> to tensor<4x1xf32>
  %m = tp.binary mul %r, %c0 : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %e = tp.binary add %m, %c1 : (tensor<4x1xf32>, tensor<3x1x1xf32>) -> tensor<3x4x1xf32>
  %q = tp.unary rsqrt %e : tensor<3x4x1xf32>
  %y = tp.binary mul %x, %q : (tensor<4x8xf32>, tensor<3x4x1xf32>) -> tensor<3x4x8xf32>
  return %y : tensor<3x4x8xf32>
}
