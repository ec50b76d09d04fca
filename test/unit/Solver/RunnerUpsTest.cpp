// SPDX-License-Identifier: Apache-2.0
#include "RandomProblems.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

using namespace tenon::solver;
using namespace tenon::solver::test;

TEST(RunnerUps, ByHand) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 1}}, {"b", {5, 0}}, {"c", {2}}};
  problem.edges = {{0, 1, {0, 9, 3, 3}}};
  // Best (1,1) at 4 + 2. Forcing a to 0 lets b go to 0: 5 + 2, +1. Forcing b to 0 lets a go to 0:
  // the same. c has no choice.
  std::vector<RunnerUp> runners = runnerUps(problem, solveByElimination(problem));
  ASSERT_EQ(runners.size(), 3u);
  EXPECT_EQ(runners[0].strategy, 0);
  EXPECT_EQ(runners[0].increase, 1);
  EXPECT_EQ(runners[1].strategy, 0);
  EXPECT_EQ(runners[1].increase, 1);
  EXPECT_EQ(runners[2].strategy, -1);
}

TEST(RunnerUps, ForbiddenAlternativesAreNone) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, kInfinity}}, {"b", {0, 0}}};
  problem.edges = {{0, 1, {0, kInfinity, 0, 0}}};
  std::vector<RunnerUp> runners = runnerUps(problem, solveByElimination(problem));
  EXPECT_EQ(runners[0].strategy, -1);
  EXPECT_EQ(runners[1].strategy, -1);
}

/// The definition: the node forced, neighbours tried in full, the rest held.
static std::vector<RunnerUp> byTrying(const ShardingProblem &problem, const Solution &solution) {
  std::vector<RunnerUp> result(problem.nodes.size());
  for (int32_t node = 0; node < static_cast<int32_t>(problem.nodes.size()); ++node) {
    std::set<int32_t> around;
    for (const Edge &edge : problem.edges) {
      if (edge.first == node)
        around.insert(edge.second);
      if (edge.second == node)
        around.insert(edge.first);
    }
    for (const Group &group : problem.groups) {
      std::set<int32_t> members{group.producer};
      for (const Group::User &user : group.users)
        members.insert(user.node);
      if (members.count(node))
        around.insert(members.begin(), members.end());
    }
    around.erase(node);
    for (int32_t s = 0; s < static_cast<int32_t>(problem.nodes[node].costs.size()); ++s) {
      if (s == solution.choice[node])
        continue;
      std::vector<int32_t> choice = solution.choice;
      choice[node] = s;
      for (int32_t other : around)
        choice[other] = 0;
      for (bool more = true; more;) {
        if (double increase = evaluate(problem, choice) - solution.objective;
            increase < result[node].increase)
          result[node] = {s, increase};
        more = false;
        for (int32_t other : around) {
          if (++choice[other] < static_cast<int32_t>(problem.nodes[other].costs.size())) {
            more = true;
            break;
          }
          choice[other] = 0;
        }
      }
    }
  }
  return result;
}

TEST(RunnerUps, AgreeWithTrying) {
  std::mt19937 random(21);
  for (int k = 0; k < 1500; ++k) {
    ShardingProblem problem = randomProblem(
        {static_cast<Shape>(k % 3), 2 + k % 5, 3, k % 3, (k % 4) * 0.1, false}, random);
    const Solution solution = solveByElimination(problem);
    if (!solution.feasible)
      continue;
    const std::vector<RunnerUp> fast = runnerUps(problem, solution),
                                slow = byTrying(problem, solution);
    for (size_t i = 0; i < fast.size(); ++i) {
      if (std::isinf(slow[i].increase)) {
        ASSERT_EQ(fast[i].strategy, -1) << toJson(problem);
      } else {
        ASSERT_NEAR(fast[i].increase, std::max(0.0, slow[i].increase), 1e-9) << toJson(problem);
        ASSERT_EQ(fast[i].strategy, slow[i].strategy) << toJson(problem);
      }
    }
  }
}

TEST(RunnerUps, RepeatedLayersAgreeWithTrying) {
  // Copies of one problem in a chain, with one link that may be another: networks repeat, but those
  // that look at another choice, another table or an end do not.
  std::mt19937 random(22);
  for (int k = 0; k < 200; ++k) {
    const ShardingProblem layer =
        randomProblem({static_cast<Shape>(k % 3), 3, 3, k % 3, (k % 3) * 0.1, false}, random);
    const auto size = static_cast<int32_t>(layer.nodes.size());
    const size_t first = layer.nodes[0].costs.size(), last = layer.nodes[size - 1].costs.size();
    std::vector<double> link(first * last), odd(first * last);
    for (size_t i = 0; i < link.size(); ++i) {
      link[i] = static_cast<double>(random() % 8);
      odd[i] = k % 2 ? link[i] : static_cast<double>(random() % 8);
    }
    ShardingProblem problem;
    for (int32_t copy = 0; copy < 4; ++copy) {
      const int32_t shift = copy * size;
      problem.nodes.insert(problem.nodes.end(), layer.nodes.begin(), layer.nodes.end());
      for (Edge edge : layer.edges)
        problem.edges.push_back({edge.first + shift, edge.second + shift, edge.costs});
      for (Group group : layer.groups) {
        group.producer += shift;
        for (Group::User &user : group.users)
          user.node += shift;
        problem.groups.push_back(group);
      }
      if (copy > 0)
        problem.edges.push_back({shift - 1, shift, copy == 2 ? odd : link});
    }
    const Solution solution = solveByElimination(problem);
    if (!solution.feasible)
      continue;
    const std::vector<RunnerUp> fast = runnerUps(problem, solution),
                                slow = byTrying(problem, solution);
    for (size_t i = 0; i < fast.size(); ++i) {
      if (std::isinf(slow[i].increase))
        ASSERT_EQ(fast[i].strategy, -1) << toJson(problem);
      else
        ASSERT_NEAR(fast[i].increase, std::max(0.0, slow[i].increase), 1e-9) << toJson(problem);
    }
  }
}

TEST(RunnerUps, NothingForAnInfeasibleSolution) {
  ShardingProblem problem;
  problem.nodes = {{"a", {0, 0}}, {"b", {0}}};
  problem.edges = {{0, 1, {kInfinity, kInfinity}}};
  for (const RunnerUp &runner : runnerUps(problem, solveByElimination(problem)))
    EXPECT_EQ(runner.strategy, -1);
}
