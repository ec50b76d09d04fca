// SPDX-License-Identifier: Apache-2.0
// Exact where the tables allow it, at once or after dominated strategies are gone. Otherwise a
// bound by mini-buckets, and a choice by local search in large neighbourhoods: nodes are fixed
// until the rest is narrow enough, the rest is solved exactly, and the fixed ones take turns.

#include "CostNetwork.h"
#include "Dominance.h"
#include "LocalSearch.h"
#include "ProblemNetwork.h"

#include <algorithm>
#include <cmath>

namespace tenon::solver {

namespace {

constexpr int kRounds = 8;

/// Where in an order the joint table is largest: the variable and its neighbours.
std::vector<int32_t> widest(const CostNetwork &network, const EliminationOrder &order) {
  double largest = -1;
  std::vector<int32_t> result;
  for (size_t at = 0; at < order.variables.size(); ++at) {
    const auto begin = order.neighbours.begin() + (at == 0 ? 0 : order.neighboursEnd[at - 1]);
    const auto end = order.neighbours.begin() + order.neighboursEnd[at];
    double size = std::log2(network.size(order.variables[at]));
    for (auto it = begin; it != end; ++it)
      size += std::log2(network.size(*it));
    if (size > largest) {
      largest = size;
      result.assign(begin, end);
      result.push_back(order.variables[at]);
    }
  }
  return result;
}

/// Solves the problem with some nodes held at their present choice, more of them until it fits the
/// limit. Returns false when nothing can be held that makes it fit.
bool resolveAround(const ShardingProblem &problem, std::vector<char> &held, int64_t limit,
                   std::vector<int32_t> &choice) {
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  for (;;) {
    KeptStrategies kept(nodes);
    for (int32_t i = 0; i < nodes; ++i)
      for (int32_t s = 0; s < static_cast<int32_t>(problem.nodes[i].costs.size()); ++s)
        if (!held[i] || s == choice[i])
          kept[i].push_back(s);
    const ShardingProblem rest = restrictedTo(problem, kept);
    CostNetwork network = buildNetwork(rest);
    const EliminationOrder order = network.order();
    if (order.largest <= static_cast<double>(limit)) {
      network.eliminate(order);
      const std::vector<int32_t> best = network.choose();
      for (int32_t i = 0; i < nodes; ++i)
        choice[i] = kept[i][best[i]];
      return true;
    }
    int32_t largest = -1;
    for (int32_t v : widest(network, order))
      if (v < nodes && network.size(v) > 1 &&
          (largest < 0 || network.size(v) > network.size(largest)))
        largest = v;
    if (largest < 0)
      return false;
    held[largest] = true;
  }
}

Solution solveInexactly(const ShardingProblem &problem, int64_t limit) {
  CostNetwork network = buildNetwork(problem);
  Solution solution;
  solution.largestTable = limit;
  std::vector<char> split;
  solution.bound = network.eliminateWithin(network.order(), limit, split);
  std::vector<int32_t> choice = network.choose();
  choice.resize(problem.nodes.size());
  const Incidence incidence(problem);
  improve(problem, incidence, choice);
  double best = costOf(problem, choice);
  solution.choice = choice;
  for (int round = 0; round < kRounds; ++round) {
    // Hold other nodes in every round: first those whose buckets were split, then what comes up.
    std::vector<char> held(problem.nodes.size(), 0);
    if (round % 2 == 0)
      std::copy_n(split.begin(), held.size(), held.begin());
    if (!resolveAround(problem, held, limit, choice))
      break;
    improve(problem, incidence, choice);
    const double value = costOf(problem, choice);
    if (value < best) {
      best = value;
      solution.choice = choice;
    } else if (round % 2 == 1) {
      break;
    }
  }
  return solution;
}

} // namespace

Solution solveByElimination(const ShardingProblem &problem, int64_t tableLimit) {
  auto solveExactly = [&](const ShardingProblem &part, Solution &solution) {
    CostNetwork network = buildNetwork(part);
    const EliminationOrder order = network.order();
    if (order.largest > static_cast<double>(tableLimit))
      return false;
    solution.bound = network.eliminate(order);
    solution.choice = network.choose();
    solution.choice.resize(part.nodes.size());
    solution.exact = true;
    solution.largestTable = static_cast<int64_t>(order.largest);
    return true;
  };

  Solution solution;
  if (!solveExactly(problem, solution)) {
    const KeptStrategies kept = undominated(problem);
    const ShardingProblem smaller = restrictedTo(problem, kept);
    if (!solveExactly(smaller, solution))
      solution = solveInexactly(smaller, tableLimit);
    for (size_t i = 0; i < kept.size(); ++i)
      solution.choice[i] = kept[i][solution.choice[i]];
  }
  solution.objective = costOf(problem, solution.choice);
  solution.feasible = std::isfinite(solution.objective);
  solution.rawBound = solution.bound;
  // The same sum in another order: what is a rounding apart is equal, and a bound never exceeds its
  // objective.
  const double rounding = solution.exact ? 1e-9 : 1e-12;
  if (solution.feasible && solution.bound > solution.objective * (1 - rounding))
    solution.bound = solution.objective;
  // A bound that is met proves the choice best, however it was found; an infinite one, that there
  // is none.
  solution.exact |= solution.bound == solution.objective;
  return solution;
}

} // namespace tenon::solver
