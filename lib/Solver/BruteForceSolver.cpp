// SPDX-License-Identifier: Apache-2.0

#include "tenon/Solver/ShardingProblem.h"

namespace tenon::solver {

Solution solveByBruteForce(const ShardingProblem &problem) {
  Solution best;
  std::vector<int32_t> choice(problem.nodes.size(), 0);
  for (;;) {
    if (double cost = evaluate(problem, choice); cost < best.objective) {
      best.objective = cost;
      best.choice = choice;
    }
    size_t i = choice.size();
    while (i > 0 && ++choice[i - 1] == static_cast<int32_t>(problem.nodes[i - 1].costs.size()))
      choice[--i] = 0;
    if (i == 0)
      break;
  }
  best.feasible = !best.choice.empty() || problem.nodes.empty();
  if (problem.nodes.empty())
    best.objective = 0;
  best.exact = true;
  best.bound = best.objective;
  return best;
}

} // namespace tenon::solver
