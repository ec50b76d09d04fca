// SPDX-License-Identifier: Apache-2.0
// The least memory: what a search starts from, and what an error names.

#include "LeastMemory.h"

#include <cmath>

namespace tenon::solver {

static constexpr int kLeastRounds = 12;

std::vector<int32_t> leanest(const ShardingProblem &problem, const MemoryTimeline &timeline) {
  std::vector<int32_t> choice(problem.nodes.size(), 0);
  for (int32_t node = 0; node < static_cast<int32_t>(choice.size()); ++node) {
    const std::vector<double> &costs = problem.nodes[node].costs;
    std::pair<double, double> least{kInfinity, kInfinity};
    for (int32_t s = 0; s < static_cast<int32_t>(costs.size()); ++s) {
      double held = 0;
      for (const MemoryTimeline::Span &span : timeline.spans(node))
        held += static_cast<double>(span.bytes[s]) * (span.end - span.begin);
      if (std::pair now{held, costs[s]}; std::isfinite(costs[s]) && now < least) {
        least = now;
        choice[node] = s;
      }
    }
  }
  return choice;
}

std::vector<int32_t> leastMemory(const ShardingProblem &problem) {
  const MemoryTimeline timeline(problem);
  std::vector<int32_t> best = leanest(problem, timeline);
  if (std::isfinite(costOf(problem, best)))
    return best;
  // Prices on the bytes at the points that were highest so far.
  ShardingProblem priced = problem;
  priced.memoryLimit = kNoLimit;
  auto forbid = [](std::vector<double> &costs) {
    for (double &cost : costs)
      cost = std::isfinite(cost) ? 0 : kInfinity;
  };
  for (Edge &edge : priced.edges)
    forbid(edge.costs);
  for (Group &group : priced.groups)
    forbid(group.price);
  std::vector<double> prices(timeline.points(), 1.0);
  best.clear();
  int64_t least = kNoLimit;
  for (int round = 0; round < kLeastRounds; ++round) {
    for (int32_t node = 0; node < static_cast<int32_t>(problem.nodes.size()); ++node) {
      std::vector<double> &costs = priced.nodes[node].costs;
      costs = problem.nodes[node].costs;
      forbid(costs);
      for (const MemoryTimeline::Span &span : timeline.spans(node)) {
        double price = 0;
        for (int32_t p = span.begin; p < span.end; ++p)
          price += prices[p];
        for (size_t s = 0; s < costs.size(); ++s)
          costs[s] += price * static_cast<double>(span.bytes[s]);
      }
    }
    const Solution solution = solveByElimination(priced);
    if (!solution.feasible)
      break;
    if (const int64_t peak = peakMemory(problem, solution.choice); peak < least) {
      least = peak;
      best = solution.choice;
    }
    const MemoryTimeline::Excess excess = timeline.excess(timeline.changes(solution.choice), 0);
    if (excess.worst < 0)
      break;
    prices[excess.worst] += static_cast<double>(timeline.points());
  }
  return best.empty() ? leanest(problem, timeline) : best;
}

} // namespace tenon::solver
