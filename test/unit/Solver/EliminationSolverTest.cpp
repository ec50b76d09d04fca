// SPDX-License-Identifier: Apache-2.0
#include "Dominance.h"
#include "ProblemNetwork.h"
#include "RandomProblems.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tenon::solver;
using namespace tenon::solver::test;

static bool near(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-9 * (1 + std::abs(b));
}

static RandomOptions optionsOf(int k) {
  RandomOptions options;
  options.shape = static_cast<Shape>(k % 3);
  options.nodes = 2 + k % 5;
  options.strategies = 1 + k / 3 % 4;
  options.groups = k / 7 % 3;
  options.forbidden = (k / 11 % 4) * 0.15;
  options.integers = k / 13 % 2 == 0;
  return options;
}

TEST(EliminationSolver, NodesAndOneEdgeByHand) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 1}}, {"b", {5, 0}}};
  problem.edges = {{0, 1, {0, 9, 3, 3}}};
  // (0,0): 5, (0,1): 9, (1,0): 9, (1,1): 4.
  Solution solution = solveByElimination(problem);
  EXPECT_EQ(solution.choice, (std::vector<int32_t>{1, 1}));
  EXPECT_EQ(solution.objective, 4);
  EXPECT_EQ(solution.bound, 4);
  EXPECT_TRUE(solution.exact && solution.feasible);
  EXPECT_EQ(solution.largestTable, 4);
}

TEST(EliminationSolver, EmptyAndSingle) {
  EXPECT_EQ(solveByElimination({}).objective, 0);
  EXPECT_TRUE(solveByElimination({}).feasible);
  ShardingProblem one;
  one.nodes = {{"a", {3, 2, 2}}};
  Solution solution = solveByElimination(one);
  EXPECT_EQ(solution.choice, (std::vector<int32_t>{1}));
  EXPECT_EQ(solution.objective, 2);
}

TEST(EliminationSolver, SharingChangesTheChoice) {
  // Each user alone prefers to pay 3 itself over a reshard of 5; two of them share one reshard.
  ShardingProblem problem;
  problem.nodes = {{"p", {0}}, {"u", {3, 0}}, {"v", {3, 0}}};
  problem.groups = {{0, {0}, {{1, {0, 1}}, {2, {0, 1}}}, 1, 2, {0, 5}}};
  Solution solution = solveByElimination(problem);
  EXPECT_EQ(solution.choice, (std::vector<int32_t>{0, 1, 1}));
  EXPECT_EQ(solution.objective, 5);
}

TEST(EliminationSolver, InfeasibleIsProven) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 0}}, {"b", {0}}};
  problem.edges = {{0, 1, {kInfinity, kInfinity}}};
  Solution solution = solveByElimination(problem);
  EXPECT_FALSE(solution.feasible);
  EXPECT_TRUE(solution.exact);
  EXPECT_EQ(solution.objective, kInfinity);
  EXPECT_EQ(solution.bound, kInfinity);
}

TEST(EliminationSolver, AgreesWithBruteForce) {
  std::mt19937 random(2024);
  int infeasible = 0, grouped = 0;
  for (int k = 0; k < 12000; ++k) {
    ShardingProblem problem = randomProblem(optionsOf(k), random);
    ASSERT_EQ(check(problem), "");
    const Solution brute = solveByBruteForce(problem), solution = solveByElimination(problem);
    ASSERT_EQ(solution.feasible, brute.feasible) << toJson(problem);
    ASSERT_TRUE(solution.exact);
    ASSERT_TRUE(near(solution.objective, brute.objective)) << toJson(problem);
    ASSERT_EQ(solution.bound, solution.objective);
    ASSERT_EQ(solution.objective, evaluate(problem, solution.choice));
    infeasible += !brute.feasible;
    grouped += !problem.groups.empty();
  }
  EXPECT_GT(infeasible, 200);
  EXPECT_GT(grouped, 2000);
}

TEST(EliminationSolver, HelpersOfGroupsAgreeWithBruteForce) {
  std::mt19937 random(7);
  for (int k = 0; k < 3000; ++k) {
    RandomOptions options = optionsOf(k);
    options.groups = 1 + k % 3;
    ShardingProblem problem = randomProblem(options, random);
    CostNetwork network = buildNetwork(problem, /*groupTableLimit=*/1 + k % 9);
    const double least = network.eliminate(network.order());
    ASSERT_TRUE(near(least, solveByBruteForce(problem).objective)) << toJson(problem);
    std::vector<int32_t> choice = network.choose();
    choice.resize(problem.nodes.size());
    if (std::isfinite(least)) {
      ASSERT_TRUE(near(evaluate(problem, choice), least)) << toJson(problem);
    }
  }
}

TEST(EliminationSolver, DominatedStrategiesAreNotNeeded) {
  std::mt19937 random(8);
  int removed = 0;
  for (int k = 0; k < 3000; ++k) {
    ShardingProblem problem = randomProblem(optionsOf(k), random);
    const KeptStrategies kept = undominated(problem);
    for (size_t i = 0; i < kept.size(); ++i) {
      ASSERT_FALSE(kept[i].empty());
      removed += kept[i].size() < problem.nodes[i].costs.size();
    }
    const ShardingProblem smaller = restrictedTo(problem, kept);
    ASSERT_EQ(check(smaller), "");
    ASSERT_TRUE(near(solveByBruteForce(smaller).objective, solveByBruteForce(problem).objective))
        << toJson(problem);
  }
  EXPECT_GT(removed, 500);
}

TEST(EliminationSolver, BoundHoldsWhenTheTablesDoNotFit) {
  std::mt19937 random(9);
  int inexact = 0, optimal = 0;
  for (int k = 0; k < 4000; ++k) {
    RandomOptions options = optionsOf(k);
    options.shape = Shape::Random;
    options.nodes = 6;
    ShardingProblem problem = randomProblem(options, random);
    const Solution brute = solveByBruteForce(problem);
    const Solution solution = solveByElimination(problem, /*tableLimit=*/2 + k % 12);
    ASSERT_EQ(solution.choice.size(), problem.nodes.size());
    ASSERT_LE(solution.bound, brute.objective * (1 + 1e-9)) << toJson(problem);
    ASSERT_GE(solution.objective, brute.objective * (1 - 1e-9)) << toJson(problem);
    ASSERT_EQ(solution.objective, evaluate(problem, solution.choice));
    if (solution.exact) {
      ASSERT_TRUE(near(solution.objective, brute.objective)) << toJson(problem);
      ASSERT_EQ(solution.bound, solution.objective);
    } else {
      ++inexact;
      ASSERT_LT(solution.bound, solution.objective);
    }
    optimal += near(solution.objective, brute.objective);
  }
  EXPECT_GT(inexact, 5);
  // Local search is no proof, but it should rarely miss on problems this small.
  EXPECT_GT(optimal, 3600);
}

TEST(EliminationSolver, ANodeWithoutStrategyIsInfeasibleAlsoWhereTablesDoNotFit) {
  std::mt19937 random(21);
  for (int k = 0; k < 300; ++k) {
    RandomOptions options = optionsOf(k);
    options.shape = Shape::Random;
    options.nodes = 8;
    ShardingProblem problem = randomProblem(options, random);
    for (double &cost : problem.nodes[k % 8].costs)
      cost = kInfinity;
    const Solution solution = solveByElimination(problem, /*tableLimit=*/4 + k % 20);
    ASSERT_FALSE(solution.feasible) << toJson(problem);
    ASSERT_TRUE(solution.exact) << toJson(problem);
  }
}

TEST(EliminationSolver, SameInputSameChoice) {
  std::mt19937 random(10);
  for (int k = 0; k < 200; ++k) {
    ShardingProblem problem = randomProblem({Shape::Random, 6, 4, 2, 0.1, true}, random);
    for (int64_t limit : {8, 10'000'000}) {
      const Solution a = solveByElimination(problem, limit), b = solveByElimination(problem, limit);
      EXPECT_EQ(a.choice, b.choice);
      EXPECT_EQ(a.objective, b.objective);
      EXPECT_EQ(a.bound, b.bound);
    }
  }
}

TEST(EliminationSolver, AMaskThatEveryLayerReadsStaysNarrow) {
  // One producer, 300 users in a chain, three targets. For each form and each set of targets that
  // may be demanded, the chain is a walk: the twin of the helpers.
  std::mt19937 random(11);
  auto cost = [&](int n) { return static_cast<double>(random() % static_cast<unsigned>(n)); };
  const int users = 300, targets = 3;
  ShardingProblem problem;
  problem.nodes.push_back({"mask", {cost(9), cost(9)}});
  Group group{0, {0, 1}, {}, 2, targets, {}};
  for (int k = 0; k < 2 * targets; ++k)
    group.price.push_back(200 + cost(400));
  for (int u = 0; u < users; ++u) {
    problem.nodes.push_back({"u", {cost(9), cost(9), cost(9)}});
    group.users.push_back({u + 1, {0, 1, 2}});
    if (u > 0) {
      Edge edge{u, u + 1, {}};
      for (int k = 0; k < 9; ++k)
        edge.costs.push_back(cost(9));
      problem.edges.push_back(std::move(edge));
    }
  }
  problem.groups.push_back(group);

  double best = kInfinity;
  for (int form = 0; form < 2; ++form)
    for (int allowed = 1; allowed < 1 << targets; ++allowed) {
      double paid = problem.nodes[0].costs[form];
      for (int t = 0; t < targets; ++t)
        if (allowed >> t & 1)
          paid += group.price[form * targets + t];
      std::vector<double> walk(3);
      for (int u = 1; u <= users; ++u) {
        std::vector<double> next(3, kInfinity);
        for (int s = 0; s < 3; ++s) {
          if (!(allowed >> s & 1))
            continue;
          if (u == 1)
            next[s] = problem.nodes[u].costs[s];
          else
            for (int before = 0; before < 3; ++before)
              next[s] =
                  std::min(next[s], walk[before] + problem.edges[u - 2].costs[before * 3 + s] +
                                        problem.nodes[u].costs[s]);
        }
        walk = next;
      }
      best = std::min(best, paid + std::min({walk[0], walk[1], walk[2]}));
    }
  Solution solution = solveByElimination(problem);
  EXPECT_TRUE(solution.exact);
  EXPECT_DOUBLE_EQ(solution.objective, best);
  EXPECT_LE(solution.largestTable, 1000);
}
