// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded" | FileCheck %s --check-prefix=MLP
// RUN: tp-opt %examples/attention.mlir --tp-compile="mesh=tp:4 to=sharded" | FileCheck %s --check-prefix=HEADS
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded" --tp-report -o /dev/null 2>&1 | FileCheck %s --check-prefix=REPORT
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded" --remarks-filter=".*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARKS
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded" -o %t.1 && tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded" -o %t.2 && diff %t.1 %t.2
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded" | FileCheck %s --check-prefix=PIN
// RUN: tp-opt %s --tp-compile="mesh=tp:1 to=collective" | FileCheck %s --check-prefix=ONE

// As in Megatron, columns, then rows, and the bias of the second as a partial value, so that one all-reduce serves both.
// MLP: tp.certificate = "{{.*}}gap{{.*}}0.000e+00
// MLP: tp.mesh @mesh <"tp"=2>
// MLP: @up.weight{{.*}}tp.sharding = #tp.sharding<[{"tp"}, {}]>
// MLP: @down.weight{{.*}}tp.sharding = #tp.sharding<[{}, {"tp"}]>
// MLP: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// MLP: tp.unary gelu{{.*}}tp.strategy = #tp.strategy<"d2" = {"tp"}>
// MLP: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>

// The attention is cut by KV heads from the projections to the output projection.
// HEADS-COUNT-3: tp.matmul {{.*}}tp.strategy = #tp.strategy<"g" = {"tp"}>
// HEADS: tp.attention {{.*}}tp.strategy = #tp.strategy<"g" = {"tp"}>
// HEADS: tp.matmul {{.*}}tp.strategy = #tp.strategy<"g" = {"tp"}>

// REPORT: certificate: {{.*}}"method": "exact elimination"
// REPORT: layer op strategy runner-up
// REPORT: up matmul n=[tp] k=[tp] +
// REPORT: down.weight weight {{\[}}{}, {"tp"}]

// REMARKS: [Analysis] Certificate | Category:tp-assign-shardings
// REMARKS: [Passed] Strategy | Category:tp-assign-shardings {{.*}}matmul{{.*}}runner-up

// A pin on an op and one on a weight; the rest of the graph follows.
// PIN: @w{{.*}}tp.sharding = #tp.sharding<[{}, {"tp"}]>
// PIN: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// PIN: tp.unary {{.*}}tp.strategy = #tp.strategy<"d1" = {"tp"}>

// On one rank nothing is cut and nothing is sent.
// ONE-NOT: {"tp"}
// ONE-NOT: tp.all_reduce
ml_program.global private @w(#ml_program.extern : tensor<8x16xf32>) : tensor<8x16xf32> {tp.key = "w", tp.sharding = #tp.sharding<[{}, {"tp"}]>}
func.func @forward(%x: tensor<4x16xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}]>}) {
  %w = ml_program.global_load_const @w : tensor<8x16xf32>
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  %1 = tp.unary exp %0 {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}
