// SPDX-License-Identifier: Apache-2.0
#include "BoundPruning.h"
#include "ProblemNetwork.h"
#include "RandomProblems.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tenon::solver;
using namespace tenon::solver::test;

namespace {

RandomOptions optionsOf(int k) {
  RandomOptions options;
  options.shape = static_cast<Shape>(k % 3);
  options.nodes = 2 + k % 5;
  options.strategies = 1 + k / 3 % 4;
  options.groups = k / 7 % 3;
  options.forbidden = (k / 11 % 4) * 0.15;
  options.integers = k / 13 % 2 == 0;
  return options;
}

/// Calls `visit` with every choice.
template <typename Visit> void forEachChoice(const ShardingProblem &problem, Visit visit) {
  std::vector<int32_t> choice(problem.nodes.size(), 0);
  for (;;) {
    visit(choice);
    size_t i = 0;
    for (; i < choice.size(); ++i) {
      if (++choice[i] < static_cast<int32_t>(problem.nodes[i].costs.size()))
        break;
      choice[i] = 0;
    }
    if (i == choice.size())
      return;
  }
}

} // namespace

TEST(BoundPruning, ByHand) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 5}}, {"b", {0, 0}}};
  problem.edges = {{0, 1, {0, 9, 9, 0}}};
  const CostNetwork network = buildNetwork(problem);
  const Pruning pruning = pruneByBound(network, 10, 1, [](const auto &) { return 4.0; });
  EXPECT_EQ(pruning.may[0], (std::vector<char>{1, 0}));
  EXPECT_EQ(pruning.may[1], (std::vector<char>{1, 0}));
  EXPECT_EQ(pruning.bound, 0);
  EXPECT_EQ(pruning.removed, 2);
}

// Nothing below the known objective is lost, and the bound holds: against every choice there is.
TEST(BoundPruning, KeepsEverythingBetter) {
  std::mt19937 random(23);
  int64_t removed = 0, tight = 0, feasible = 0;
  for (int k = 0; k < 3000; ++k) {
    const ShardingProblem problem = randomProblem(optionsOf(k), random);
    const Solution twin = solveByBruteForce(problem);
    if (!twin.feasible)
      continue;
    ++feasible;
    // What is known: the best itself, a little worse, much worse, or what the passes find.
    const double known = k % 4 == 3 ? kInfinity : twin.objective * (1 + 0.2 * (k % 4)) + 1e-6;
    const bool relaxed = k % 2;
    const CostNetwork network =
        relaxed ? buildRelaxation(problem, 1) : buildNetwork(problem, 1 << 10);
    double upper = known;
    const Pruning pruning =
        pruneByBound(network, 20, k % 3 ? 1 : 0.25, [&](std::vector<int32_t> choice) {
          choice.resize(problem.nodes.size());
          return upper = std::min(upper, costOf(problem, choice));
        });
    EXPECT_LE(pruning.bound, upper) << k;
    EXPECT_LE(std::min(pruning.bound, twin.objective), twin.objective) << k;
    if (upper > twin.objective * (1 + 1e-9) + 1e-12) {
      EXPECT_LE(pruning.bound, twin.objective * (1 + 1e-9) + 1e-9) << k;
    }
    forEachChoice(problem, [&](const std::vector<int32_t> &choice) {
      if (costOf(problem, choice) >= upper)
        return;
      for (size_t i = 0; i < choice.size(); ++i)
        EXPECT_TRUE(pruning.may[i][choice[i]]) << k << " node " << i;
    });
    removed += pruning.removed;
    tight += pruning.bound >= upper * (1 - 1e-9);
  }
  EXPECT_GT(feasible, 1500);
  EXPECT_GT(removed, feasible / 2);
  EXPECT_GT(tight, feasible / 3);
}

TEST(BoundPruning, TheRelaxationCostsAtMostAsMuch) {
  std::mt19937 random(29);
  for (int k = 0; k < 1000; ++k) {
    RandomOptions options = optionsOf(k);
    options.groups = 2;
    const ShardingProblem problem = randomProblem(options, random);
    const CostNetwork network = buildRelaxation(problem, 1);
    ASSERT_EQ(network.variableCount(), static_cast<int32_t>(problem.nodes.size()));
    forEachChoice(problem, [&](const std::vector<int32_t> &choice) {
      double sum = 0;
      for (int32_t t = 0; t < network.tableCount(); ++t) {
        int64_t index = 0;
        for (int32_t i = 0; i < network.table(t).arity; ++i) {
          const int32_t v = network.scope(network.table(t))[i];
          index = index * network.size(v) + choice[v];
        }
        sum += network.table(t).costs[index];
      }
      EXPECT_LE(sum, costOf(problem, choice) * (1 + 1e-12) + 1e-12) << k;
    });
  }
}

// Problems that need the pruning: too wide for the limit, and still solved exactly.
TEST(BoundPruning, MakesEliminationFit) {
  std::mt19937 random(31);
  int exact = 0, wide = 0;
  for (int k = 0; k < 600; ++k) {
    RandomOptions options = optionsOf(k);
    options.nodes = 7;
    options.strategies = 4;
    const ShardingProblem problem = randomProblem(options, random);
    const Solution twin = solveByBruteForce(problem), solution = solveByElimination(problem, 20);
    EXPECT_EQ(solution.feasible || !solution.exact, twin.feasible || !solution.exact) << k;
    if (!twin.feasible)
      continue;
    EXPECT_LE(solution.bound, twin.objective * (1 + 1e-9) + 1e-12) << k;
    if (solution.exact) {
      EXPECT_NEAR(solution.objective, twin.objective, 1e-9 * (1 + twin.objective)) << k;
    }
    if (!buildNetwork(problem).orderWithin(20)) {
      ++wide;
      exact += solution.exact;
    }
  }
  EXPECT_GT(wide, 150);
  EXPECT_GT(exact, wide * 3 / 4) << exact << " of " << wide;
}
