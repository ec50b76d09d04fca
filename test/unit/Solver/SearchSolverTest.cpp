// SPDX-License-Identifier: Apache-2.0
// The anytime engine and its parts against brute force.

#include "MemoryTimeline.h"
#include "MergedProblem.h"
#include "RandomProblems.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tenon::solver;
using namespace tenon::solver::test;

namespace {

RandomOptions optionsOf(int k) {
  RandomOptions options;
  options.shape = static_cast<Shape>(k % 3);
  options.nodes = 2 + k % 6;
  options.strategies = 1 + k / 3 % 4;
  options.groups = k / 7 % 3;
  options.forbidden = (k / 11 % 4) * 0.2;
  options.integers = k / 13 % 2 == 0;
  options.uses = 2 * options.nodes;
  return options;
}

/// A limit between what the leanest and the fullest choice of strategies hold.
int64_t limitOf(const ShardingProblem &problem, double share) {
  std::vector<int32_t> lean, full;
  for (size_t node = 0; node < problem.nodes.size(); ++node) {
    std::vector<int64_t> held(problem.nodes[node].costs.size(), 0);
    for (const MemoryUse &use : problem.uses)
      if (use.node == static_cast<int32_t>(node))
        for (size_t s = 0; s < held.size(); ++s)
          held[s] += use.bytes[s] * (use.end - use.begin);
    lean.push_back(static_cast<int32_t>(std::min_element(held.begin(), held.end()) - held.begin()));
    full.push_back(static_cast<int32_t>(std::max_element(held.begin(), held.end()) - held.begin()));
  }
  const auto least = static_cast<double>(peakMemory(problem, lean));
  return static_cast<int64_t>(least +
                              share * (static_cast<double>(peakMemory(problem, full)) - least));
}

bool near(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * (1 + std::abs(b)); }

} // namespace

TEST(ShardingProblem, PeakMemoryByHand) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 0}}, {"b", {0}}};
  // [0,2): 5 or 1, [1,3): 7, [2,2): never.
  problem.uses = {{0, 0, 2, {5, 1}}, {1, 1, 3, {7}}, {1, 2, 2, {100}}};
  EXPECT_EQ(peakMemory(problem, {0, 0}), 12);
  EXPECT_EQ(peakMemory(problem, {1, 0}), 8);
  problem.memoryLimit = 8;
  EXPECT_EQ(evaluate(problem, {0, 0}), kInfinity);
  EXPECT_EQ(evaluate(problem, {1, 0}), 0);
  EXPECT_EQ(costOf(problem, {0, 0}), 0);
}

TEST(ShardingProblem, MalformedMemoryIsRefused) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 0}}};
  for (const MemoryUse &use :
       {MemoryUse{1, 0, 1, {1, 1}}, MemoryUse{0, 0, 1, {1}}, MemoryUse{0, 2, 1, {1, 1}},
        MemoryUse{0, -1, 1, {1, 1}}, MemoryUse{0, 0, 1, {1, -1}}}) {
    problem.uses = {use};
    EXPECT_NE(check(problem), "");
  }
  problem.uses = {};
  problem.memoryLimit = -1;
  EXPECT_NE(check(problem), "");
}

TEST(MemoryTimeline, PointsByHand) {
  ShardingProblem problem;
  for (auto [begin, end] : {std::pair(0, 4), {1, 3}, {2, 5}, {6, 7}}) {
    problem.nodes.push_back({"", {0}});
    problem.uses.push_back({static_cast<int32_t>(problem.nodes.size()) - 1, begin, end, {1}});
  }
  EXPECT_EQ(MemoryTimeline(problem).points(), 2);
}

TEST(MemoryTimeline, PeakIsThatOfTheDefinition) {
  std::mt19937 random(11);
  for (int k = 0; k < 2000; ++k) {
    const ShardingProblem problem = randomProblem(optionsOf(k), random);
    const MemoryTimeline timeline(problem);
    std::vector<int32_t> choice;
    for (const Node &node : problem.nodes)
      choice.push_back(static_cast<int32_t>(random() % node.costs.size()));
    const MemoryTimeline::Excess excess = timeline.excess(timeline.changes(choice), 0);
    ASSERT_EQ(excess.most, peakMemory(problem, choice)) << k;
  }
}

TEST(MemoryTimeline, OnlyWhatNeverFitsIsForbidden) {
  std::mt19937 random(37);
  int forbidden = 0;
  for (int k = 0; k < 2000; ++k) {
    ShardingProblem problem = randomProblem(optionsOf(k), random);
    problem.memoryLimit = limitOf(problem, 0.2);
    ShardingProblem fitting = problem;
    forbidWhatNeverFits(fitting);
    for (size_t i = 0; i < problem.nodes.size(); ++i)
      for (size_t s = 0; s < problem.nodes[i].costs.size(); ++s)
        forbidden += fitting.nodes[i].costs[s] != problem.nodes[i].costs[s];
    const Solution before = solveByBruteForce(problem), after = solveByBruteForce(fitting);
    EXPECT_EQ(before.feasible, after.feasible) << k;
    EXPECT_EQ(before.objective, after.objective) << k;
  }
  EXPECT_GT(forbidden, 500);
}

TEST(MergedProblem, OptimumAndItsChoiceStay) {
  std::mt19937 random(5);
  int smaller = 0;
  for (int k = 0; k < 3000; ++k) {
    RandomOptions options = optionsOf(k);
    options.forbidden = 0.5;
    ShardingProblem problem = randomProblem(options, random);
    if (k % 2)
      problem.memoryLimit = limitOf(problem, 0.4);
    const Solution whole = solveByBruteForce(problem);
    const MergedProblem merged(problem);
    if (!merged.feasible()) {
      EXPECT_FALSE(std::isfinite(costOf(problem, whole.choice))) << k;
      continue;
    }
    EXPECT_EQ(check(merged.problem()), "") << k;
    const Solution part = solveByBruteForce(merged.problem());
    ASSERT_EQ(part.feasible, whole.feasible) << k;
    if (!whole.feasible)
      continue;
    const std::vector<int32_t> choice = merged.expand(part.choice);
    EXPECT_TRUE(near(part.objective, whole.objective)) << k;
    EXPECT_TRUE(near(evaluate(problem, choice), whole.objective)) << k;
    EXPECT_EQ(peakMemory(problem, choice), peakMemory(merged.problem(), part.choice)) << k;
    smaller += merged.problem().nodes.size() < problem.nodes.size();
  }
  EXPECT_GT(smaller, 300);
}

TEST(SearchSolver, BoundsAndReachesTheOptimum) {
  std::mt19937 random(7);
  SearchLimits limits;
  limits.rounds = 60;
  int feasible = 0, optimal = 0, found = 0;
  for (int k = 0; k < 1500; ++k) {
    ShardingProblem problem = randomProblem(optionsOf(k), random);
    if (k % 4)
      problem.memoryLimit = limitOf(problem, 0.2 * (k % 4));
    const Solution twin = solveByBruteForce(problem);
    const Solution solution = solve(problem, limits);
    if (!twin.feasible) {
      EXPECT_FALSE(solution.feasible) << k;
      continue;
    }
    ++feasible;
    EXPECT_LE(solution.bound, twin.objective * (1 + 1e-9) + 1e-12) << k;
    if (!solution.feasible)
      continue;
    ++found;
    EXPECT_EQ(evaluate(problem, solution.choice), solution.objective) << k;
    EXPECT_GE(solution.objective, twin.objective - 1e-9 * (1 + twin.objective)) << k;
    const bool best = near(solution.objective, twin.objective);
    EXPECT_TRUE(best || !solution.exact) << k;
    optimal += best;
  }
  EXPECT_GT(feasible, 600);
  EXPECT_EQ(found, feasible);
  EXPECT_GE(optimal, feasible * 99 / 100) << optimal << " of " << feasible;
}

TEST(SearchSolver, TheSameInputGivesTheSameChoice) {
  std::mt19937 random(17);
  RandomOptions options;
  options.nodes = 60;
  options.strategies = 5;
  options.groups = 3;
  options.uses = 100;
  SearchLimits limits;
  limits.rounds = 40;
  for (int k = 0; k < 5; ++k) {
    ShardingProblem problem = randomProblem(options, random);
    problem.memoryLimit = limitOf(problem, 0.3);
    EXPECT_EQ(solveBySearch(problem, limits).choice, solveBySearch(problem, limits).choice);
  }
}

TEST(SearchSolver, EndsInTime) {
  std::mt19937 random(19);
  RandomOptions options;
  options.nodes = 300;
  options.strategies = 12;
  options.uses = 300;
  ShardingProblem problem = randomProblem(options, random);
  problem.memoryLimit = limitOf(problem, 0.2);
  SearchLimits limits;
  limits.rounds = std::numeric_limits<int64_t>::max();
  limits.seconds = 0.5;
  std::vector<double> objectives;
  limits.onBetter = [&](double objective, double) { objectives.push_back(objective); };
  const Solution solution = solveBySearch(problem, limits);
  ASSERT_TRUE(solution.feasible);
  ASSERT_FALSE(objectives.empty());
  EXPECT_TRUE(std::is_sorted(objectives.rbegin(), objectives.rend()));
  EXPECT_TRUE(near(objectives.back(), solution.objective));
}

TEST(ContestJson, ReadsTheFormat) {
  const std::string text = R"({"problem": {"name": "x",
    "nodes": {"intervals": [[0, 3], [2, 2]], "costs": [[1, 1000000000000000000], [4, 5]], "usages": [[7, 8], [1, 2]]},
    "edges": {"nodes": [[1, 0], [0, 0]], "costs": [[10, 11, 20, 21], [5, 0, 0, 6]]}, "usage_limit": 9}})";
  ShardingProblem problem;
  std::string error;
  ASSERT_TRUE(fromContestJson(text, problem, error)) << error;
  ASSERT_EQ(problem.nodes.size(), 2u);
  EXPECT_EQ(problem.nodes[0].costs, (std::vector<double>{6, kInfinity}));
  ASSERT_EQ(problem.edges.size(), 1u);
  EXPECT_EQ(problem.edges[0].first, 0);
  EXPECT_EQ(problem.edges[0].costs, (std::vector<double>{10, 20, 11, 21}));
  ASSERT_EQ(problem.uses.size(), 1u);
  EXPECT_EQ(problem.uses[0].bytes, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(problem.memoryLimit, 9);
  EXPECT_EQ(evaluate(problem, {0, 1}), 6 + 5 + 20);
}

TEST(ContestJson, MalformedTextIsRefused) {
  for (
      const char *text : {
          "",
          "{}",
          "[1]",
          R"({"nodes": []})",
          R"({"nodes": {"intervals": [], "costs": [[1]], "usages": [[1]]}, "edges": {"nodes": [], "costs": []}})",
          R"({"nodes": {"intervals": [[0]], "costs": [[1]], "usages": [[1]]}, "edges": {"nodes": [], "costs": []}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [[1]], "usages": [[1, 2]]}, "edges": {"nodes": [], "costs": []}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [["x"]], "usages": [[1]]}, "edges": {"nodes": [], "costs": []}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [[1]], "usages": [[-1]]}, "edges": {"nodes": [], "costs": []}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [[1]], "usages": [[1]]}, "edges": {"nodes": [[0, 1]], "costs": [[1]]}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [[1]], "usages": [[1]]}, "edges": {"nodes": [[0, 0]], "costs": []}})",
          R"({"nodes": {"intervals": [[0, 1]], "costs": [[1]], "usages": [[1]]}, "edges": {"nodes": [], "costs": []}, "usage_limit": 1.5})",
      }) {
    ShardingProblem problem;
    std::string error;
    EXPECT_FALSE(fromContestJson(text, problem, error)) << text;
    EXPECT_NE(error, "");
  }
}
