// SPDX-License-Identifier: Apache-2.0
#include "Ownership.h"
#include "Rules.h"

#include <gtest/gtest.h>

using namespace tenon::sharding;
using namespace tenon::sharding::test;

static std::vector<std::string> texts(const Rule &rule, const Mesh &mesh) {
  std::vector<std::string> result;
  auto strategies = enumerateStrategies(rule, mesh);
  EXPECT_TRUE(strategies.has_value());
  for (const Strategy &strategy : *strategies)
    result.push_back(toString(strategy, rule, mesh));
  return result;
}

TEST(Strategies, MatmulOverOneAxisUnshardedFirst) {
  EXPECT_EQ(texts(matmulRule(8, 6, 4), meshOf({2})),
            (std::vector<std::string>{"", "s=[a]", "n=[a]", "k=[a]", "partial=[a] of operand 0",
                                      "partial=[a] of operand 1"}));
}

TEST(Strategies, SmallFactorsAreLeftOut) {
  EXPECT_EQ(texts(matmulRule(3, 6, 2), meshOf({4})),
            (std::vector<std::string>{"", "n=[a]", "partial=[a] of operand 0",
                                      "partial=[a] of operand 1"}));
}

TEST(Strategies, BothPartsOfASplitAxisMayServeDifferentFactors) {
  // 8 query heads, 2 KV heads over 4 = 2 x 2: g major, r minor.
  Mesh mesh{{{"tp.0", 2, "tp"}, {"tp.1", 2, "tp"}}};
  std::vector<std::string> all = texts(attentionRule(1, 16, 16, 2, 4, 8), mesh);
  auto has = [&](const std::string &text) {
    return std::find(all.begin(), all.end(), text) != all.end();
  };
  EXPECT_TRUE(has("g=[tp.0] r=[tp.1]"));
  EXPECT_TRUE(has("r=[tp.0,tp.1]"));
  EXPECT_TRUE(has("s=[tp.0,tp.1]"));
  EXPECT_TRUE(has("g=[tp.1]"));
  EXPECT_FALSE(has("g=[tp.0,tp.1]")); // 2 heads do not take 4 ranks.
  // Per axis: nothing, s, g, r; both on g is out.
  EXPECT_EQ(all.size(), 15u);
}

TEST(Strategies, AxesOfSizeOneShardNothing) {
  EXPECT_EQ(texts(matmulRule(8, 6, 4), meshOf({1})), (std::vector<std::string>{""}));
}

TEST(Strategies, LimitIsHonoured) {
  Rule rule = matmulRule(8, 8, 8);
  auto all = enumerateStrategies(rule, meshOf({2, 2}));
  ASSERT_TRUE(all.has_value());
  EXPECT_TRUE(enumerateStrategies(rule, meshOf({2, 2}), all->size()).has_value());
  EXPECT_FALSE(enumerateStrategies(rule, meshOf({2, 2}), all->size() - 1).has_value());
  // Ten axes: the work is bounded although hardly any combination is legal.
  EXPECT_FALSE(enumerateStrategies(rule, meshOf(std::vector<int64_t>(10, 5)), 100).has_value());
}

/// Every placement of every axis (any order in a list), kept when legal and in mesh order, is
/// enumerated, once.
static void compareWithAllPlacements(const Rule &rule, const Mesh &mesh) {
  auto strategies = enumerateStrategies(rule, mesh);
  ASSERT_TRUE(strategies.has_value());
  for (size_t i = 0; i < strategies->size(); ++i) {
    ASSERT_EQ(illegal(rule, (*strategies)[i], mesh), "");
    for (size_t j = 0; j < i; ++j)
      ASSERT_FALSE((*strategies)[i] == (*strategies)[j]);
  }
  size_t expected = 0;
  for (const Sharding &placed : allShardings(static_cast<int64_t>(rule.factors.size()), mesh)) {
    Strategy strategy = onFactors(rule, placed.dims);
    strategy.partial = placed.partial;
    bool ordered = true;
    for (const AxisList &axes : strategy.factorAxes)
      ordered &= std::is_sorted(axes.begin(), axes.end());
    if (!ordered)
      continue;
    std::vector<int> operands{-1};
    if (rule.linearity == Linearity::Product && !strategy.partial.empty())
      operands = rule.linearOperands;
    for (int operand : operands) {
      strategy.partialOperand = operand;
      if (!illegal(rule, strategy, mesh).empty())
        continue;
      ++expected;
      ASSERT_NE(std::find(strategies->begin(), strategies->end(), strategy), strategies->end())
          << toString(strategy, rule, mesh) << " is missing";
    }
  }
  EXPECT_EQ(strategies->size(), expected);
}

TEST(Strategies, EveryLegalPlacementIsThere) {
  for (const Mesh &mesh :
       {meshOf({2}), meshOf({4}), meshOf({2, 2}), meshOf({2, 3}), meshOf({2, 2, 2})}) {
    compareWithAllPlacements(matmulRule(8, 3, 4), mesh);
    compareWithAllPlacements(elementwiseRule({5, 4}, Linearity::Sum, {0, 1}), mesh);
    compareWithAllPlacements(elementwiseRule({8, 2}, Linearity::None, {}), mesh);
    compareWithAllPlacements(attentionRule(2, 4, 4, 2, 4, 8), mesh);
  }
}
