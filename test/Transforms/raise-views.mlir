// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise | FileCheck %s
// RUN: tp-opt %s --split-input-file --tp-raise --tp-verify-graph

// A tied weight is one global, also where the import names it twice; unused globals go.
module {
  // CHECK: ml_program.global private @embed
  // CHECK-NOT: ml_program.global
  ml_program.global private @embed(#ml_program.extern : tensor<10x8xf32>) : tensor<10x8xf32> {tp.key = "wte"}
  ml_program.global private @head(#ml_program.extern : tensor<10x8xf32>) : tensor<10x8xf32> {tp.key = "wte"}
  ml_program.global private @unused(#ml_program.extern : tensor<3xf32>) : tensor<3xf32> {tp.key = "unused"}
  // CHECK-LABEL: func.func @tied
  // CHECK: tp.embedding %arg0, %[[W:.*]] : (tensor<2x4xi64>, tensor<10x8xf32>)
  // CHECK: tp.matmul "abk,nk->abn" %{{.*}}, %{{.*}} : (tensor<2x4x8xf32>, tensor<10x8xf32>)
  func.func @tied(%ids: tensor<2x4xi64>) -> tensor<2x4x10xf32> {
    %e = ml_program.global_load_const @embed : tensor<10x8xf32>
    %h = ml_program.global_load_const @head : tensor<10x8xf32>
    %0 = tp.embedding %ids, %e : (tensor<2x4xi64>, tensor<10x8xf32>) -> tensor<2x4x8xf32>
    %1 = tp.matmul "abk,nk->abn" %0, %h : (tensor<2x4x8xf32>, tensor<10x8xf32>) -> tensor<2x4x10xf32>
    return %1 : tensor<2x4x10xf32>
  }
}

// -----

// Two groupings of one weight: the global takes the finer one, the other use joins it again.
module {
  // CHECK: @w(#{{.*}}) : tensor<2x4x8xf32>
  // CHECK-NOT: ml_program.global
  ml_program.global private @w(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "w"}
  // CHECK-LABEL: func.func @groupings
  // CHECK-DAG: tp.reshape %{{.*}} : tensor<2x4x8xf32> to tensor<8x8xf32>
  // CHECK-DAG: tp.matmul {{.*}} -> tensor<3x2x4xf32>
  func.func @groupings(%x: tensor<3x8xf32>, %y: tensor<5x8xf32>) -> (tensor<3x2x4xf32>, tensor<5x8xf32>) {
    %w = ml_program.global_load_const @w : tensor<8x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %w : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
    %1 = tp.reshape %0 : tensor<3x8xf32> to tensor<3x2x4xf32>
    %2 = tp.matmul "ak,nk->an" %y, %w : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
    return %1, %2 : tensor<3x2x4xf32>, tensor<5x8xf32>
  }
}

// -----

// Interleaved parts [heads, 3, d] are disjoint though their ranges meet.
module {
  // CHECK-DAG: @qkv.0(#{{.*}}) : tensor<2x4x8xf32> {{.*}}offset = 0, sizes = [2, 4, 8], strides = [96, 8, 1]
  // CHECK-DAG: @qkv.1(#{{.*}}) : tensor<2x4x8xf32> {{.*}}offset = 32, sizes = [2, 4, 8], strides = [96, 8, 1]
  // CHECK-DAG: @qkv.2(#{{.*}}) : tensor<2x4x8xf32> {{.*}}offset = 64, sizes = [2, 4, 8], strides = [96, 8, 1]
  ml_program.global private @qkv(#ml_program.extern : tensor<24x8xf32>) : tensor<24x8xf32> {tp.key = "qkv"}
  // CHECK-LABEL: func.func @interleaved
  // CHECK-NOT: tp.slice
  func.func @interleaved(%x: tensor<3x8xf32>) -> (tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>) {
    %w = ml_program.global_load_const @qkv : tensor<24x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %w : (tensor<3x8xf32>, tensor<24x8xf32>) -> tensor<3x24xf32>
    %1 = tp.reshape %0 : tensor<3x24xf32> to tensor<3x2x12xf32>
    %q = tp.slice %1 [0, 0, 0] [3, 2, 4] [1, 1, 1] : tensor<3x2x12xf32> to tensor<3x2x4xf32>
    %k = tp.slice %1 [0, 0, 4] [3, 2, 4] [1, 1, 1] : tensor<3x2x12xf32> to tensor<3x2x4xf32>
    %v = tp.slice %1 [0, 0, 8] [3, 2, 4] [1, 1, 1] : tensor<3x2x12xf32> to tensor<3x2x4xf32>
    return %q, %k, %v : tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>
  }
}

// -----

// Slices that share elements: the weight stays whole, the slices stay.
module {
  // CHECK: @w(#{{.*}}) : tensor<12x8xf32>
  // CHECK-NOT: ml_program.global
  ml_program.global private @w(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32> {tp.key = "w"}
  // CHECK-LABEL: func.func @overlap
  // CHECK: tp.slice
  // CHECK: tp.slice
  func.func @overlap(%x: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
    %w = ml_program.global_load_const @w : tensor<12x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %w : (tensor<3x8xf32>, tensor<12x8xf32>) -> tensor<3x12xf32>
    %1 = tp.slice %0 [0, 0] [3, 8] [1, 1] : tensor<3x12xf32> to tensor<3x8xf32>
    %2 = tp.slice %0 [0, 4] [3, 8] [1, 1] : tensor<3x12xf32> to tensor<3x8xf32>
    return %1, %2 : tensor<3x8xf32>, tensor<3x8xf32>
  }
}

// -----

// A transposed weight: the transpose goes into the einsum, the view keeps the file's order.
module {
  // CHECK: @w(#{{.*}}) : tensor<8x12xf32> {{.*}}strides = [12, 1]
  ml_program.global private @w(#ml_program.extern : tensor<8x12xf32>) : tensor<8x12xf32> {tp.key = "w"}
  // CHECK-LABEL: func.func @transposed
  // CHECK-NOT: tp.transpose
  // CHECK: tp.matmul "ak,kn->an"
  func.func @transposed(%x: tensor<3x8xf32>) -> tensor<3x12xf32> {
    %w = ml_program.global_load_const @w : tensor<8x12xf32>
    %t = tp.transpose %w [1, 0] : tensor<8x12xf32> to tensor<12x8xf32>
    %0 = tp.matmul "ak,nk->an" %x, %t : (tensor<3x8xf32>, tensor<12x8xf32>) -> tensor<3x12xf32>
    return %0 : tensor<3x12xf32>
  }
}
