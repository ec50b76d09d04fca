// RUN: tp-opt %s -split-input-file -verify-diagnostics --tp-compile="mesh=tp:2"

// Values are tensors of static shape and of a plan's types; nothing else gets past the first pass.

// expected-error @below {{argument 0: expected a tensor of static shape, found 'f32'}}
func.func @forward(%x: f32 {tp.name = "x"}, %y: tensor<4xf32> {tp.name = "y"}) -> (tensor<4xf32> {tp.name = "z"}) {
  return %y : tensor<4xf32>
}

// -----

// expected-error @below {{argument 0: expected a tensor of static shape, found 'tensor<?xf32>'}}
func.func @forward(%x: tensor<?xf32> {tp.name = "x"}) -> (tensor<?xf32> {tp.name = "z"}) {
  return %x : tensor<?xf32>
}

// -----

// expected-error @below {{argument 0: expected elements of f32, bf16, f16, i1, i32 or i64, found 'tensor<4xf64>'}}
func.func @forward(%x: tensor<4xf64> {tp.name = "x"}) -> (tensor<4xf64> {tp.name = "z"}) {
  return %x : tensor<4xf64>
}

// -----

// expected-error @below {{global: expected elements of f32, bf16, f16, i1, i32 or i64}}
ml_program.global private @w(#ml_program.extern : tensor<4xi8>) : tensor<4xi8> {tp.key = "w"}
func.func @forward(%x: tensor<4xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "z"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{more than 2^48 elements}}
func.func @forward(%x: tensor<1000000000000x1000000000000xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "z"}) {
  %c = tp.constant dense<1.0> : tensor<4xf32>
  return %c : tensor<4xf32>
}

// -----

// expected-error @below {{tp.sharding must be a #tp.sharding, found 7}}
func.func @forward(%x: tensor<4xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "z", tp.sharding = 7}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{an argument or result cannot have tp.shardin; expected tp.name, tp.sharding}}
func.func @forward(%x: tensor<4xf32> {tp.name = "x", tp.shardin = 7}) -> (tensor<4xf32> {tp.name = "z"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{the module has this mesh, and mesh=tp:2 is another}}
tp.mesh @mesh <"tp"=4>
func.func @forward(%x: tensor<4xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "z"}) {
  %0 = tp.unary exp %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
