// SPDX-License-Identifier: Apache-2.0

#include "DualBound.h"

#include "BoundPruning.h"
#include "ProblemNetwork.h"

#include <algorithm>
#include <cmath>

namespace tenon::solver {

static constexpr int kPasses = 15;
static constexpr double kReach = 0.05;

/// A bound by shifting costs, and what it decodes.
static double shiftedBound(const ShardingProblem &problem,
                           const std::function<void(const std::vector<int32_t> &)> &show) {
  double best = kInfinity;
  const CostNetwork network = buildRelaxation(problem);
  return pruneByBound(network, kPasses, 1,
                      [&](const std::vector<int32_t> &choice) {
                        if (const double value = costOf(problem, choice); value < best) {
                          best = value;
                          show(choice);
                        }
                        return best;
                      })
      .bound;
}

double dualBound(const ShardingProblem &problem, const MemoryTimeline &timeline, bool exactly,
                 int rounds, const std::function<bool()> &done,
                 const std::function<double(const std::vector<int32_t> &)> &offer) {
  const bool limited = problem.memoryLimit != kNoLimit && timeline.points() > 0;
  ShardingProblem priced = problem;
  priced.uses.clear();
  priced.memoryLimit = kNoLimit;
  std::vector<double> multipliers(timeline.points(), 0.0), sums(timeline.points() + 1, 0.0);
  double best = -kInfinity, theta = 1;
  int since = 0;
  for (int round = 0; round < rounds && (round == 0 || !done()); ++round) {
    for (int32_t p = 0; p < timeline.points(); ++p)
      sums[p + 1] = sums[p] + multipliers[p];
    for (int32_t node = 0; node < static_cast<int32_t>(problem.nodes.size()); ++node) {
      std::vector<double> &costs = priced.nodes[node].costs;
      costs = problem.nodes[node].costs;
      for (const MemoryTimeline::Span &span : timeline.spans(node))
        if (const double multiplier = sums[span.end] - sums[span.begin]; multiplier > 0)
          for (size_t s = 0; s < costs.size(); ++s)
            costs[s] += multiplier * static_cast<double>(span.bytes[s]);
    }
    double value, upper = kInfinity;
    std::vector<int32_t> choice;
    if (exactly) {
      Solution relaxed = solveByElimination(priced);
      value = relaxed.bound;
      choice = std::move(relaxed.choice);
      upper = offer(choice);
    } else {
      value = shiftedBound(priced, [&](const std::vector<int32_t> &decoded) {
        choice = decoded;
        upper = offer(decoded);
      });
    }
    if (limited)
      value -= sums.back() * static_cast<double>(problem.memoryLimit);
    if (value > best + 1e-9 * std::abs(best)) {
      since = 0;
    } else if (++since == 3) {
      theta /= 2;
      since = 0;
    }
    best = std::max(best, value);
    if (!limited || theta < 1e-3 || !(best < upper) || !std::isfinite(value))
      break;
    // The excess at each point is a direction in which the bound grows.
    const std::vector<int64_t> changes = timeline.changes(choice);
    int64_t held = 0;
    double norm = 0;
    std::vector<double> direction(timeline.points());
    for (int32_t p = 0; p < timeline.points(); ++p) {
      held += changes[p];
      direction[p] = static_cast<double>(held - problem.memoryLimit);
      if (direction[p] < 0 && multipliers[p] == 0)
        direction[p] = 0;
      norm += direction[p] * direction[p];
    }
    if (norm == 0)
      break;
    // An objective that is far off would make the steps too long.
    const double target = std::min(upper, best + kReach * std::abs(best) + 1e-12);
    const double step = theta * std::max(target - value, 1e-6 * std::abs(target)) / norm;
    for (int32_t p = 0; p < timeline.points(); ++p)
      multipliers[p] = std::max(0.0, multipliers[p] + step * direction[p]);
  }
  return best;
}

} // namespace tenon::solver
