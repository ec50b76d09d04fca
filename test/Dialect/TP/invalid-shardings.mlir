// RUN: tp-opt %s -split-input-file -verify-diagnostics --tp-compile="mesh=tp:2 to=sharded"

// What an attribute alone cannot know: the value it is on, and the mesh.

// #tp.sharding C2
// expected-error@+1 {{sharding has 1 dimensions, the value has 2}}
ml_program.global private @w(#ml_program.extern : tensor<8x16xf32>) : tensor<8x16xf32> {tp.key = "w", tp.sharding = #tp.sharding<[{"tp"}]>}
func.func @forward(%x: tensor<4x16xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %w = ml_program.global_load_const @w : tensor<8x16xf32>
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// #tp.sharding C3
// expected-error@+1 {{the mesh has no axis "dp"; it has "tp"}}
ml_program.global private @w(#ml_program.extern : tensor<8x16xf32>) : tensor<8x16xf32> {tp.key = "w", tp.sharding = #tp.sharding<[{"dp"}, {}]>}
func.func @forward(%x: tensor<4x16xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %w = ml_program.global_load_const @w : tensor<8x16xf32>
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}
