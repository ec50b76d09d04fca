// SPDX-License-Identifier: Apache-2.0
// The way of the data as one pipeline: graph, sharded, resharded, collective, local, optimized,
// plan.
#pragma once

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace tenon {

/// Options of --tp-compile; those of assignment are the pass's own.
struct CompileOptions : mlir::PassPipelineOptions<CompileOptions> {
  Option<std::string> mesh{*this, "mesh",
                           llvm::cl::desc("Axes and sizes, major to minor: tp:4 or node:2,tp:4"),
                           llvm::cl::init("")};
  Option<std::string> to{
      *this, "to",
      llvm::cl::desc("Last phase: graph, sharded, resharded, collective, local, optimized or plan"),
      llvm::cl::init("plan")};
  Option<std::string> dumpDir{*this, "dump-dir",
                              llvm::cl::desc("Directory that gets the module after each phase")};
  Option<std::string> machine{*this, "machine",
                              llvm::cl::desc("Machine model: a shipped name or a JSON file"),
                              llvm::cl::init("cpu")};
  Option<std::string> memory{*this, "memory",
                             llvm::cl::desc("shard: every weight uses every axis; none: no "
                                            "demand; 16GiB: at most so much per rank"),
                             llvm::cl::init("shard")};
  Option<std::string> pins{
      *this, "pins",
      llvm::cl::desc("JSON file of layer patterns and styles (colwise, rowwise, "
                     "sequence_parallel, replicate)"),
      llvm::cl::init("")};
  Option<std::string> strategy{*this, "strategy",
                               llvm::cl::desc("For comparison: megatron (Megatron-LM's plan) or "
                                              "hf (the plan in the model's own config)"),
                               llvm::cl::init("")};
  ListOption<std::string> replicateOver{
      *this, "replicate-over", llvm::cl::desc("Axes that weights may stay replicated over")};
  Option<std::string> dumpProblem{*this, "dump-problem",
                                  llvm::cl::desc("File that gets the solver's problem, as JSON")};
  Option<std::string> calls{
      *this, "calls",
      llvm::cl::desc("How often each entry runs: forward_s128:1,forward_s1:128; default: all "
                     "as often"),
      llvm::cl::init("")};
  Option<double> solveSeconds{
      *this, "solve-seconds",
      llvm::cl::desc("Time limit of the search, where the problem is too wide to be solved "
                     "exactly or has a memory limit"),
      llvm::cl::init(60)};
  Option<bool> pareto{*this, "pareto", llvm::cl::desc("Print time against memory to stderr"),
                      llvm::cl::init(false)};
  Option<bool> report{*this, "report", llvm::cl::desc("Print the table of choices to stderr"),
                      llvm::cl::init(false)};
};

/// Adds the passes up to the phase `to`, each phase with its verifier. Fails, after
/// a line on stderr, when `to` names no phase or an option of the assignment is malformed.
mlir::LogicalResult buildCompilePipeline(mlir::OpPassManager &manager,
                                         const CompileOptions &options);

/// Registers --tp-compile and every pass.
void registerTenonPasses();

} // namespace tenon
