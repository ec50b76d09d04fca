// RUN: tp-opt %s -split-input-file -verify-diagnostics --tp-compile="mesh=tp:2 to=sharded"
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp" -o /dev/null 2>&1 | FileCheck %s --check-prefix=MESH
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:0" -o /dev/null 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2,tp:2" -o /dev/null 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=nowhere" -o /dev/null 2>&1 | FileCheck %s --check-prefix=PHASE
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 machine=abacus" -o /dev/null 2>&1 | FileCheck %s --check-prefix=MACHINE
// RUN: not tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 memory=half" -o /dev/null 2>&1 | FileCheck %s --check-prefix=MEMORY
// RUN: %exits 3 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:8192 to=sharded" -o /dev/null 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: %exits 3 tp-opt %examples/mlp.mlir --tp-compile="mesh=node:2,tp:8192 memory=none to=sharded" -o /dev/null 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:1024 to=sharded" -o /dev/null
// LARGE: error: the mesh axis tp of 8192 ranks cuts nothing: no op has a dimension of so many elements that may be cut
// MESH: mesh
// SIZE: mesh
// TWICE: mesh
// PHASE: unknown phase 'nowhere'; the phases are graph, sharded, resharded, collective, local, optimized, plan
// MACHINE: abacus
// MEMORY: half

// A pinned strategy that the op's rule does not allow: rows of a softmax stay whole.
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  // expected-error @below {{d1}}
  %0 = tp.softmax %x dim = 1 {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// A factor that does not exist.
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  // expected-error @below {{q}}
  %0 = tp.unary exp %x {tp.strategy = #tp.strategy<"q" = {"tp"}>} : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// An axis that does not exist.
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  // expected-error @below {{dp}}
  %0 = tp.unary exp %x {tp.strategy = #tp.strategy<"d0" = {"dp"}>} : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// An op without a rule is refused, never replicated silently.
func.func @forward(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  // expected-error @below {{has no sharding rule}}
  %0 = tp.reshard %x from <[{"tp"}, {}]> to <[{}, {}]> : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// Booleans have no sum, so a dimension that is looked up in them stays whole.
func.func @forward(%x: tensor<5x2xi1> {tp.name = "x"}) -> (tensor<1x2xi1> {tp.name = "y"}) {
  // expected-error @below {{factor 'd0' is never sharded}}
  %y = tp.take %x dim = 0 index = 4 {tp.strategy = #tp.strategy<"d0" = {"tp"}>} : tensor<5x2xi1> to tensor<1x2xi1>
  return %y : tensor<1x2xi1>
}
