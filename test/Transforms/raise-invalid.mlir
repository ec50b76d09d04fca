// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --split-input-file --verify-diagnostics --tp-raise

module {
  // expected-error@+1 {{expected tp.key or tp.view on a global, found neither}}
  ml_program.global private @w(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
}

// -----

module {
  ml_program.global private @a(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"w", shape = [12], offset = 0, sizes = [8], strides = [1]>}
  ml_program.global private @b(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.view = #tp.view<"w", shape = [12], offset = 4, sizes = [8], strides = [1]>}
  func.func @overlapping_views() -> (tensor<8xf32>, tensor<8xf32>) {
    // expected-note@+1 {{the other view is used here}}
    %a = ml_program.global_load_const @a : tensor<8xf32>
    // expected-error@+1 {{two views of 'w' share some elements, but not all}}
    %b = ml_program.global_load_const @b : tensor<8xf32>
    return %a, %b : tensor<8xf32>, tensor<8xf32>
  }
}

// -----

module {
  ml_program.global private @a(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.key = "w"}
  // expected-error@+1 {{tensor 'w' is used as 'f32' and as 'bf16'}}
  ml_program.global private @b(#ml_program.extern : tensor<8xbf16>) : tensor<8xbf16> {tp.key = "w"}
  func.func @two_types() -> (tensor<8xf32>, tensor<8xbf16>) {
    %a = ml_program.global_load_const @a : tensor<8xf32>
    %b = ml_program.global_load_const @b : tensor<8xbf16>
    return %a, %b : tensor<8xf32>, tensor<8xbf16>
  }
}

// -----

// A pin on an op that raising replaces, moves or drops would not hold: it is refused.
module {
  func.func @pinned_sdpa(%x: tensor<4x4x8x16xf32>) -> tensor<4x4x8x16xf32> {
    // expected-error@+1 {{'tp.sdpa' is pinned, but tp-raise has given it another form}}
    %y = tp.sdpa %x, %x, %x scale = 0.5 causal = false {tp.strategy = #tp.strategy<"b" = {"tp"}>} : (tensor<4x4x8x16xf32>, tensor<4x4x8x16xf32>, tensor<4x4x8x16xf32>) -> tensor<4x4x8x16xf32>
    return %y : tensor<4x4x8x16xf32>
  }
}

// -----

module {
  func.func @pinned_slice(%x: tensor<8x16xf32>) -> tensor<1x16xf32> {
    // expected-error@+1 {{'tp.slice' is pinned, but tp-raise has given it another form}}
    %y = tp.slice %x [3, 0] [1, 16] [1, 1] {tp.sharding = #tp.sharding<[{}, {"tp"}]>} : tensor<8x16xf32> to tensor<1x16xf32>
    return %y : tensor<1x16xf32>
  }
}

// -----

module {
  func.func @pinned_reshape(%x: tensor<4x4xf32>) -> tensor<2x8xf32> {
    // expected-error@+1 {{'tp.reshape' is pinned, but tp-raise has given it another form}}
    %z = tp.reshape %x {tp.sharding = #tp.sharding<[{"tp"}]>} : tensor<4x4xf32> to tensor<16xf32>
    %y = tp.reshape %z : tensor<16xf32> to tensor<2x8xf32>
    return %y : tensor<2x8xf32>
  }
}

// -----

// What belongs to later phases.
module {
  func.func @epilogue(%x: tensor<3x8xf32>, %w: tensor<8x4xf32>) -> tensor<3x4xf32> {
    // expected-error@+1 {{bias, residual and activation belong to the phase optimized}}
    %y = tp.matmul "sk,kn->sn" %x, %w {activation = #tp<activation gelu>} : (tensor<3x8xf32>, tensor<8x4xf32>) -> tensor<3x4xf32>
    return %y : tensor<3x4xf32>
  }
}

// -----

module {
  func.func @rank_number(%x: tensor<4x4xf32>) -> tensor<1x4xf32> {
    // expected-error@+1 {{"base" depends on the rank and belongs to the phase local}}
    %y = tp.take %x dim = 0 index = 9 {base = #tp.rank<start 7 over {"tp"}>} : tensor<4x4xf32> to tensor<1x4xf32>
    return %y : tensor<1x4xf32>
  }
}

// -----

module {
  func.func @too_large(%x: tensor<1x1x1xf32>) {
    // expected-error@+1 {{more than 2^48 elements}}
    %z = tp.broadcast %x : tensor<1x1x1xf32> to tensor<4294967296x4294967296x4xf32>
    return
  }
}

// -----

// Views that repeat elements are compared element by element.
module {
  ml_program.global private @a(#ml_program.extern : tensor<3x4xf32>) : tensor<3x4xf32> {tp.view = #tp.view<"w", shape = [8], offset = 0, sizes = [3, 4], strides = [0, 1]>}
  ml_program.global private @b(#ml_program.extern : tensor<3x4xf32>) : tensor<3x4xf32> {tp.view = #tp.view<"w", shape = [8], offset = 2, sizes = [3, 4], strides = [0, 1]>}
  func.func @repeating_views() -> (tensor<3x4xf32>, tensor<3x4xf32>) {
    // expected-note@+1 {{the other view is used here}}
    %a = ml_program.global_load_const @a : tensor<3x4xf32>
    // expected-error@+1 {{two views of 'w' share some elements, but not all}}
    %b = ml_program.global_load_const @b : tensor<3x4xf32>
    return %a, %b : tensor<3x4xf32>, tensor<3x4xf32>
  }
}

// -----

module {
  func.func @number(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error@+1 {{tp.pin is made by tp-raise for itself; drop it}}
    %y = tp.unary exp %x {tp.pin = 7 : i64} : tensor<4xf32>
    return %y : tensor<4xf32>
  }
}
