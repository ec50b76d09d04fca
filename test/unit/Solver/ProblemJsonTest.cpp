// SPDX-License-Identifier: Apache-2.0
#include "RandomProblems.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace tenon::solver;
using namespace tenon::solver::test;

TEST(ProblemJson, RoundTripKeepsEveryBit) {
  std::mt19937 random(3);
  for (int k = 0; k < 200; ++k) {
    ShardingProblem problem =
                        randomProblem({Shape::Random, 3 + k % 5, 4, k % 3, 0.2, false}, random),
                    again;
    problem.nodes[0].costs[0] = 1.0 / 3.0; // Needs all 17 digits.
    std::string error;
    const std::string text = toJson(problem);
    ASSERT_TRUE(fromJson(text, again, error)) << error;
    EXPECT_EQ(toJson(again), text);
    EXPECT_EQ(again.nodes[0].costs, problem.nodes[0].costs);
    ASSERT_EQ(again.edges.size(), problem.edges.size());
    for (size_t i = 0; i < problem.edges.size(); ++i)
      EXPECT_EQ(again.edges[i].costs, problem.edges[i].costs);
    std::vector<int32_t> choice(problem.nodes.size(), 0);
    EXPECT_EQ(evaluate(again, choice), evaluate(problem, choice));
  }
}

TEST(ProblemJson, InfinityIsNull) {
  ShardingProblem problem;
  problem.nodes = {{"a", {1, kInfinity}}};
  EXPECT_EQ(toJson(problem),
            R"({"edges":[],"groups":[],"nodes":[{"costs":[1.0,null],"name":"a"}]})");
}

TEST(ProblemJson, MalformedTextIsRefused) {
  const char *texts[] = {
      "",
      "{",
      "[]",
      "null",
      "7",
      R"({"edges": []})",
      R"({"nodes": 3})",
      R"({"nodes": [1]})",
      R"({"nodes": [{"name": "a"}]})",
      R"({"nodes": [{"costs": 1}]})",
      R"({"nodes": [{"costs": {"x": 1}}]})",
      R"({"nodes": [{"costs": ["x"]}]})",
      R"({"nodes": [{"costs": []}]})",
      R"({"nodes": [{"costs": [-1]}]})",
      R"({"nodes": [{"costs": [null]}]})",
      R"({"nodes": [{"name": 3, "costs": [1]}]})",
      R"({"nodes": [{"costs": [1]}, {"costs": [1]}], "edges": [{"nodes": [0], "costs": [1]}]})",
      R"({"nodes": [{"costs": [1]}, {"costs": [1]}], "edges": [{"nodes": [0, 1.5], "costs": [1]}]})",
      R"({"nodes": [{"costs": [1]}, {"costs": [1]}], "edges": [{"nodes": [0, 99999999999], "costs": [1]}]})",
      R"({"nodes": [{"costs": [1]}, {"costs": [1]}], "edges": [{"nodes": [0, -1], "costs": [1]}]})",
      R"({"nodes": [{"costs": [1]}, {"costs": [1]}], "edges": [{"nodes": [0, 1], "costs": [1, 2]}]})",
      R"({"nodes": [{"costs": [1]}], "groups": [{"producer": 0}]})",
      R"({"nodes": [{"costs": [1]}], "groups": [{"producer": 0, "form": [0], "users": [], "forms": -1, "targets": 1, "price": [1]}]})",
      R"({"nodes": [{"costs": [1]}], "groups": [{"producer": 0, "form": [0.5], "users": [], "forms": 1, "targets": 1, "price": [1]}]})",
  };
  for (const char *text : texts) {
    ShardingProblem problem;
    std::string error;
    EXPECT_FALSE(fromJson(text, problem, error)) << text;
    EXPECT_NE(error, "") << text;
  }
}

TEST(ProblemJson, TruncatedTextIsRefused) {
  std::mt19937 random(5);
  const std::string text = toJson(randomProblem({Shape::Grid, 5, 3, 1, 0.1, false}, random));
  for (size_t length = 0; length < text.size(); ++length) {
    ShardingProblem problem;
    std::string error;
    EXPECT_FALSE(fromJson(text.substr(0, length), problem, error));
  }
}
