// SPDX-License-Identifier: Apache-2.0
// MergedProblem: an equal problem with fewer nodes. Strategies that some edge forbids with every
// strategy of the other node go (arc consistency, Mackworth 1977). A node for which each strategy
// of a neighbour leaves exactly one is merged into that neighbour: its costs, edges and memory
// become the neighbour's. Nodes of groups stay, but others may be merged into them.
//
// Example: an elementwise op that must be sharded as its operand is, with a relayout forbidden,
// disappears into its producer.
#pragma once

#include "tenon/Solver/ShardingProblem.h"

#include <map>
#include <vector>

namespace tenon::solver {

class MergedProblem {
public:
  explicit MergedProblem(const ShardingProblem &original);

  /// False when some node has no strategy left: the original has no choice of finite cost.
  bool feasible() const { return !empty; }
  const ShardingProblem &problem() const { return merged; }
  /// The original's choice for one of the merged problem.
  std::vector<int32_t> expand(const std::vector<int32_t> &choice) const;

private:
  /// A node of the original inside a node that is left: its strategy per strategy of that node.
  struct Inside {
    int32_t node;
    std::vector<int32_t> strategy;
  };
  struct Joined {
    std::vector<double> costs; ///< Infinity: forbidden.
    std::vector<Inside> inside;
    std::vector<MemoryUse> uses;      ///< Their `node` is not kept up to date.
    std::map<int32_t, int32_t> edges; ///< Edge by other node.
    bool grouped = false, alive = true;
  };

  int64_t size(int32_t node) const { return static_cast<int64_t>(nodes[node].costs.size()); }
  double cost(int32_t edge, int32_t node, int64_t own, int64_t other) const;
  void addEdge(int32_t a, int32_t b, const std::vector<double> &costs);
  bool restrict(int32_t node);
  void makeConsistent(std::vector<int32_t> queue);
  bool determines(int32_t edge, int32_t by, int32_t node, std::vector<int32_t> &strategy) const;
  void mergeInto(int32_t target, int32_t node, const std::vector<int32_t> &strategy);
  void mergeAll();
  void write(const ShardingProblem &original);

  std::vector<Joined> nodes;
  std::vector<Edge> edges;
  /// Per original node: old strategies that are left, for the groups' tables.
  ShardingProblem merged;
  std::vector<std::vector<Inside>> insideOf; ///< Per node of `merged`.
  size_t originalNodes = 0;
  bool empty = false;
};

} // namespace tenon::solver
