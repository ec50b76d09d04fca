// SPDX-License-Identifier: Apache-2.0
// check() and evaluate() on problems worked out by hand.
#include "tenon/Solver/ShardingProblem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace tenon::solver;
using ::testing::HasSubstr;

/// A producer with forms 0, 1 and two users that demand targets 0, 1.
static ShardingProblem shared() {
  ShardingProblem problem;
  problem.nodes = {{"p", {1, 2}}, {"u", {0, 5}}, {"v", {3, 0}}};
  problem.edges = {{1, 2, {0, 1, 2, 3}}};
  problem.groups = {{0, {0, 1}, {{1, {0, 1}}, {2, {0, 1}}}, 2, 2, {0, 10, 20, 0}}};
  return problem;
}

TEST(ShardingProblem, EvaluateByHand) {
  ShardingProblem problem = shared();
  ASSERT_EQ(check(problem), "");
  // p = 0, u = 0, v = 0: 1 + 0 + 3 + edge 0 + target 0 of form 0 at 0.
  EXPECT_EQ(evaluate(problem, {0, 0, 0}), 4);
  // p = 1, u = 0, v = 0: 2 + 0 + 3 + 0 + target 0 of form 1, once: 20.
  EXPECT_EQ(evaluate(problem, {1, 0, 0}), 25);
  // p = 0, u = 1, v = 1: 1 + 5 + 0 + 3 + target 1 of form 0, once: 10.
  EXPECT_EQ(evaluate(problem, {0, 1, 1}), 19);
  // p = 1, u = 0, v = 1: 2 + 0 + 0 + 1 + both targets: 20 + 0.
  EXPECT_EQ(evaluate(problem, {1, 0, 1}), 23);
}

TEST(ShardingProblem, EvaluateForbidsWhatIsOutOfRange) {
  ShardingProblem problem = shared();
  EXPECT_EQ(evaluate(problem, {0, 0}), kInfinity);
  EXPECT_EQ(evaluate(problem, {0, 0, 2}), kInfinity);
  EXPECT_EQ(evaluate(problem, {-1, 0, 0}), kInfinity);
  problem.edges[0].costs[0] = kInfinity;
  EXPECT_EQ(evaluate(problem, {0, 0, 0}), kInfinity);
}

TEST(ShardingProblem, CheckNamesWhatIsMalformed) {
  auto broken = [](auto change) {
    ShardingProblem problem = shared();
    change(problem);
    return check(problem);
  };
  EXPECT_THAT(broken([](auto &p) { p.nodes[1].costs[0] = -1; }),
              HasSubstr("node 1 has a negative"));
  EXPECT_THAT(broken([](auto &p) { p.nodes[1].costs[0] = std::nan(""); }), HasSubstr("undefined"));
  EXPECT_THAT(broken([](auto &p) { p.nodes[1].costs = {kInfinity, kInfinity}; }),
              HasSubstr("'u') has no strategy"));
  EXPECT_THAT(broken([](auto &p) { p.nodes[1].costs = {}; }), HasSubstr("no strategy"));
  EXPECT_THAT(broken([](auto &p) { p.edges[0].first = 2; }),
              HasSubstr("edge 0 joins nodes 2 and 2"));
  EXPECT_THAT(broken([](auto &p) { p.edges[0].second = 3; }),
              HasSubstr("edge 0 joins nodes 1 and 3"));
  EXPECT_THAT(broken([](auto &p) { p.edges[0].costs.pop_back(); }),
              HasSubstr("has 3 costs, expected 4"));
  EXPECT_THAT(broken([](auto &p) { p.edges[0].costs[2] = -0.5; }),
              HasSubstr("edge 0 has a negative"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].producer = 7; }),
              HasSubstr("group 0 has a producer out of range"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].form = {0}; }), HasSubstr("one form per strategy"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].form = {0, 2}; }), HasSubstr("form out of range"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].users[1].node = 9; }),
              HasSubstr("user out of range"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].users[1].target = {0}; }),
              HasSubstr("one target per strategy"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].users[1].target = {0, -1}; }),
              HasSubstr("target out of range"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].users[1].node = 1; }),
              HasSubstr("names node 1 twice"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].users[1].node = 0; }),
              HasSubstr("names node 0 twice"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].price.pop_back(); }), HasSubstr("has 3 prices"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].price[0] = std::nan(""); }), HasSubstr("price"));
  EXPECT_THAT(broken([](auto &p) { p.groups[0].forms = -1; }),
              HasSubstr("negative number of forms"));
}
