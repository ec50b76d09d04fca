// Plans by name: a file of patterns with the words of Hugging Face's plans, Megatron-LM's plan, and the plan of the
// model's own config. The rest of the graph follows, and the certificate says what the solver would gain.
// RUN: split-file %s %t
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded pins=%t/swapped.json memory=none" | FileCheck %s --check-prefix=SWAPPED
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded pins=%t/replicated.json memory=none" | FileCheck %s --check-prefix=WHOLE
// RUN: tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 to=sharded strategy=megatron" | FileCheck %s --check-prefix=MEGATRON
// RUN: tp-opt %t/layers.mlir --tp-compile="mesh=tp:2 to=sharded strategy=hf memory=none" | FileCheck %s --check-prefix=HF
// RUN: tp-opt %t/layers.mlir --tp-compile="mesh=tp:2 to=sharded pins=%t/star.json memory=none" | FileCheck %s --check-prefix=STAR

// SWAPPED: free_objective_s
// SWAPPED-SAME: weights_bytes
// SWAPPED: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// SWAPPED: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>

// WHOLE: \22pinned_by\22: \22pins\22
// WHOLE: tp.matmul {{.*}}tp.strategy = #tp.strategy<>
// WHOLE: tp.matmul {{.*}}tp.strategy = #tp.strategy<>

// MEGATRON: \22pinned_by\22: \22megatron\22
// MEGATRON: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// MEGATRON: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>

// A star stays between dots, a suffix names a layer, and the plan of the config may speak of what is not there.
// HF: \22pinned_by\22: \22hf\22
// HF: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// HF: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// HF: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// HF: tp.rms_norm {{.*}}tp.strategy = #tp.strategy<>

// STAR: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// STAR: tp.matmul {{.*}}tp.strategy = #tp.strategy<"n" = {"tp"}>
// STAR: tp.matmul {{.*}}tp.strategy = #tp.strategy<"k" = {"tp"}>
// STAR: tp.rms_norm {{.*}}tp.strategy = #tp.strategy<"d1" = {"tp"}>

// What is wrong is said with the file or the op that it is about, exit code 2 for the command line, 3 for the input.
// RUN: %exits 2 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 strategy=alpa" -o /dev/null 2>&1 | FileCheck %s --check-prefix=STRATEGY
// RUN: %exits 2 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/none.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: %exits 2 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/broken.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=BROKEN
// RUN: %exits 2 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/list.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: %exits 2 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/word.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: %exits 3 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/unmatched.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=UNMATCHED
// RUN: %exits 3 tp-opt %t/layers.mlir --tp-compile="mesh=tp:2 pins=%t/contradiction.json" -o /dev/null 2>&1 | FileCheck %s --check-prefix=AGAINST
// RUN: %exits 3 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 pins=%t/replicated.json memory=1B" -o /dev/null 2>&1 | FileCheck %s --check-prefix=DEMAND
// RUN: %exits 3 tp-opt %examples/mlp.mlir --tp-compile="mesh=tp:2 strategy=hf" -o /dev/null 2>&1 | FileCheck %s --check-prefix=NOPLAN
// STRATEGY: unknown strategy 'alpa'; expected megatron or hf
// NONE: cannot read the pins '{{.*}}none.json': No such file
// BROKEN: broken.json: [1:8, byte=8]: Invalid JSON value
// LIST: list.json: expected an object of patterns and styles
// WORD: word.json: 'up': expected colwise, rowwise, sequence_parallel or replicate, found diagonal
// UNMATCHED: error: pins: the pattern 'layers.*.up' names no matmul with a weight, no lookup and no norm
// AGAINST: error: loc("layers.0.first"): 'tp.matmul' op cannot follow the pin 'first'
// DEMAND: memory
// NOPLAN: strategy=hf needs the plan of the model's config, tp.layer_plan on the module

//--- swapped.json
{"up": "rowwise", "down": "colwise"}
//--- replicated.json
{"up": "replicate", "down": "replicate"}
//--- broken.json
{"up": rowwise}
//--- list.json
["up"]
//--- word.json
{"up": "diagonal"}
//--- unmatched.json
{"layers.*.up": "colwise", "down": "rowwise"}
//--- contradiction.json
{"first": "rowwise"}
//--- star.json
{"layers.*.second": "colwise", "head": "rowwise", "0.norm": "sequence_parallel"}
//--- layers.mlir
module attributes {tp.layer_plan = {"layers.*.absent" = "colwise", "layers.*.norm" = "replicated_with_grad_allreduce",
                                    "layers.*.second" = "rowwise", "*.first" = "colwise", "head" = "colwise_gather_output"}} {
  ml_program.global private @a(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32> {tp.key = "a"}
  ml_program.global private @s(#ml_program.extern : tensor<8xf32>) : tensor<8xf32> {tp.key = "s"}
  func.func @forward(%x: tensor<4x6x8xf32> {tp.name = "x"}) -> (tensor<4x6x8xf32> {tp.name = "y"}) {
    %a = ml_program.global_load_const @a : tensor<8x8xf32>
    %s = ml_program.global_load_const @s : tensor<8xf32>
    %0 = tp.matmul "bsk,nk->bsn" %x, %a {tp.strategy = #tp.strategy<"n" = {"tp"}>} : (tensor<4x6x8xf32>, tensor<8x8xf32>) -> tensor<4x6x8xf32> loc("layers.0.first")
    %1 = tp.matmul "bsk,nk->bsn" %0, %a : (tensor<4x6x8xf32>, tensor<8x8xf32>) -> tensor<4x6x8xf32> loc("layers.0.second")
    %2 = tp.matmul "bsk,nk->bsn" %1, %a : (tensor<4x6x8xf32>, tensor<8x8xf32>) -> tensor<4x6x8xf32> loc("head")
    %3 = tp.rms_norm %2 scale %s eps = 1.0e-05 : (tensor<4x6x8xf32>, tensor<8xf32>) -> tensor<4x6x8xf32> loc("layers.0.norm")
    return %3 : tensor<4x6x8xf32>
  }
}
