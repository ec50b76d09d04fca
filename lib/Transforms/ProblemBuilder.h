// SPDX-License-Identifier: Apache-2.0
// ProblemBuilder: from a graph to a ShardingProblem and back. Gathers, for a whole module, every
// op's legal strategies, every weight's candidate shardings, and prices what lies between them.
// Decides nothing: the solver does.
//
// Variables: one per weight (global), one per op with a rule, one per entry result. Values with one
// user are edges, values with several are groups, in which each distinct demanded sharding is paid
// once. Ops with equal kind, attributes and types share one table of strategies, so a model of 96
// equal layers is priced once.
#pragma once

#include "NamedPins.h"
#include "tenon/Cost/CostModel.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"
#include "tenon/Sharding/Reshard.h"
#include "tenon/Solver/ShardingProblem.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

#include <map>
#include <memory>

namespace tenon {

/// Strategies of one kind of op on these types, with what follows from each.
struct StrategyTable {
  sharding::Rule rule;
  std::vector<sharding::Strategy> strategies;
  std::vector<double> seconds; ///< Cost of the op itself, per strategy.
  std::vector<double> unfused; ///< Added when its producer is sharded otherwise.
  std::vector<std::vector<sharding::Sharding>> operands; ///< [strategy][operand]
  std::vector<std::vector<sharding::Sharding>> results;  ///< [strategy][result]
};

/// How much of the mesh a weight must use.
struct WeightRequirement {
  bool free = false;         ///< Among the smallest 2 %: may stay replicated.
  bool kvProjection = false; ///< Needs only the axes that the KV heads can take.
  bool relaxed = false;      ///< No legal candidate uses every axis: the most-sharded ones stay.
};

/// Prices reshards, with a memo over (element type, shape, from, to).
class ReshardPrices {
public:
  ReshardPrices(const sharding::Mesh &mesh, const cost::CostModel &model)
      : mesh(mesh), model(model) {}
  /// Seconds, infinity when there is no path.
  double seconds(mlir::RankedTensorType type, const sharding::Sharding &from,
                 const sharding::Sharding &to);
  /// The path itself.
  std::optional<sharding::ReshardPath>
  path(mlir::RankedTensorType type, const sharding::Sharding &from, const sharding::Sharding &to);

private:
  const sharding::Mesh &mesh;
  const cost::CostModel &model;
  sharding::ReshardGraph &graphOf(mlir::RankedTensorType type);
  llvm::DenseMap<mlir::Type, std::unique_ptr<sharding::ReshardGraph>> graphs;
};

/// One variable of the problem and what it stands for.
struct Variable {
  enum class Kind { Op, Weight, Result } kind = Kind::Op;
  mlir::Operation *op = nullptr;             ///< Op, or the global of a weight, or the return op.
  unsigned resultNumber = 0;                 ///< For Result.
  std::shared_ptr<StrategyTable> table;      ///< For Op.
  std::vector<int> allowed;                  ///< For Op: indices into the table that pins leave.
  std::vector<sharding::Sharding> shardings; ///< For Weight and Result.
};

struct BuiltProblem {
  solver::ShardingProblem problem;
  std::vector<Variable> variables;
  llvm::DenseMap<mlir::Operation *, int> variableOf; ///< Ops and globals.
  llvm::MapVector<mlir::Operation *, WeightRequirement> weights;
};

struct BuildOptions {
  /// memory=shard: every weight uses every axis, small ones excepted. Otherwise weights are free.
  bool shardWeights = true;
  /// Axes (indices) that weights may stay replicated over.
  sharding::AxisList replicateOver;
  /// Pins by name; the first pattern that names an op and says something about it counts.
  std::vector<NamedPin> pins;
  /// Ops that no pattern pins follow this plan, as far as it can be followed.
  enum class Baseline : uint8_t { None, Megatron, HuggingFace } baseline = Baseline::None;
  /// How often each entry runs; empty: all as often.
  std::map<std::string, double> calls;
  /// Bytes per rank; kNoLimit: memory is not looked at.
  int64_t memoryLimit = solver::kNoLimit;
};

/// Builds the problem. Fails after emitting an error: an op without a rule, a pin that contradicts,
/// too many strategies.
mlir::FailureOr<BuiltProblem> buildProblem(mlir::ModuleOp module, const sharding::Mesh &mesh,
                                           const cost::CostModel &model, ReshardPrices &prices,
                                           const BuildOptions &options);

/// The global that a load reads, or null.
mlir::ml_program::GlobalOp globalOf(mlir::Value value, mlir::SymbolTable &symbols);

} // namespace tenon
