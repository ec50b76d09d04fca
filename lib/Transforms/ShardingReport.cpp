// SPDX-License-Identifier: Apache-2.0

#include "ShardingReport.h"

#include "NamedPins.h"
#include "OpPrice.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

static std::string spell(const Variable &variable, int choice, const sharding::Mesh &mesh) {
  if (variable.kind != Variable::Kind::Op)
    return sharding::toString(variable.shardings[choice], mesh);
  std::string text = sharding::toString(variable.table->strategies[variable.allowed[choice]],
                                        variable.table->rule, mesh);
  return text.empty() ? "replicated" : text;
}

/// What an op does with its weight, or with its rows, in the words of the field.
static std::string roleOf(const Variable &variable, const sharding::Strategy &strategy) {
  auto matmul = dyn_cast<MatMulOp>(variable.op);
  const sharding::Rule &rule = variable.table->rule;
  bool column = false, row = false, rows = false, cut = !strategy.partial.empty();
  for (const sharding::AxisList &axes : strategy.factorAxes)
    cut |= !axes.empty();
  if (!cut)
    return "replicated";
  if (isa<EmbeddingOp>(variable.op)) {
    for (auto [factor, axes] : llvm::zip_equal(rule.factors, strategy.factorAxes))
      if (!axes.empty() && factor.name == "v")
        return "vocabulary-parallel";
    return "";
  }
  if (!matmul)
    return "";
  FailureOr<Einsum> einsum = parseEinsum(matmul.getEinsum());
  if (failed(einsum))
    return "";
  auto isLoad = [](Value value) {
    return isa_and_nonnull<ml_program::GlobalLoadConstOp>(value.getDefiningOp());
  };
  if (!isLoad(matmul.getLhs()) && !isLoad(matmul.getRhs()))
    return "";
  const std::string &weight = isLoad(matmul.getRhs()) ? einsum->rhs : einsum->lhs;
  for (auto [factor, axes] : llvm::zip_equal(rule.factors, strategy.factorAxes)) {
    if (axes.empty())
      continue;
    const bool own = weight.find(factor.name) != std::string::npos;
    const bool kept = einsum->result.find(factor.name) != std::string::npos;
    (own ? (kept ? column : row) : rows) = true;
  }
  std::string role = column ? "column-parallel" : "";
  if (row)
    role += role.empty() ? "row-parallel" : " and row-parallel";
  if (rows)
    role += role.empty() ? "by rows of the input" : " and by rows of the input";
  return role;
}

static std::string nameOf(const Variable &variable) {
  if (auto global = dyn_cast<ml_program::GlobalOp>(variable.op))
    return global.getSymName().str();
  if (variable.kind == Variable::Kind::Result)
    if (auto name = variable.op->getParentOfType<func::FuncOp>().getResultAttrOfType<StringAttr>(
            variable.resultNumber, kNameAttr))
      return name.str();
  return layerOf(variable.op);
}

static StringRef whatOf(const Variable &variable) {
  return variable.kind == Variable::Kind::Op       ? variable.op->getName().stripDialect()
         : variable.kind == Variable::Kind::Weight ? StringRef("weight")
                                                   : StringRef("result");
}

/// Why a weight does not use every axis, or "".
static std::string noteOf(const BuiltProblem &built, const Variable &variable) {
  if (variable.kind != Variable::Kind::Weight)
    return "";
  const WeightRequirement &requirement = built.weights.lookup(variable.op);
  return requirement.free                                  ? "small: free to stay replicated"
         : requirement.kvProjection && requirement.relaxed ? "KV heads: held by groups of ranks"
         : requirement.relaxed                             ? "no legal strategy uses every axis"
                                                           : "";
}

std::string tenon::choicesJson(const BuiltProblem &built, const solver::Solution &solution,
                               const std::vector<solver::RunnerUp> &runners,
                               const sharding::Mesh &mesh) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::json::OStream json(os);
  json.array([&] {
    for (auto [index, variable] : llvm::enumerate(built.variables)) {
      const int32_t choice = solution.choice[index];
      if (variable.kind == Variable::Kind::Op && isFree(variable.op))
        continue;
      json.object([&] {
        if (auto entry = variable.op->getParentOfType<func::FuncOp>())
          json.attribute("entry", entry.getName());
        json.attribute("layer", nameOf(variable));
        json.attribute("what", whatOf(variable));
        json.attribute("choice", spell(variable, choice, mesh));
        if (variable.kind == Variable::Kind::Op)
          if (std::string role =
                  roleOf(variable, variable.table->strategies[variable.allowed[choice]]);
              !role.empty())
            json.attribute("role", role);
        // Of one step, however often the entry runs.
        json.attribute("us", variable.kind == Variable::Kind::Op
                                 ? variable.table->seconds[variable.allowed[choice]] * 1e6
                                 : 0.0);
        if (runners[index].strategy >= 0) {
          json.attribute("runner_up", spell(variable, runners[index].strategy, mesh));
          json.attribute("plus_us", runners[index].increase * 1e6);
        }
        if (std::string note = noteOf(built, variable); !note.empty())
          json.attribute("note", note);
      });
    }
  });
  return text;
}

void tenon::explain(const BuiltProblem &built, const solver::Solution &solution,
                    const std::vector<solver::RunnerUp> &runners, const sharding::Mesh &mesh,
                    bool table) {
  MLIRContext *context =
      built.variables.empty() ? nullptr : built.variables.front().op->getContext();
  if (!context)
    return;
  // There may be a remark engine that drops all.
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
    const std::string what = whatOf(variable).str(), layer = nameOf(variable);
    if (std::string note = noteOf(built, variable); !note.empty())
      why += "; " + note;
    if (variable.kind == Variable::Kind::Weight) {
      const WeightRequirement &requirement = built.weights.lookup(variable.op);
      if (requirement.relaxed && !requirement.free && !requirement.kvProjection)
        remark::missed(
            variable.op->getLoc(),
            remark::RemarkOpts::name("WeightNotFullySharded").category("tp-assign-shardings"))
            << llvm::formatv("weight {0} keeps {1}: no legal strategy uses every axis", layer,
                             chosen)
                   .str();
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
