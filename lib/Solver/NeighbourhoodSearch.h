// SPDX-License-Identifier: Apache-2.0
// NeighbourhoodSearch: improves a choice by releasing many nodes at once (large neighbourhood
// search, Shaw 1998) and solving for them exactly by elimination while the rest is held. Memory
// enters as multipliers on bytes at the points in time where a solution exceeds the limit, raised
// until it does not; where few combinations are left, all are tried. A result that is worse may be
// accepted (simulated annealing, Kirkpatrick 1983).
//
// It decides what to release and what to accept; it proves nothing.
#pragma once

#include "CostNetwork.h"
#include "MemoryTimeline.h"

#include <memory>
#include <random>

namespace tenon::solver {

class NeighbourhoodSearch {
public:
  /// Starts from `start`, one strategy per node, which may be infeasible. The problem must outlive
  /// the search.
  NeighbourhoodSearch(const ShardingProblem &problem, const MemoryTimeline &timeline,
                      const std::vector<int32_t> &start, uint32_t seed);

  /// One neighbourhood. `heat` from 1 to 0 is how much worse a result may be. Returns true when the
  /// best choice has improved.
  bool round(double heat, int64_t tableLimit);
  /// Goes on from another choice if it is feasible and better than the best one.
  void offer(const std::vector<int32_t> &choice);

  /// Objective of the best choice; infinity while none is feasible.
  double objective() const { return bestValue; }
  const std::vector<int32_t> &best() const { return bestChoice; }

private:
  struct Part; ///< What is released in a round.

  void use(const ShardingProblem &costs);
  void adopt(const std::vector<int32_t> &choice);
  std::vector<int32_t> pick();
  EliminationOrder fit(std::vector<int32_t> &free, int64_t tableLimit);
  bool solve(const Part &part, std::vector<int32_t> &values, std::vector<int64_t> &changes);
  bool tryAll(const Part &part, const CostNetwork &slices, const std::vector<int64_t> &held,
              std::vector<int32_t> &values, std::vector<int64_t> &changes) const;
  bool record();
  int32_t below(size_t count) { return static_cast<int32_t>(random() % count); }

  const ShardingProblem &problem;
  const MemoryTimeline &timeline;
  std::mt19937 random;

  /// While the choice breaks a prohibition, costs are those of a copy in which infinity is only
  /// large.
  std::unique_ptr<ShardingProblem> softened;
  CostNetwork network;
  std::vector<std::vector<int32_t>> touching, neighbours;
  std::vector<int32_t> movable; ///< Variables of several values.
  std::vector<int32_t> local;   ///< Number in the part, -1 for what is held.

  std::vector<int32_t> choice; ///< Per variable of the network.
  std::vector<int64_t> memory; ///< Differences between points.
  double cost = 0, excess = 0;
  double bestValue = kInfinity;
  std::vector<int32_t> bestChoice;
};

} // namespace tenon::solver
