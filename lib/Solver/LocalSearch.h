// SPDX-License-Identifier: Apache-2.0
// Terms of a problem that touch a node, and iterated improvement of a choice one node at a time.
#pragma once

#include "tenon/Solver/ShardingProblem.h"

#include <utility>

namespace tenon::solver {

/// Edges and groups per node.
struct Incidence {
  explicit Incidence(const ShardingProblem &problem);
  std::vector<std::vector<int32_t>> edges, groups;

  /// Other nodes of the edges and groups of a node, sorted.
  std::vector<int32_t> neighbours(const ShardingProblem &problem, int32_t node) const;
};

/// A sum in which forbidden terms are counted instead of added, so that less forbidden is better.
struct Score {
  int64_t forbidden = 0;
  double sum = 0;
  void add(double cost) {
    if (cost == kInfinity)
      ++forbidden;
    else
      sum += cost;
  }
  /// Better by more than rounding.
  bool operator<(const Score &other) const {
    return forbidden != other.forbidden ? forbidden < other.forbidden
                                        : sum < other.sum * (1 - 1e-12) - 1e-300;
  }
};

/// One node after the other takes its best value until none improves (iterated conditional modes).
/// Deterministic; each round costs one evaluation per strategy.
void improve(const ShardingProblem &problem, const Incidence &incidence,
             std::vector<int32_t> &choice);

} // namespace tenon::solver
