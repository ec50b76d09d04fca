// SPDX-License-Identifier: Apache-2.0

#include "ShardingReport.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

static std::string layerOf(Operation *op) {
  std::string name;
  op->getLoc()->walk([&](Location loc) {
    if (auto named = dyn_cast<NameLoc>(loc)) {
      name = named.getName().str();
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return name;
}

static std::string spell(const Variable &variable, int choice, const sharding::Mesh &mesh) {
  if (variable.kind != Variable::Kind::Op)
    return sharding::toString(variable.shardings[choice], mesh);
  std::string text = sharding::toString(variable.table->strategies[variable.allowed[choice]],
                                        variable.table->rule, mesh);
  return text.empty() ? "replicated" : text;
}

void tenon::explain(const BuiltProblem &built, const solver::Solution &solution,
                    const sharding::Mesh &mesh, bool table) {
  MLIRContext *context =
      built.variables.empty() ? nullptr : built.variables.front().op->getContext();
  if (!context)
    return;
  // Runner-ups cost more than the solution: they are computed only for who reads them. There may be
  // a remark engine that drops all.
  remark::detail::InFlightRemark summary =
      remark::passed(built.variables.front().op->getLoc(),
                     remark::RemarkOpts::name("Assignment").category("tp-assign-shardings"));
  bool remarks = static_cast<bool>(summary);
  if (remarks)
    summary << llvm::formatv("chose among the strategies of {0} ops, weights and results",
                             built.variables.size())
                   .str();
  if (!table && !remarks)
    return;
  std::vector<solver::RunnerUp> runners = solver::runnerUps(built.problem, solution);
  if (table)
    llvm::errs() << llvm::formatv("{0,-44} {1,-15} {2,-34} {3}\n", "layer", "op", "strategy",
                                  "runner-up (+us)");
  for (auto [index, variable] : llvm::enumerate(built.variables)) {
    const solver::RunnerUp &runner = runners[index];
    std::string chosen = spell(variable, solution.choice[index], mesh);
    std::string why = runner.strategy < 0
                          ? "no alternative"
                          : llvm::formatv("{0} +{1:f2}", spell(variable, runner.strategy, mesh),
                                          runner.increase * 1e6)
                                .str();
    std::string what = variable.kind == Variable::Kind::Op
                           ? variable.op->getName().stripDialect().str()
                       : variable.kind == Variable::Kind::Weight ? "weight"
                                                                 : "result";
    std::string layer = layerOf(variable.op);
    if (auto global = dyn_cast<ml_program::GlobalOp>(variable.op)) {
      layer = global.getSymName().str();
      const WeightRequirement &requirement = built.weights.lookup(variable.op);
      if (requirement.free)
        why += "; small: free to stay replicated";
      else if (requirement.kvProjection && requirement.relaxed)
        why += "; KV heads: held by groups of ranks";
      else if (requirement.relaxed) {
        why += "; no legal strategy uses every axis";
        remark::missed(
            variable.op->getLoc(),
            remark::RemarkOpts::name("WeightNotFullySharded").category("tp-assign-shardings"))
            << llvm::formatv("weight {0} keeps {1}: no legal strategy uses every axis", layer,
                             chosen)
                   .str();
      }
    }
    remark::passed(variable.op->getLoc(),
                   remark::RemarkOpts::name("Strategy").category("tp-assign-shardings"))
        << llvm::formatv("{0} {1}: {2}; runner-up: {3}", what, layer, chosen, why).str();
    bool shown =
        variable.kind != Variable::Kind::Op || isa<MatMulOp, AttentionOp, EmbeddingOp>(variable.op);
    if (table && shown)
      llvm::errs() << llvm::formatv("{0,-44} {1,-15} {2,-34} {3}\n", layer, what, chosen, why);
  }
}
