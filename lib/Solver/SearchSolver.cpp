// SPDX-License-Identifier: Apache-2.0
// The anytime engine: merge, bound and search on what is left. The relaxation comes first, because
// its solutions are good starts where it is exact; the search has the rest of the time.

#include "DualBound.h"
#include "LeastMemory.h"
#include "MergedProblem.h"
#include "NeighbourhoodSearch.h"
#include "ProblemNetwork.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace tenon::solver {

namespace {

constexpr int kDualRounds = 120;
/// Choices up to which all are tried.
constexpr double kTryAll = 2e4;
/// A search that has not improved for so many rounds, and for twice as many as it took to get
/// there, begins anew.
constexpr int64_t kPatience = 300;
/// Beyond so many, pruning a wide problem takes longer than it helps.
constexpr size_t kManyNodes = 5000;
/// Share of the time for the bound.
constexpr double kDualShare = 0.1;

} // namespace

Solution solveBySearch(const ShardingProblem &original, const SearchLimits &limits) {
  const auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Solution solution;
  solution.largestTable = limits.tableLimit;
  solution.method = "search in large neighbourhoods, Lagrangian bound";
  const MergedProblem merged(original);
  if (!merged.feasible()) {
    solution.bound = solution.rawBound = kInfinity;
    solution.exact = true;
    return solution;
  }
  const ShardingProblem &problem = merged.problem();
  double combinations = 1;
  for (const Node &node : problem.nodes)
    combinations *= static_cast<double>(node.costs.size());
  if (combinations <= kTryAll) {
    solution = solveByBruteForce(problem);
    solution.method = "every choice tried";
    if (solution.feasible) {
      solution.choice = merged.expand(solution.choice);
      solution.bound = solution.objective = evaluate(original, solution.choice);
    }
    solution.rawBound = solution.bound;
    return solution;
  }
  const MemoryTimeline timeline(problem);
  const std::vector<int32_t> begin = leanest(problem, timeline);
  double best = kInfinity;
  auto search = std::make_unique<NeighbourhoodSearch>(problem, timeline, begin, limits.seed);
  auto keep = [&] {
    if (!(search->objective() < best))
      return;
    best = search->objective();
    solution.choice = search->best();
    if (limits.onBetter)
      limits.onBetter(best, elapsed());
  };
  keep();

  const double dualSeconds = kDualShare * limits.seconds;
  const double dual = dualBound(
      problem, timeline, limits.exactRelaxations, kDualRounds,
      [&] { return elapsed() > dualSeconds; },
      [&](const std::vector<int32_t> &choice) {
        search->offer(choice);
        keep();
        return best;
      });
  int64_t improved = 0, leg = 0;
  for (int64_t round = 0; round < limits.rounds; ++round) {
    const double used = std::max(static_cast<double>(round) / static_cast<double>(limits.rounds),
                                 elapsed() / limits.seconds);
    if (used >= 1 || best <= dual * (1 + 1e-12))
      break;
    if (search->round(1 - used, limits.tableLimit)) {
      keep();
      improved = round;
    } else if (round - improved > kPatience + 2 * (improved - leg)) {
      search = std::make_unique<NeighbourhoodSearch>(problem, timeline, begin,
                                                     limits.seed + static_cast<uint32_t>(round));
      leg = improved = round;
    }
  }

  solution.bound = solution.rawBound = dual;
  if (std::isfinite(best)) {
    solution.choice = merged.expand(solution.choice);
    solution.objective = evaluate(original, solution.choice);
    solution.feasible = std::isfinite(solution.objective);
  }
  // Sums of the same terms in other orders: a rounding apart is equal.
  if (solution.feasible && solution.bound > solution.objective * (1 - 1e-9))
    solution.bound = solution.objective;
  solution.exact = solution.bound == solution.objective;
  return solution;
}

Solution solve(const ShardingProblem &original, const SearchLimits &limits, int64_t tableLimit) {
  const bool limited = original.memoryLimit != kNoLimit;
  ShardingProblem fitting;
  if (limited) {
    fitting = original;
    forbidWhatNeverFits(fitting);
  }
  const ShardingProblem &problem = limited ? fitting : original;
  if (limited && problem.nodes.size() > kManyNodes &&
      !buildNetwork(problem).orderWithin(tableLimit))
    return solveBySearch(problem, limits);
  // A solution without the limit that happens to keep it is the best with it.
  Solution free = solveByElimination(problem, tableLimit);
  if (limited && free.feasible && peakMemory(problem, free.choice) > problem.memoryLimit) {
    free.feasible = false;
    free.objective = kInfinity;
  }
  if (free.exact && (free.feasible || free.bound == kInfinity))
    return free;
  SearchLimits own = limits;
  own.exactRelaxations = free.exact;
  Solution searched = solveBySearch(problem, own);
  searched.bound = std::max(searched.bound, free.bound);
  searched.rawBound = std::max(searched.rawBound, free.rawBound);
  if (free.feasible && free.objective < searched.objective) {
    free.bound = searched.bound;
    free.rawBound = searched.rawBound;
    return free;
  }
  return searched;
}

} // namespace tenon::solver
