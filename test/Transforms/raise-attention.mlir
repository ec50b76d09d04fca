// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --tp-raise | FileCheck %s

// Grouped heads: 4 query heads, 2 KV heads of 8. Projections make the heads, the output projection contracts them, biases too.
module {
  // CHECK-DAG: @q(#{{.*}}) : tensor<2x2x8x32xf32> {tp.view = #tp.view<"q", shape = [32, 32], offset = 0, sizes = [2, 2, 8, 32], strides = [512, 256, 32, 1]>}
  // CHECK-DAG: @qb(#{{.*}}) : tensor<2x2x8xf32>
  // CHECK-DAG: @k(#{{.*}}) : tensor<2x8x32xf32>
  // CHECK-DAG: @o(#{{.*}}) : tensor<32x2x2x8xf32> {tp.view = #tp.view<"o", shape = [32, 32], offset = 0, sizes = [32, 2, 2, 8], strides = [32, 16, 8, 1]>}
  ml_program.global private @q(#ml_program.extern : tensor<32x32xf32>) : tensor<32x32xf32> {tp.key = "q"}
  ml_program.global private @qb(#ml_program.extern : tensor<32xf32>) : tensor<32xf32> {tp.key = "qb"}
  ml_program.global private @k(#ml_program.extern : tensor<16x32xf32>) : tensor<16x32xf32> {tp.key = "k"}
  ml_program.global private @v(#ml_program.extern : tensor<16x32xf32>) : tensor<16x32xf32> {tp.key = "v"}
  ml_program.global private @o(#ml_program.extern : tensor<32x32xf32>) : tensor<32x32xf32> {tp.key = "o"}
  // CHECK-LABEL: func.func @grouped
  // CHECK-NOT: tp.transpose
  // CHECK: %[[Q:.*]] = tp.matmul {{.*}} -> tensor<2x4x2x2x8xf32>
  // CHECK: %[[QB:.*]] = tp.binary  add %[[Q]], {{.*}} : (tensor<2x4x2x2x8xf32>, tensor<2x2x8xf32>)
  // CHECK: %[[K:.*]] = tp.matmul {{.*}} -> tensor<2x4x2x8xf32>
  // CHECK: %[[V:.*]] = tp.matmul {{.*}} -> tensor<2x4x2x8xf32>
  // CHECK: %[[M:.*]] = tp.reshape %arg1 : tensor<2x4xi1> to tensor<2x1x4xi1>
  // CHECK: %[[A:.*]] = tp.attention %[[QB]], %[[K]], %[[V]] mask %[[M]] scale = 2.500000e-01 causal = true
  // CHECK: %[[O:.*]] = tp.matmul "abcde,ncde->abn" %[[A]]
  // CHECK-NEXT: return %[[O]]
  func.func @grouped(%x: tensor<2x4x32xf32>, %mask: tensor<2x4xi1>) -> tensor<2x4x32xf32> {
    %wq = ml_program.global_load_const @q : tensor<32x32xf32>
    %bq = ml_program.global_load_const @qb : tensor<32xf32>
    %wk = ml_program.global_load_const @k : tensor<16x32xf32>
    %wv = ml_program.global_load_const @v : tensor<16x32xf32>
    %wo = ml_program.global_load_const @o : tensor<32x32xf32>
    %q0 = tp.matmul "abk,nk->abn" %x, %wq : (tensor<2x4x32xf32>, tensor<32x32xf32>) -> tensor<2x4x32xf32>
    %q1 = tp.binary add %q0, %bq : (tensor<2x4x32xf32>, tensor<32xf32>) -> tensor<2x4x32xf32>
    %q2 = tp.reshape %q1 : tensor<2x4x32xf32> to tensor<2x4x4x8xf32>
    %q3 = tp.transpose %q2 [0, 2, 1, 3] : tensor<2x4x4x8xf32> to tensor<2x4x4x8xf32>
    %k0 = tp.matmul "abk,nk->abn" %x, %wk : (tensor<2x4x32xf32>, tensor<16x32xf32>) -> tensor<2x4x16xf32>
    %k1 = tp.reshape %k0 : tensor<2x4x16xf32> to tensor<2x4x2x8xf32>
    %k2 = tp.transpose %k1 [0, 2, 1, 3] : tensor<2x4x2x8xf32> to tensor<2x2x4x8xf32>
    %v0 = tp.matmul "abk,nk->abn" %x, %wv : (tensor<2x4x32xf32>, tensor<16x32xf32>) -> tensor<2x4x16xf32>
    %v1 = tp.reshape %v0 : tensor<2x4x16xf32> to tensor<2x4x2x8xf32>
    %v2 = tp.transpose %v1 [0, 2, 1, 3] : tensor<2x4x2x8xf32> to tensor<2x2x4x8xf32>
    %a = tp.sdpa %q3, %k2, %v2 mask %mask scale = 0.25 causal = true : (tensor<2x4x4x8xf32>, tensor<2x2x4x8xf32>, tensor<2x2x4x8xf32>, tensor<2x4xi1>) -> tensor<2x4x4x8xf32>
    %a1 = tp.transpose %a [0, 2, 1, 3] : tensor<2x4x4x8xf32> to tensor<2x4x4x8xf32>
    %a2 = tp.reshape %a1 : tensor<2x4x4x8xf32> to tensor<2x4x32xf32>
    %o = tp.matmul "abk,nk->abn" %a2, %wo : (tensor<2x4x32xf32>, tensor<32x32xf32>) -> tensor<2x4x32xf32>
    return %o : tensor<2x4x32xf32>
  }
}

// -----

// GPT-2: rows flattened, one stored [in, 3 * out] tensor that is cut into three views, never transposed.
module {
  // CHECK-DAG: @c_attn.0(#{{.*}}) : tensor<16x4x1x4xf32> {tp.view = #tp.view<"c_attn", shape = [16, 48], offset = 0, sizes = [16, 4, 1, 4], strides = [48, 4, 4, 1]>}
  // CHECK-DAG: @c_attn.1(#{{.*}}) : tensor<16x4x4xf32> {tp.view = #tp.view<"c_attn", shape = [16, 48], offset = 16, sizes = [16, 4, 4], strides = [48, 4, 1]>}
  // CHECK-DAG: @c_attn.2(#{{.*}}) : tensor<16x4x4xf32> {tp.view = #tp.view<"c_attn", shape = [16, 48], offset = 32, sizes = [16, 4, 4], strides = [48, 4, 1]>}
  // CHECK-DAG: @c_attn_bias.2(#{{.*}}) : tensor<4x4xf32> {tp.view = #tp.view<"c_attn_bias", shape = [48], offset = 32, sizes = [4, 4], strides = [4, 1]>}
  ml_program.global private @c_attn(#ml_program.extern : tensor<16x48xf32>) : tensor<16x48xf32> {tp.key = "c_attn"}
  ml_program.global private @c_attn_bias(#ml_program.extern : tensor<48xf32>) : tensor<48xf32> {tp.key = "c_attn_bias"}
  ml_program.global private @c_proj(#ml_program.extern : tensor<16x16xf32>) : tensor<16x16xf32> {tp.key = "c_proj"}
  // CHECK-LABEL: func.func @fused
  // CHECK-NOT: tp.transpose
  // CHECK-NOT: tp.reshape
  // CHECK-NOT: tp.slice
  // CHECK: tp.matmul {{.*}} (tensor<2x5x16xf32>, tensor<16x4x1x4xf32>) -> tensor<2x5x4x1x4xf32>
  // CHECK: tp.matmul {{.*}} (tensor<2x5x4x1x4xf32>, tensor<4x1x4x16xf32>) -> tensor<2x5x16xf32>
  func.func @fused(%x: tensor<2x5x16xf32>) -> tensor<2x5x16xf32> {
    %w = ml_program.global_load_const @c_attn : tensor<16x48xf32>
    %b = ml_program.global_load_const @c_attn_bias : tensor<48xf32>
    %p = ml_program.global_load_const @c_proj : tensor<16x16xf32>
    %0 = tp.reshape %x : tensor<2x5x16xf32> to tensor<10x16xf32>
    %1 = tp.matmul "ak,kn->an" %0, %w : (tensor<10x16xf32>, tensor<16x48xf32>) -> tensor<10x48xf32>
    %2 = tp.binary add %1, %b : (tensor<10x48xf32>, tensor<48xf32>) -> tensor<10x48xf32>
    %3 = tp.reshape %2 : tensor<10x48xf32> to tensor<2x5x48xf32>
    %q = tp.slice %3 [0, 0, 0] [2, 5, 16] [1, 1, 1] : tensor<2x5x48xf32> to tensor<2x5x16xf32>
    %k = tp.slice %3 [0, 0, 16] [2, 5, 16] [1, 1, 1] : tensor<2x5x48xf32> to tensor<2x5x16xf32>
    %v = tp.slice %3 [0, 0, 32] [2, 5, 16] [1, 1, 1] : tensor<2x5x48xf32> to tensor<2x5x16xf32>
    %q1 = tp.reshape %q : tensor<2x5x16xf32> to tensor<2x5x4x4xf32>
    %q2 = tp.transpose %q1 [0, 2, 1, 3] : tensor<2x5x4x4xf32> to tensor<2x4x5x4xf32>
    %k1 = tp.reshape %k : tensor<2x5x16xf32> to tensor<2x5x4x4xf32>
    %k2 = tp.transpose %k1 [0, 2, 1, 3] : tensor<2x5x4x4xf32> to tensor<2x4x5x4xf32>
    %v1 = tp.reshape %v : tensor<2x5x16xf32> to tensor<2x5x4x4xf32>
    %v2 = tp.transpose %v1 [0, 2, 1, 3] : tensor<2x5x4x4xf32> to tensor<2x4x5x4xf32>
    %a = tp.sdpa %q2, %k2, %v2 scale = 0.5 causal = true : (tensor<2x4x5x4xf32>, tensor<2x4x5x4xf32>, tensor<2x4x5x4xf32>) -> tensor<2x4x5x4xf32>
    %a1 = tp.transpose %a [0, 2, 1, 3] : tensor<2x4x5x4xf32> to tensor<2x5x4x4xf32>
    %a2 = tp.reshape %a1 : tensor<2x5x4x4xf32> to tensor<10x16xf32>
    %o = tp.matmul "ak,kn->an" %a2, %p : (tensor<10x16xf32>, tensor<16x16xf32>) -> tensor<10x16xf32>
    %o1 = tp.reshape %o : tensor<10x16xf32> to tensor<2x5x16xf32>
    %y = tp.binary add %o1, %x : (tensor<2x5x16xf32>, tensor<2x5x16xf32>) -> tensor<2x5x16xf32>
    return %y : tensor<2x5x16xf32>
  }
}

// -----

// Nothing behind the queries can give another form: they are moved, and the op is raised all the same. A bias and a mask of full rank.
// CHECK-LABEL: func.func @arguments
// CHECK-DAG: %[[Q:.*]] = tp.reshape %{{.*}} to tensor<2x5x2x2x8xf32>
// CHECK-DAG: %[[K:.*]] = tp.transpose %arg1 [0, 2, 1, 3]
// CHECK-DAG: %[[V:.*]] = tp.transpose %arg2 [0, 2, 1, 3]
// CHECK-DAG: %[[M:.*]] = tp.reshape %arg3 : tensor<2x1x5x7xi1> to tensor<2x5x7xi1>
// CHECK-DAG: %[[B:.*]] = tp.reshape %arg4 : tensor<1x4x5x7xf32> to tensor<1x2x2x5x7xf32>
// CHECK: tp.attention %[[Q]], %[[K]], %[[V]] mask %[[M]] bias %[[B]] scale = 1.000000e+00 causal = false
func.func @arguments(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x7x8xf32>, %v: tensor<2x2x7x6xf32>, %m: tensor<2x1x5x7xi1>, %b: tensor<1x4x5x7xf32>) -> tensor<2x4x5x6xf32> {
  %a = tp.sdpa %q, %k, %v mask %m bias %b scale = 1.0 causal = false : (tensor<2x4x5x8xf32>, tensor<2x2x7x8xf32>, tensor<2x2x7x6xf32>, tensor<2x1x5x7xi1>, tensor<1x4x5x7xf32>) -> tensor<2x4x5x6xf32>
  return %a : tensor<2x4x5x6xf32>
}

// -----

// A mask that differs between heads is a bias of 0 and minus infinity.
// CHECK-LABEL: func.func @mask_per_head
// CHECK-DAG: %[[ZERO:.*]] = tp.constant dense<0.000000e+00>
// CHECK-DAG: %[[INF:.*]] = tp.constant dense<0xFF800000>
// CHECK-DAG: %[[M:.*]] = tp.reshape %arg3 : tensor<2x4x5x5xi1> to tensor<2x2x2x5x5xi1>
// CHECK: %[[B:.*]] = tp.select %[[M]], %[[ZERO]], %[[INF]]
// CHECK: tp.attention %{{.*}}, %{{.*}}, %{{.*}} bias %[[B]] scale
func.func @mask_per_head(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x5x8xf32>, %v: tensor<2x2x5x8xf32>, %m: tensor<2x4x5x5xi1>) -> tensor<2x4x5x8xf32> {
  %a = tp.sdpa %q, %k, %v mask %m scale = 1.0 causal = false : (tensor<2x4x5x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x8xf32>, tensor<2x4x5x5xi1>) -> tensor<2x4x5x8xf32>
  return %a : tensor<2x4x5x8xf32>
}
