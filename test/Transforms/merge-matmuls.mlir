// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=optimized" | FileCheck %s

// Three projections of one input, cut by columns: one matmul over one weight in three parts. The fourth has another input.
ml_program.global private @q(#ml_program.extern : tensor<16x32xf32>) : tensor<16x32xf32> {tp.key = "q"}
ml_program.global private @k(#ml_program.extern : tensor<8x32xf32>) : tensor<8x32xf32> {tp.key = "k"}
ml_program.global private @v(#ml_program.extern : tensor<8x32xf32>) : tensor<8x32xf32> {tp.key = "v"}
ml_program.global private @o(#ml_program.extern : tensor<8x16xf32>) : tensor<8x16xf32> {tp.key = "o"}
// CHECK: func.func @forward
// CHECK-COUNT-2: = tp.matmul
// CHECK-NOT: = tp.matmul
func.func @forward(%x: tensor<4x32xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "a"}, tensor<4x8xf32> {tp.name = "b"}, tensor<4x8xf32> {tp.name = "c"}) {
  %wq = ml_program.global_load_const @q : tensor<16x32xf32>
  %wk = ml_program.global_load_const @k : tensor<8x32xf32>
  %wv = ml_program.global_load_const @v : tensor<8x32xf32>
  %wo = ml_program.global_load_const @o : tensor<8x16xf32>
  %0 = tp.matmul "bk,nk->bn" %x, %wq {tp.strategy = #tp.strategy<"n" = {"tp"}>} : (tensor<4x32xf32>, tensor<16x32xf32>) -> tensor<4x16xf32>
  %1 = tp.matmul "bk,nk->bn" %x, %wk {tp.strategy = #tp.strategy<"n" = {"tp"}>} : (tensor<4x32xf32>, tensor<8x32xf32>) -> tensor<4x8xf32>
  %2 = tp.matmul "bk,nk->bn" %x, %wv {tp.strategy = #tp.strategy<"n" = {"tp"}>} : (tensor<4x32xf32>, tensor<8x32xf32>) -> tensor<4x8xf32>
  %3 = tp.matmul "bk,nk->bn" %0, %wo {tp.strategy = #tp.strategy<"k" = {"tp"}>} : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  return %1, %2, %3 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}

// A global that has the merged weight's name already is another one.
ml_program.global private @w(#ml_program.extern : tensor<4x8xf32>) : tensor<4x8xf32> {tp.key = "w"}
ml_program.global private @u(#ml_program.extern : tensor<4x8xf32>) : tensor<4x8xf32> {tp.key = "u"}
ml_program.global private @"w+u"(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "z"}
// CHECK-LABEL: func.func @same_name
// CHECK: %[[M:.*]] = ml_program.global_load_const @[[NAME:"w\+u_[0-9]+"]] : tensor<8x8xf32>
// CHECK: tp.matmul "sk,ak->sa" %{{.*}}, %[[M]]
func.func @same_name(%x: tensor<3x8xf32> {tp.name = "x"}) -> (tensor<3x4xf32> {tp.name = "d", tp.sharding = #tp.sharding<[{}, {}]>}, tensor<3x8xf32> {tp.name = "e", tp.sharding = #tp.sharding<[{}, {}]>}) {
  %w = ml_program.global_load_const @w : tensor<4x8xf32>
  %u = ml_program.global_load_const @u : tensor<4x8xf32>
  %z = ml_program.global_load_const @"w+u" : tensor<8x8xf32>
  %a = tp.matmul "sk,nk->sn" %x, %w {tp.strategy = #tp.strategy<>} : (tensor<3x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
  %b = tp.matmul "sk,nk->sn" %x, %u {tp.strategy = #tp.strategy<>} : (tensor<3x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
  %d = tp.binary mul %a, %b : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  %t = tp.unary exp %x : tensor<3x8xf32>
  %e = tp.matmul "sk,kn->sn" %t, %z {tp.strategy = #tp.strategy<>} : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
  return %d, %e : tensor<3x4xf32>, tensor<3x8xf32>
}
