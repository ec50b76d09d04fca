// SPDX-License-Identifier: Apache-2.0
#include "MemoryFrontier.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace tenon;

std::vector<FrontierPoint> tenon::memoryFrontier(solver::ShardingProblem problem,
                                                 const solver::SearchLimits &limits, int budgets) {
  std::vector<FrontierPoint> found;
  auto add = [&](const solver::Solution &solution, int64_t budget) {
    if (solution.feasible)
      found.push_back({budget, solver::peakMemory(problem, solution.choice), solution.objective,
                       solution.bound});
  };
  problem.memoryLimit = solver::kNoLimit;
  add(solver::solve(problem, limits), solver::kNoLimit);
  if (found.empty())
    return found;
  const auto most = static_cast<double>(found.front().peak);
  found.front().budget = found.front().peak;
  const auto least = static_cast<double>(solver::peakMemory(problem, solver::leastMemory(problem)));
  for (int i = 0; i + 1 < budgets && least < most; ++i) {
    problem.memoryLimit =
        static_cast<int64_t>(std::ceil(least * std::pow(most / least, i / (budgets - 1.0))));
    add(solver::solve(problem, limits), problem.memoryLimit);
  }
  llvm::sort(found, [](const FrontierPoint &a, const FrontierPoint &b) {
    return std::tie(a.peak, a.objective) < std::tie(b.peak, b.objective);
  });
  std::vector<FrontierPoint> kept;
  for (const FrontierPoint &point : found)
    if (kept.empty() || point.objective < kept.back().objective)
      kept.push_back(point);
  return kept;
}

void tenon::printFrontier(llvm::ArrayRef<FrontierPoint> points, llvm::raw_ostream &os) {
  os << llvm::formatv("{0,16} {1,16} {2,12} {3,12} {4,8}\n", "bytes per rank", "within", "step us",
                      "bound us", "gap");
  for (const FrontierPoint &point : points)
    os << llvm::formatv(
        "{0,16} {1,16} {2,12:f2} {3,12:f2} {4,7:f2}%\n", point.peak, point.budget,
        point.objective * 1e6, point.bound * 1e6,
        point.objective > 0 ? 100 * (point.objective - point.bound) / point.objective : 0.0);
}
