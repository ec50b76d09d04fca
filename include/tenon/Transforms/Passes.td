// SPDX-License-Identifier: Apache-2.0
// The passes that take a graph from the imported form to one rank's program. One pass, one phase.
#ifndef TENON_TRANSFORMS_PASSES_TD
#define TENON_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

class TenonPass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::tenon::tp::TPDialect", "::mlir::func::FuncDialect", "::mlir::ml_program::MLProgramDialect"];
}

def RaisePass : TenonPass<"tp-raise"> {
  let summary = "Turn decomposed forms into single ops, weights into views, and bring head dimensions into matmuls";
  let description = [{
    Takes the imported form (rank and order as PyTorch has them) to the phase `graph`. The steps, in order:

    1. no-ops go; neighbouring reshapes and transposes are joined; transposes of weights go into the einsum;
    2. x * rsqrt(mean(x^2) + eps) [* weight] becomes `tp.rms_norm`, the tanh form of GELU `gelu_tanh`, x * sigmoid(x) `silu`;
    3. x * cos + rotate_half(x) * sin becomes `tp.rope` where the tables are marked `tp.equal_halves`; partial rotation too;
    4. `tp.sdpa` becomes `tp.attention`: queries come as [b,s,g,r,d], keys and values as [b,t,g,d] straight from the
       projections, whose weights and biases become views ([g,r,d,k] of a Linear, [k,g,r,d] of GPT-2's Conv1D);
    5. joined heads are contracted in their parts ("abcde,ncde->abn"), what follows a matmul split or cut comes out of it
       so: fused QKV and gate/up become one matmul per part, over disjoint views of one stored tensor;
    6. slices of one position become `tp.take`.

    Then every set of elements is one global (tied weights too), in the finer of the groupings that its uses ask for. What matches
    no step stays as it is. Parts of a weight that would share elements stay slices at run time; two such views in the
    input are an error. The pass never reads data, keeps what is computed (a fused op rounds to a narrow type once, where its
    parts did several times), and changes nothing when it is run again.
  }];
}

def VerifyGraphPass : TenonPass<"tp-verify-graph"> {
  let summary = "Check the phase graph: known ops, static shapes, one global per distinct view";
}

def AssignShardingsPass : TenonPass<"tp-assign-shardings"> {
  let summary = "Choose one strategy per op and one sharding per weight, optimal under the cost model";
  let description = [{
    Builds a ShardingProblem over the whole module and solves it exactly (Solver/). Writes `tp.strategy` on every op and `tp.sharding` on
    every global, entry argument and result; adds the `tp.mesh`. A `tp.sharding` or `tp.strategy` that stands in the input is a
    pin and is kept; one that contradicts the graph is an error at its place.
  }];
  let options = [
    Option<"mesh", "mesh", "std::string", "\"\"", "Axes and sizes, major to minor: tp:4 or node:2,tp:4; not needed where the module has a tp.mesh">,
    Option<"machine", "machine", "std::string", "\"cpu\"", "Machine model: a shipped name or a JSON file">,
    Option<"memory", "memory", "std::string", "\"shard\"", "shard: every weight uses every axis, small ones excepted; none: no demand; bytes per rank such as 16GiB: the best plan within them">,
    Option<"pins", "pins", "std::string", "\"\"", "JSON file of layer patterns and styles: {\"layers.*.mlp.down_proj\": \"rowwise\"}">,
    Option<"strategy", "strategy", "std::string", "\"\"", "For comparison: megatron (every matmul, lookup and norm as Megatron-LM does) or hf (the plan in the model's own config)">,
    ListOption<"replicateOver", "replicate-over", "std::string", "Axes that weights may stay replicated over">,
    Option<"dumpProblem", "dump-problem", "std::string", "\"\"", "File that gets the problem as JSON, for bug reports and solver tests">,
    Option<"calls", "calls", "std::string", "\"\"", "How often each entry runs: forward_s128:1,forward_s1:128; default: all as often">,
    Option<"solveSeconds", "solve-seconds", "double", "60", "Time limit of the search, where the problem is too wide to be solved exactly or has a memory limit">,
    Option<"report", "report", "bool", "false", "Print the table of choices to stderr">,
    Option<"pareto", "pareto", "bool", "false", "Print time against memory to stderr">,
  ];
}

def InsertReshardsPass : TenonPass<"tp-insert-reshards"> {
  let summary = "Insert tp.reshard where a value's sharding differs from what its user demands";
}

def LowerReshardsPass : TenonPass<"tp-lower-reshards"> {
  let summary = "Replace each tp.reshard by the cheapest list of collectives and local slices";
  let options = [
    Option<"machine", "machine", "std::string", "\"cpu\"", "Machine model: a shipped name or a JSON file">,
  ];
}

def VerifyShardingPass : TenonPass<"tp-verify-sharding"> {
  let summary = "Check that every operand has the sharding that its user's strategy demands, and that no partial value escapes";
}

def LocalizePass : TenonPass<"tp-localize"> {
  let summary = "Build one rank's program: local types, block offsets, masked padding";
}

def VerifyLocalPass : TenonPass<"tp-verify-local"> {
  let summary = "Check the phase local: no strategies left, shardings only on globals and entries";
}

def MergeMatmulsPass : TenonPass<"tp-merge-matmuls"> {
  let summary = "Merge matmuls of one input into one matmul over a weight in parts";
}

def FusePass : TenonPass<"tp-fuse"> {
  let summary = "Fuse elementwise ops into matmul epilogues and expressions";
}

#endif
