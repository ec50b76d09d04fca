// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise | FileCheck %s

// A gate and an up projection stored as one tensor; the joined heads are contracted in their parts through elementwise ops.
module {
  // CHECK-DAG: @gate_up.0(#{{.*}}) : tensor<6x8xf32> {{.*}}offset = 0, sizes = [6, 8], strides = [8, 1]
  // CHECK-DAG: @gate_up.1(#{{.*}}) : tensor<6x8xf32> {{.*}}offset = 48, sizes = [6, 8], strides = [8, 1]
  ml_program.global private @gate_up(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32> {tp.key = "gate_up"}
  // CHECK-LABEL: func.func @gated
  // CHECK: tp.matmul "abk,nk->abn" %arg0, %{{.*}} -> tensor<2x3x6xf32>
  // CHECK: tp.matmul "abk,nk->abn" %arg0, %{{.*}} -> tensor<2x3x6xf32>
  // CHECK-NOT: tp.slice
  func.func @gated(%x: tensor<2x3x8xf32>) -> tensor<2x3x6xf32> {
    %w = ml_program.global_load_const @gate_up : tensor<12x8xf32>
    %0 = tp.matmul "abk,nk->abn" %x, %w : (tensor<2x3x8xf32>, tensor<12x8xf32>) -> tensor<2x3x12xf32>
    %1 = tp.slice %0 [0, 0, 0] [2, 3, 6] [1, 1, 1] : tensor<2x3x12xf32> to tensor<2x3x6xf32>
    %2 = tp.slice %0 [0, 0, 6] [2, 3, 6] [1, 1, 1] : tensor<2x3x12xf32> to tensor<2x3x6xf32>
    %3 = tp.unary silu %1 : tensor<2x3x6xf32>
    %4 = tp.binary mul %3, %2 : (tensor<2x3x6xf32>, tensor<2x3x6xf32>) -> tensor<2x3x6xf32>
    return %4 : tensor<2x3x6xf32>
  }
}

// -----

module {
  // CHECK: @o(#{{.*}}) : tensor<5x2x4xf32>
  ml_program.global private @o(#ml_program.extern : tensor<5x8xf32>) : tensor<5x8xf32> {tp.key = "o"}
  // CHECK-LABEL: func.func @joined
  // CHECK: %[[S:.*]] = tp.unary  sigmoid %arg0 : tensor<3x2x4xf32>
  // CHECK-NEXT: tp.matmul "{{.*}}" %[[S]], %{{.*}} : (tensor<3x2x4xf32>, tensor<5x2x4xf32>) -> tensor<3x5xf32>
  func.func @joined(%x: tensor<3x2x4xf32>) -> tensor<3x5xf32> {
    %w = ml_program.global_load_const @o : tensor<5x8xf32>
    %0 = tp.reshape %x : tensor<3x2x4xf32> to tensor<3x8xf32>
    %1 = tp.unary sigmoid %0 : tensor<3x8xf32>
    %2 = tp.matmul "ak,nk->an" %1, %w : (tensor<3x8xf32>, tensor<5x8xf32>) -> tensor<3x5xf32>
    return %2 : tensor<3x5xf32>
  }
}

// -----

// A norm over the joined heads needs them joined; what it is followed by stays as it is.
module {
  // CHECK: @o(#{{.*}}) : tensor<8x8xf32>
  ml_program.global private @o(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "o"}
  // CHECK-LABEL: func.func @joined_norm
  // CHECK: %[[M:.*]] = tp.matmul "ak,nk->an"
  // CHECK: %[[N:.*]] = tp.rms_norm %[[M]]
  // CHECK: tp.reshape %[[N]] : tensor<3x8xf32> to tensor<3x2x4xf32>
  func.func @joined_norm(%x: tensor<3x8xf32>) -> tensor<3x2x4xf32> {
    %w = ml_program.global_load_const @o : tensor<8x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %w : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
    %1 = tp.rms_norm %0 eps = 1.0e-5 : (tensor<3x8xf32>) -> tensor<3x8xf32>
    %2 = tp.reshape %1 : tensor<3x8xf32> to tensor<3x2x4xf32>
    return %2 : tensor<3x2x4xf32>
  }
}

// -----

// A slice of rows of the input is no slice of a weight.
module {
  ml_program.global private @o(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "o"}
  // CHECK-LABEL: func.func @rows
  // CHECK: tp.matmul "ak,nk->an" %arg0
  // CHECK: tp.slice
  // CHECK: tp.take %{{.*}} dim = 0 index = 4 : tensor<6x8xf32> to tensor<1x8xf32>
  func.func @rows(%x: tensor<6x8xf32>) -> (tensor<2x8xf32>, tensor<1x8xf32>) {
    %w = ml_program.global_load_const @o : tensor<8x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %w : (tensor<6x8xf32>, tensor<8x8xf32>) -> tensor<6x8xf32>
    %1 = tp.slice %0 [2, 0] [2, 8] [1, 1] : tensor<6x8xf32> to tensor<2x8xf32>
    %2 = tp.slice %0 [4, 0] [1, 8] [1, 1] : tensor<6x8xf32> to tensor<1x8xf32>
    return %1, %2 : tensor<2x8xf32>, tensor<1x8xf32>
  }
}

// -----

// Sequences of one position: the dimension of size 1 belongs to the rows, not to the heads.
module {
  // CHECK: @k(#{{.*}}) : tensor<2x4x8xf32>
  ml_program.global private @k(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "k"}
  // CHECK-LABEL: func.func @one_position
  // CHECK: %[[K:.*]] = tp.matmul {{.*}} : (tensor<3x1x8xf32>, tensor<2x4x8xf32>) -> tensor<3x1x2x4xf32>
  // CHECK-NEXT: return %[[K]]
  func.func @one_position(%x: tensor<3x1x8xf32>) -> tensor<3x1x2x4xf32> {
    %w = ml_program.global_load_const @k : tensor<8x8xf32>
    %0 = tp.reshape %x : tensor<3x1x8xf32> to tensor<3x8xf32>
    %1 = tp.matmul "ak,nk->an" %0, %w : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
    %2 = tp.reshape %1 : tensor<3x8xf32> to tensor<3x1x2x4xf32>
    return %2 : tensor<3x1x2x4xf32>
  }
}
