// SPDX-License-Identifier: Apache-2.0
// RUN: tp-opt %s --tp-compile="mesh=tp:2 memory=none to=sharded" | FileCheck %s --check-prefix=NONE
// RUN: tp-opt %s --tp-compile="mesh=tp:2 memory=80KB to=sharded" | FileCheck %s --check-prefix=TIGHT
// RUN: tp-opt %s --tp-compile="mesh=tp:2 memory=100KB to=sharded" | FileCheck %s --check-prefix=BETWEEN
// RUN: tp-opt %s --tp-compile="mesh=tp:2 memory=80KB" | FileCheck %s --check-prefix=PLAN
// RUN: not tp-opt %s --tp-compile="mesh=tp:2 memory=60KB" 2>&1 | FileCheck %s --check-prefix=LITTLE
// RUN: not tp-opt %s --tp-compile="mesh=tp:2 memory=1.5GB" 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not tp-opt %s --tp-compile="mesh=tp:2 memory=0" 2>&1 | FileCheck %s --check-prefix=ZERO

// Two weights of 65536 bytes. Cutting the first costs an all-gather, so it is whole as long as it may be: 98304 bytes of weights
// and some of activations. At 80 KB both are cut. 100 KB is too little for the first choice, and proven to be.
// NONE: tp.certificate = {{.*}}memory=none
// NONE: @w1{{.*}}tp.sharding<[{}, {}]>
// NONE: @w2{{.*}}tp.sharding<[{"tp"}, {}]>
// TIGHT: tp.certificate = {{.*}}\22gap\22: 0.000e+00{{.*}}memory=80KB
// TIGHT: @w1{{.*}}tp.sharding<[{"tp"}, {}]>
// TIGHT: @w2{{.*}}tp.sharding<[{}, {"tp"}]>
// BETWEEN: tp.certificate = {{.*}}\22gap\22: 0.000e+00{{.*}}memory=100KB
// BETWEEN: @w1{{.*}}tp.sharding<[{"tp"}, {}]>
// PLAN: plan.entry
// LITTLE: error: no assignment holds at most 60000 bytes per rank (memory=60KB); the least found is [[LEAST:[0-9]+]]
// LITTLE: note: w{{[12]}} holds 32768 of them
// TEXT: unknown memory '1.5GB'; expected shard, none, or bytes per rank such as 16GiB
// ZERO: unknown memory '0'
module {
  ml_program.global private @w1(#ml_program.extern : tensor<256x64xf32>) : tensor<256x64xf32> {tp.key = "w1"}
  ml_program.global private @w2(#ml_program.extern : tensor<64x256xf32>) : tensor<64x256xf32> {tp.key = "w2"}
  func.func @forward(%x: tensor<4x64xf32> {tp.name = "x"}) -> (tensor<4x64xf32> {tp.name = "y"}) {
    %w1 = ml_program.global_load_const @w1 : tensor<256x64xf32>
    %w2 = ml_program.global_load_const @w2 : tensor<64x256xf32>
    %0 = tp.matmul "mk,nk->mn" %x, %w1 : (tensor<4x64xf32>, tensor<256x64xf32>) -> tensor<4x256xf32>
    %1 = tp.unary relu %0 : tensor<4x256xf32>
    %2 = tp.matmul "mk,nk->mn" %1, %w2 : (tensor<4x256xf32>, tensor<64x256xf32>) -> tensor<4x64xf32>
    return %2 : tensor<4x64xf32>
  }
}
