// RUN: tp-opt %s -verify-diagnostics --tp-compile="to=sharded"

// A user's axis and a part of it are two names of one thing.
tp.mesh @mesh <"tp.0"=2, "tp.1"=2> of ["tp", "tp"]
// expected-error @below {{axis "tp.1" is named more than once}}
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x", tp.sharding = #tp.sharding<[{"tp"}, {"tp.1"}]>}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %y = tp.unary exp %x : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
