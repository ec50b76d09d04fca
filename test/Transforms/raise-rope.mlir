// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise --cse | FileCheck %s

// The tables, shared by both ropes, become views of half their columns.
module {
  // CHECK: @cos(#{{.*}}) : tensor<4x8xf32> {tp.view = #tp.view<"cos", shape = [1, 1, 4, 16], offset = 0, sizes = [4, 8], strides = [16, 1]>}
  // CHECK: @sin(#{{.*}}) : tensor<4x8xf32> {tp.view = #tp.view<"sin", shape = [1, 1, 4, 16], offset = 0, sizes = [4, 8], strides = [16, 1]>}
  ml_program.global private @cos(#ml_program.extern : tensor<1x1x4x16xf32>) : tensor<1x1x4x16xf32> {tp.key = "cos", tp.equal_halves}
  ml_program.global private @sin(#ml_program.extern : tensor<1x1x4x16xf32>) : tensor<1x1x4x16xf32> {tp.key = "sin", tp.equal_halves}
  // CHECK-LABEL: func.func @shared
  // CHECK: %[[C:.*]] = ml_program.global_load_const @cos
  // CHECK: %[[S:.*]] = ml_program.global_load_const @sin
  // CHECK: %[[T:.*]] = tp.transpose %arg0 [0, 2, 1, 3]
  // CHECK: %[[R:.*]] = tp.rope %[[T]] cos %[[C]] sin %[[S]] interleaved = false : (tensor<2x4x3x16xf32>
  // CHECK: %[[Y:.*]] = tp.transpose %[[R]] [0, 2, 1, 3]
  // CHECK: %[[Z:.*]] = tp.rope %arg1 cos %[[C]] sin %[[S]] interleaved = false : (tensor<2x4x16xf32>
  // CHECK: return %[[Y]], %[[Z]]
  func.func @shared(%x: tensor<2x3x4x16xf32>, %z: tensor<2x4x16xf32>) -> (tensor<2x3x4x16xf32>, tensor<2x4x16xf32>) {
    %c = ml_program.global_load_const @cos : tensor<1x1x4x16xf32>
    %s = ml_program.global_load_const @sin : tensor<1x1x4x16xf32>
    %0 = tp.binary mul %x, %c : (tensor<2x3x4x16xf32>, tensor<1x1x4x16xf32>) -> tensor<2x3x4x16xf32>
    %1 = tp.slice %x [0, 0, 0, 0] [2, 3, 4, 8] [1, 1, 1, 1] : tensor<2x3x4x16xf32> to tensor<2x3x4x8xf32>
    %2 = tp.slice %x [0, 0, 0, 8] [2, 3, 4, 8] [1, 1, 1, 1] : tensor<2x3x4x16xf32> to tensor<2x3x4x8xf32>
    %3 = tp.unary neg %2 : tensor<2x3x4x8xf32>
    %4 = tp.concat %3, %1 dim = 3 : (tensor<2x3x4x8xf32>, tensor<2x3x4x8xf32>) -> tensor<2x3x4x16xf32>
    %5 = tp.binary mul %4, %s : (tensor<2x3x4x16xf32>, tensor<1x1x4x16xf32>) -> tensor<2x3x4x16xf32>
    %6 = tp.binary add %0, %5 : (tensor<2x3x4x16xf32>, tensor<2x3x4x16xf32>) -> tensor<2x3x4x16xf32>

    %c3 = tp.reshape %c : tensor<1x1x4x16xf32> to tensor<1x4x16xf32>
    %s3 = tp.reshape %s : tensor<1x1x4x16xf32> to tensor<1x4x16xf32>
    %7 = tp.binary mul %z, %c3 : (tensor<2x4x16xf32>, tensor<1x4x16xf32>) -> tensor<2x4x16xf32>
    %8 = tp.slice %z [0, 0, 0] [2, 4, 8] [1, 1, 1] : tensor<2x4x16xf32> to tensor<2x4x8xf32>
    %9 = tp.slice %z [0, 0, 8] [2, 4, 8] [1, 1, 1] : tensor<2x4x16xf32> to tensor<2x4x8xf32>
    %10 = tp.unary neg %9 : tensor<2x4x8xf32>
    %11 = tp.concat %10, %8 dim = 2 : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x16xf32>
    %12 = tp.binary mul %11, %s3 : (tensor<2x4x16xf32>, tensor<1x4x16xf32>) -> tensor<2x4x16xf32>
    %13 = tp.binary add %12, %7 : (tensor<2x4x16xf32>, tensor<2x4x16xf32>) -> tensor<2x4x16xf32>
    return %6, %13 : tensor<2x3x4x16xf32>, tensor<2x4x16xf32>
  }
}

// -----

// Only the first 4 of 8 elements rotate.
module {
  ml_program.global private @cos(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "cos", tp.equal_halves}
  ml_program.global private @sin(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "sin", tp.equal_halves}
  // CHECK-LABEL: func.func @partial
  // CHECK: %[[Y:.*]] = tp.rope %arg0 cos %{{.*}} sin %{{.*}} interleaved = false : (tensor<2x6x8xf32>, tensor<6x2xf32>, tensor<6x2xf32>)
  // CHECK-NEXT: return %[[Y]]
  func.func @partial(%x: tensor<2x6x8xf32>) -> tensor<2x6x8xf32> {
    %c = ml_program.global_load_const @cos : tensor<6x4xf32>
    %s = ml_program.global_load_const @sin : tensor<6x4xf32>
    %rot = tp.slice %x [0, 0, 0] [2, 6, 4] [1, 1, 1] : tensor<2x6x8xf32> to tensor<2x6x4xf32>
    %pass = tp.slice %x [0, 0, 4] [2, 6, 4] [1, 1, 1] : tensor<2x6x8xf32> to tensor<2x6x4xf32>
    %0 = tp.binary mul %rot, %c : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %1 = tp.slice %rot [0, 0, 0] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %2 = tp.slice %rot [0, 0, 2] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %3 = tp.unary neg %2 : tensor<2x6x2xf32>
    %4 = tp.concat %3, %1 dim = 2 : (tensor<2x6x2xf32>, tensor<2x6x2xf32>) -> tensor<2x6x4xf32>
    %5 = tp.binary mul %4, %s : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %6 = tp.binary add %0, %5 : (tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
    %7 = tp.concat %6, %pass dim = 2 : (tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x6x8xf32>
    return %7 : tensor<2x6x8xf32>
  }
}

// -----

// Halves that are not known to be equal.
module {
  ml_program.global private @cos(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "cos", tp.equal_halves}
  ml_program.global private @sin(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "sin"}
  // CHECK-LABEL: func.func @unequal_halves
  // CHECK-NOT: tp.rope
  // CHECK: tp.concat
  func.func @unequal_halves(%x: tensor<2x6x4xf32>) -> tensor<2x6x4xf32> {
    %c = ml_program.global_load_const @cos : tensor<6x4xf32>
    %s = ml_program.global_load_const @sin : tensor<6x4xf32>
    %0 = tp.binary mul %x, %c : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %1 = tp.slice %x [0, 0, 0] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %2 = tp.slice %x [0, 0, 2] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %3 = tp.unary neg %2 : tensor<2x6x2xf32>
    %4 = tp.concat %3, %1 dim = 2 : (tensor<2x6x2xf32>, tensor<2x6x2xf32>) -> tensor<2x6x4xf32>
    %5 = tp.binary mul %4, %s : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %6 = tp.binary add %0, %5 : (tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
    return %6 : tensor<2x6x4xf32>
  }
}

// -----

// The other half negated; and a table that is also read whole.
module {
  ml_program.global private @cos(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "cos", tp.equal_halves}
  ml_program.global private @sin(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "sin", tp.equal_halves}
  // CHECK-LABEL: func.func @other_sign
  // CHECK-NOT: tp.rope
  func.func @other_sign(%x: tensor<2x6x4xf32>) -> tensor<2x6x4xf32> {
    %c = ml_program.global_load_const @cos : tensor<6x4xf32>
    %s = ml_program.global_load_const @sin : tensor<6x4xf32>
    %0 = tp.binary mul %x, %c : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %1 = tp.slice %x [0, 0, 0] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %2 = tp.slice %x [0, 0, 2] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %3 = tp.unary neg %1 : tensor<2x6x2xf32>
    %4 = tp.concat %2, %3 dim = 2 : (tensor<2x6x2xf32>, tensor<2x6x2xf32>) -> tensor<2x6x4xf32>
    %5 = tp.binary mul %4, %s : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %6 = tp.binary add %0, %5 : (tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
    return %6 : tensor<2x6x4xf32>
  }
}

// -----

module {
  // CHECK: @cos(#{{.*}}) : tensor<6x4xf32> {{.*}}sizes = [6, 4]
  // CHECK: @sin(#{{.*}}) : tensor<6x4xf32> {{.*}}sizes = [6, 4]
  ml_program.global private @cos(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "cos", tp.equal_halves}
  ml_program.global private @sin(#ml_program.extern : tensor<6x4xf32>) : tensor<6x4xf32> {tp.key = "sin", tp.equal_halves}
  // CHECK-LABEL: func.func @table_read_elsewhere
  // CHECK-NOT: tp.rope
  func.func @table_read_elsewhere(%x: tensor<2x6x4xf32>) -> (tensor<2x6x4xf32>, tensor<6x4xf32>) {
    %c = ml_program.global_load_const @cos : tensor<6x4xf32>
    %s = ml_program.global_load_const @sin : tensor<6x4xf32>
    %0 = tp.binary mul %x, %c : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %1 = tp.slice %x [0, 0, 0] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %2 = tp.slice %x [0, 0, 2] [2, 6, 2] [1, 1, 1] : tensor<2x6x4xf32> to tensor<2x6x2xf32>
    %3 = tp.unary neg %2 : tensor<2x6x2xf32>
    %4 = tp.concat %3, %1 dim = 2 : (tensor<2x6x2xf32>, tensor<2x6x2xf32>) -> tensor<2x6x4xf32>
    %5 = tp.binary mul %4, %s : (tensor<2x6x4xf32>, tensor<6x4xf32>) -> tensor<2x6x4xf32>
    %6 = tp.binary add %0, %5 : (tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
    %7 = tp.unary exp %s : tensor<6x4xf32>
    return %6, %7 : tensor<2x6x4xf32>, tensor<6x4xf32>
  }
}

// -----

// A single position 0: both tables are constants.
module {
  // CHECK-LABEL: func.func @one_position
  // CHECK-DAG: %[[C:.*]] = tp.constant dense<1.000000e+00> : tensor<1x4xf32>
  // CHECK-DAG: %[[S:.*]] = tp.constant dense<0.000000e+00> : tensor<1x4xf32>
  // CHECK: %[[Y:.*]] = tp.rope %arg0 cos %[[C]] sin %[[S]] interleaved = false : (tensor<2x1x3x8xbf16>, tensor<1x4xf32>, tensor<1x4xf32>)
  // CHECK-NEXT: return %[[Y]]
  func.func @one_position(%x: tensor<2x1x3x8xbf16>) -> tensor<2x1x3x8xbf16> {
    %c = tp.constant dense<1.0> : tensor<1x1x1x8xbf16>
    %s = tp.constant dense<0.0> : tensor<1x1x1x8xbf16>
    %0 = tp.binary mul %x, %c : (tensor<2x1x3x8xbf16>, tensor<1x1x1x8xbf16>) -> tensor<2x1x3x8xbf16>
    %1 = tp.slice %x [0, 0, 0, 0] [2, 1, 3, 4] [1, 1, 1, 1] : tensor<2x1x3x8xbf16> to tensor<2x1x3x4xbf16>
    %2 = tp.slice %x [0, 0, 0, 4] [2, 1, 3, 4] [1, 1, 1, 1] : tensor<2x1x3x8xbf16> to tensor<2x1x3x4xbf16>
    %3 = tp.unary neg %2 : tensor<2x1x3x4xbf16>
    %4 = tp.concat %3, %1 dim = 3 : (tensor<2x1x3x4xbf16>, tensor<2x1x3x4xbf16>) -> tensor<2x1x3x8xbf16>
    %5 = tp.binary mul %4, %s : (tensor<2x1x3x8xbf16>, tensor<1x1x1x8xbf16>) -> tensor<2x1x3x8xbf16>
    %6 = tp.binary add %0, %5 : (tensor<2x1x3x8xbf16>, tensor<2x1x3x8xbf16>) -> tensor<2x1x3x8xbf16>
    return %6 : tensor<2x1x3x8xbf16>
  }
}
