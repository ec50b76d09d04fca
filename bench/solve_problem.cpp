// SPDX-License-Identifier: Apache-2.0
// Times solve() on a problem file (tp-assign-shardings{dump-problem=FILE}): minimum and median of
// many runs.
//   solve_problem FILE.json [RUNS]

#include "tenon/Solver/ShardingProblem.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace tenon::solver;

int main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: solve_problem FILE.json [RUNS]\n");
    return 2;
  }
  std::ifstream file(argv[1]);
  std::stringstream text;
  text << file.rdbuf();
  ShardingProblem problem;
  std::string error;
  if (!file || !fromJson(text.str(), problem, error)) {
    std::fprintf(stderr, "solve_problem: %s: %s\n", argv[1], file ? error.c_str() : "cannot read");
    return 3;
  }
  const int runs = argc > 2 ? std::max(1, int(std::strtol(argv[2], nullptr, 10))) : 50;
  std::vector<double> milliseconds;
  Solution solution;
  for (int i = 0; i < runs; ++i) {
    auto start = std::chrono::steady_clock::now();
    solution = solveByElimination(problem);
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("{\"nodes\": %zu, \"edges\": %zu, \"groups\": %zu, \"objective_s\": %.9g, "
              "\"bound_s\": %.9g, \"exact\": %s, "
              "\"largest_table\": %lld, \"ms_min\": %.3f, \"ms_median\": %.3f}\n",
              problem.nodes.size(), problem.edges.size(), problem.groups.size(), solution.objective,
              solution.bound, solution.exact ? "true" : "false",
              static_cast<long long>(solution.largestTable), milliseconds.front(),
              milliseconds[milliseconds.size() / 2]);
  return 0;
}
