// RUN: tp-opt %s -split-input-file -verify-diagnostics --convert-tp-to-plan

func.func @global(%x: tensor<2x8x4x4xf32> {tp.name = "x"}) -> (tensor<2x8x4x4xf32> {tp.name = "y"}) {
  // expected-error @below {{has no instruction in a plan; expected a module of the phase local or optimized}}
  %y = tp.sdpa %x, %x, %x scale = 1.0 causal = false : (tensor<2x8x4x4xf32>, tensor<2x8x4x4xf32>, tensor<2x8x4x4xf32>) -> tensor<2x8x4x4xf32>
  return %y : tensor<2x8x4x4xf32>
}

// -----

tp.mesh @mesh <"tp"=2>
func.func @not_local(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  // expected-error @below {{expected one rank's block of}}
  %y = tp.all_gather %x over ["tp"] from <[{"tp"}, {}]> to <[{}, {}]> of [4, 8] : tensor<4x8xf32> to tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

// expected-error @below {{argument 0 has no tp.name}}
func.func @unnamed(%x: tensor<4xf32>) -> (tensor<4xf32> {tp.name = "y"}) {
  return %x : tensor<4xf32>
}

// -----

tp.mesh @mesh <"tp"=2>
// expected-error @below {{result 0 is partial; expected a whole or sharded one}}
func.func @partial(%x: tensor<4xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}], partial = sum {"tp"}>}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{has no tp.view}}
ml_program.global private @w(#ml_program.extern : tensor<8xf32>) : tensor<8xf32>
func.func @no_view() -> (tensor<8xf32> {tp.name = "y"}) {
  %w = ml_program.global_load_const @w : tensor<8xf32>
  return %w : tensor<8xf32>
}

// -----

func.func @large(%x: tensor<4xi64> {tp.name = "x"}) -> (tensor<4xi64> {tp.name = "y"}) {
  // expected-error @below {{holds an integer beyond 2^53: 9007199254740993}}
  %c = tp.constant dense<9007199254740993> : tensor<4xi64>
  %y = tp.binary add %x, %c : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>
  return %y : tensor<4xi64>
}
