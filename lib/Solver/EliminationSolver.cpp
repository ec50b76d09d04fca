// SPDX-License-Identifier: Apache-2.0
// Exact where the tables allow it, at once or after strategies are gone that no better choice can
// have. Otherwise a bound by mini-buckets, and a choice by local search in large neighbourhoods:
// nodes are fixed until the rest is narrow enough, the rest is solved exactly, and the fixed ones
// take turns.

#include "BoundPruning.h"
#include "CostNetwork.h"
#include "Dominance.h"
#include "LocalSearch.h"
#include "NeighbourhoodSearch.h"
#include "ProblemNetwork.h"

#include <algorithm>
#include <cmath>

namespace tenon::solver {

namespace {

constexpr int kRounds = 8;
constexpr int kPasses = 60;
/// Another round of pruning takes less time than tables beyond this.
constexpr int64_t kSmallTables = 1 << 18;
/// Tables of the search, where nothing is exact any more: a bucket of this size takes milliseconds.
constexpr int64_t kSearchTables = 1 << 14;
constexpr int kSearchRounds = 10;
/// Sums of the same costs in another order differ by less.
constexpr double kRounding = 1e-9;
/// Comparisons up to which dominated strategies are looked for: a second.
constexpr double kComparisons = 5e8;

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

bool solveExactly(const ShardingProblem &problem, int64_t tableLimit, Solution &solution) {
  CostNetwork network = buildNetwork(problem);
  const std::optional<EliminationOrder> order = network.orderWithin(tableLimit);
  if (!order)
    return false;
  solution.bound = network.eliminate(*order);
  solution.choice = network.choose();
  solution.choice.resize(problem.nodes.size());
  solution.exact = true;
  solution.method = "exact elimination";
  solution.largestTable = static_cast<int64_t>(order->largest);
  return true;
}

/// A part of a problem and the way back to the whole.
class Remainder {
public:
  explicit Remainder(const ShardingProblem &whole) : problem(whole) {
    for (const Node &node : whole.nodes) {
      std::vector<int32_t> &list = numbers.emplace_back(node.costs.size());
      for (size_t s = 0; s < list.size(); ++s)
        list[s] = static_cast<int32_t>(s);
    }
  }
  void restrictTo(const KeptStrategies &kept) {
    problem = restrictedTo(problem, kept);
    for (size_t i = 0; i < numbers.size(); ++i) {
      std::vector<int32_t> fewer;
      for (int32_t s : kept[i])
        fewer.push_back(numbers[i][s]);
      numbers[i] = std::move(fewer);
    }
  }
  std::vector<int32_t> expand(const std::vector<int32_t> &choice) const {
    std::vector<int32_t> result;
    for (size_t i = 0; i < numbers.size(); ++i)
      result.push_back(numbers[i][choice[i]]);
    return result;
  }

  /// The whole's choice here; a strategy that is gone becomes the first.
  std::vector<int32_t> reduce(const std::vector<int32_t> &choice) const {
    std::vector<int32_t> result;
    for (size_t i = 0; i < numbers.size(); ++i) {
      const auto at = std::find(numbers[i].begin(), numbers[i].end(), choice[i]);
      result.push_back(at == numbers[i].end() ? 0 : static_cast<int32_t>(at - numbers[i].begin()));
    }
    return result;
  }

  ShardingProblem problem;

private:
  std::vector<std::vector<int32_t>> numbers; ///< Of the whole, per node and strategy.
};

/// Comparisons that undominated() may need.
double comparisons(const ShardingProblem &problem) {
  auto size = [&](int32_t node) { return static_cast<double>(problem.nodes[node].costs.size()); };
  double sum = 0;
  for (const Edge &edge : problem.edges)
    sum += size(edge.first) * size(edge.second) * (size(edge.first) + size(edge.second));
  return sum;
}

/// Removes strategies until elimination fits: those that no choice better than the best known one
/// can have, and dominated ones. Groups are relaxed at first, less so from round to round. When
/// even the last round leaves too much, the rest goes to the search.
Solution solveByPruning(const ShardingProblem &problem, int64_t tableLimit) {
  Remainder rest(problem);
  rest.problem.uses.clear();
  rest.problem.memoryLimit = kNoLimit;
  Solution best; // In terms of the whole.
  best.method = "pruning by bound and exact elimination";
  auto keep = [&](const std::vector<int32_t> &choice) {
    const double value = costOf(rest.problem, choice);
    if (value < best.objective) {
      best.objective = value;
      best.choice = rest.expand(choice);
    }
  };
  bool last = false;
  for (int64_t groupLimit = kGroupTableLimit; !last;) {
    const Incidence incidence(rest.problem);
    const CostNetwork network = buildRelaxation(rest.problem, groupLimit);
    const Pruning pruning = pruneByBound(network, kPasses, 0.25, [&](std::vector<int32_t> choice) {
      if (costOf(rest.problem, choice) < best.objective || best.choice.empty()) {
        improve(rest.problem, incidence, choice);
        keep(choice);
      }
      return best.objective;
    });
    // What was removed costs at least as much as the best.
    best.bound = std::max(best.bound, pruning.bound);
    KeptStrategies kept(problem.nodes.size());
    for (size_t i = 0; i < kept.size(); ++i)
      for (size_t s = 0; s < pruning.may[i].size(); ++s)
        if (pruning.may[i][s] && std::isfinite(rest.problem.nodes[i].costs[s]))
          kept[i].push_back(static_cast<int32_t>(s));
    // A node that has nothing left: no choice is better than the best known, or there is none.
    if (std::any_of(kept.begin(), kept.end(), [](const auto &list) { return list.empty(); }) ||
        pruning.bound >= best.objective * (1 - kRounding)) {
      best.bound = best.objective;
      best.exact = true;
      return best;
    }
    rest.restrictTo(kept);
    if (comparisons(rest.problem) <= kComparisons)
      rest.restrictTo(undominated(rest.problem));
    // The lower the best known, the more can go.
    if (!best.choice.empty()) {
      const MemoryTimeline none(rest.problem);
      NeighbourhoodSearch search(rest.problem, none, rest.reduce(best.choice), 1);
      for (int round = 0; round < kSearchRounds; ++round)
        if (search.round(0, kSearchTables))
          keep(search.best());
    }
    // The same again while it helps much, else with tighter groups.
    int64_t values = pruning.removed;
    for (const std::vector<int32_t> &list : kept)
      values += static_cast<int64_t>(list.size());
    if (4 * pruning.removed <= values) {
      last = groupLimit == kGroupTableLimit << 4;
      groupLimit <<= 1;
    }
    Solution part;
    if (solveExactly(rest.problem, last ? tableLimit : std::min(tableLimit, kSmallTables), part)) {
      keep(part.choice);
      best.bound = std::min(part.bound, best.objective);
      best.exact = true;
      best.largestTable = part.largestTable;
      return best;
    }
  }
  Solution searched = solveInexactly(rest.problem, std::min<int64_t>(tableLimit, 1 << 19));
  keep(searched.choice);
  best.bound = std::max(best.bound, std::min(searched.bound, best.objective));
  best.method = "local search, bounds by cost shifting and mini-buckets";
  best.largestTable = searched.largestTable;
  return best;
}

} // namespace

Solution solveByElimination(const ShardingProblem &problem, int64_t tableLimit) {
  Solution solution;
  if (!solveExactly(problem, std::min(tableLimit, kSmallTables), solution))
    solution = solveByPruning(problem, tableLimit);
  if (solution.choice.empty()) // Nothing of finite cost was found.
    solution.choice.assign(problem.nodes.size(), 0);
  solution.objective = costOf(problem, solution.choice);
  solution.feasible = std::isfinite(solution.objective);
  solution.rawBound = solution.bound;
  // The same sum in another order: what is a rounding apart is equal, and a bound never exceeds its
  // objective.
  const double rounding = solution.exact ? kRounding : 1e-12;
  if (solution.feasible && solution.bound > solution.objective * (1 - rounding))
    solution.bound = solution.objective;
  // A bound that is met proves the choice best, however it was found; an infinite one, that there
  // is none.
  solution.exact |= solution.bound == solution.objective;
  return solution;
}

} // namespace tenon::solver
