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
