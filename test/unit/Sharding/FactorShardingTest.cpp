// SPDX-License-Identifier: Apache-2.0
#include "Ownership.h"
#include "Rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace tenon::sharding;
using namespace tenon::sharding::test;
using ::testing::HasSubstr;

TEST(FactorSharding, DocumentationExample) {
  Rule rule = matmulRule(8, 6, 4);
  Mesh mesh = meshOf({2});
  Strategy strategy = onFactors(rule, {{}, {}, {0}});
  EXPECT_EQ(check(rule, {{8, 4}, {4, 6}}, {{8, 6}}), "");
  EXPECT_EQ(illegal(rule, strategy, mesh), "");
  EXPECT_EQ(toString(operandSharding(rule, strategy, 0), mesh), "[{}, {\"a\"}]");
  EXPECT_EQ(toString(operandSharding(rule, strategy, 1), mesh), "[{\"a\"}, {}]");
  EXPECT_EQ(toString(resultSharding(rule, strategy, 0), mesh), "[{}, {}] partial = sum {\"a\"}");
  EXPECT_EQ(toString(strategy, rule, mesh), "k=[a]");
}

TEST(FactorSharding, CheckNamesWhatIsWrong) {
  Rule rule = matmulRule(8, 6, 4);
  EXPECT_THAT(check(rule, {{8, 4}}, {{8, 6}}), HasSubstr("2 operands"));
  EXPECT_THAT(check(rule, {{8, 4}, {4, 6}}, {{8, 7}}),
              HasSubstr("result 0 dimension 1 has size 7, its factors make 6"));
  EXPECT_THAT(check(rule, {{8, 4, 1}, {4, 6}}, {{8, 6}}), HasSubstr("operand 0 has 3 dimensions"));
  Rule wild = rule;
  wild.operands[1][0] = {9};
  EXPECT_THAT(check(wild, {{8, 4}, {4, 6}}, {{8, 6}}), HasSubstr("names factor 9"));
  wild = rule;
  wild.linearOperands = {2};
  EXPECT_THAT(check(wild, {{8, 4}, {4, 6}}, {{8, 6}}), HasSubstr("linear operand 2"));
  wild = rule;
  wild.operands[0] = {{0, 0}, {2}};
  EXPECT_THAT(check(wild, {{64, 4}, {4, 6}}, {{8, 6}}), HasSubstr("twice"));
}

TEST(FactorSharding, BroadcastDimensionHasNoFactor) {
  Rule rule;
  rule.factors = {{"s", 8}, {"n", 6}};
  rule.operands = {{{0}, {1}}, {{}, {1}}};
  rule.results = {{{0}, {1}}};
  EXPECT_EQ(check(rule, {{8, 6}, {1, 6}}, {{8, 6}}), "");
  Strategy strategy = onFactors(rule, {{0}, {}});
  EXPECT_TRUE(operandSharding(rule, strategy, 1).isReplicated());
}

TEST(FactorSharding, AnAxisServesOnce) {
  Rule rule = matmulRule(8, 6, 4);
  Mesh mesh = meshOf({2, 2});
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0}, {0}, {}}), mesh), HasSubstr("used twice"));
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0, 0}, {}, {}}), mesh), HasSubstr("used twice"));
  EXPECT_THAT(illegal(rule, onFactors(rule, {{5}, {}, {}}), mesh), HasSubstr("not on the mesh"));
  EXPECT_EQ(illegal(rule, onFactors(rule, {{0}, {1}, {}}), mesh), "");
}

TEST(FactorSharding, WholeFactorsAndSmallFactorsStayWhole) {
  Rule rule = matmulRule(3, 6, 4);
  Mesh mesh = meshOf({2, 2});
  EXPECT_EQ(illegal(rule, onFactors(rule, {{0}, {}, {}}), mesh), "");
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0, 1}, {}, {}}), mesh),
              HasSubstr("smaller than its axes (4)"));
  rule.factors[1].kind = FactorKind::Whole;
  EXPECT_THAT(illegal(rule, onFactors(rule, {{}, {0}, {}}), mesh), HasSubstr("never sharded"));
}

TEST(FactorSharding, FourteenHeadsOverFourAreNotAFlatDimension) {
  Mesh mesh = meshOf({4});
  auto flat = [](int64_t heads) {
    Rule rule;
    rule.factors = {{"h", heads}, {"d", 64}};
    rule.operands = {{{0}, {1}}};
    rule.results = {{{0, 1}}};
    return rule;
  };
  // 14 heads over 4: blocks of 4 heads, 256 elements; 896 over 4: blocks of 224.
  EXPECT_THAT(illegal(flat(14), onFactors(flat(14), {{0}, {}}), mesh),
              HasSubstr("compound dimension"));
  EXPECT_EQ(illegal(flat(12), onFactors(flat(12), {{0}, {}}), mesh), "");
  // The minor factor cannot be cut alone: pieces of every head are no interval.
  EXPECT_THAT(illegal(flat(12), onFactors(flat(12), {{}, {0}}), mesh),
              HasSubstr("compound dimension"));
}

TEST(FactorSharding, MinorFactorMayFollowAMajorOneCutToSingles) {
  // 2 x 6 over a=2 on the major and b=3 on the minor factor: one head each, then an interval of it.
  Rule rule;
  rule.factors = {{"h", 2}, {"d", 6}};
  rule.operands = {{{0}, {1}}};
  rule.results = {{{0, 1}}};
  Mesh mesh = meshOf({2, 3});
  EXPECT_EQ(illegal(rule, onFactors(rule, {{0}, {1}}), mesh), "");
  EXPECT_EQ(resultSharding(rule, onFactors(rule, {{0}, {1}}), 0).dims[0], (AxisList{0, 1}));
}

/// Legality of a compound dimension against lists of elements, for every placement of every axis.
static void compareWithLists(const std::vector<int64_t> &factorSizes, const Mesh &mesh, int &legal,
                             int &refused) {
  Rule rule;
  DimFactors dim;
  ValueFactors separate;
  int64_t n = 1;
  for (size_t i = 0; i < factorSizes.size(); ++i) {
    rule.factors.push_back({std::string(1, static_cast<char>('f' + i)), factorSizes[i]});
    dim.push_back(static_cast<int>(i));
    separate.push_back({static_cast<int>(i)});
    n *= factorSizes[i];
  }
  rule.operands = {separate};
  rule.results = {{dim}};
  // A sharding of a value with one dimension per factor is a strategy.
  for (const Sharding &placed :
       allShardings(static_cast<int64_t>(factorSizes.size()), mesh, false)) {
    Strategy strategy = onFactors(rule, placed.dims);
    bool tooSmall = false;
    for (size_t i = 0; i < factorSizes.size(); ++i)
      tooSmall |= !placed.dims[i].empty() && mesh.size(placed.dims[i]) > factorSizes[i];
    AxisList flat;
    for (const AxisList &axes : placed.dims)
      flat.insert(flat.end(), axes.begin(), axes.end());
    bool same = true;
    for (int64_t rank = 0; rank < mesh.size() && same; ++rank) {
      std::vector<int64_t> coordinates = mesh.coordinates(rank);
      auto at = [&](const AxisList &axes) {
        std::vector<int64_t> result;
        for (int axis : axes)
          result.push_back(coordinates[axis]);
        return result;
      };
      std::vector<int64_t> boxes{0};
      for (size_t i = 0; i < factorSizes.size(); ++i) {
        std::vector<int64_t> grown;
        for (int64_t prefix : boxes)
          for (int64_t element :
               ownedElements(factorSizes[i], mesh.sizes(placed.dims[i]), at(placed.dims[i])))
            grown.push_back(prefix * factorSizes[i] + element);
        boxes = grown;
      }
      std::sort(boxes.begin(), boxes.end());
      same = boxes == ownedElements(n, mesh.sizes(flat), at(flat));
    }
    const bool expected = !tooSmall && same;
    ASSERT_EQ(illegal(rule, strategy, mesh).empty(), expected)
        << ::testing::PrintToString(factorSizes) << " " << toString(strategy, rule, mesh);
    ++(expected ? legal : refused);
  }
}

TEST(FactorSharding, CompoundDimensionsAgreeWithListsOfElements) {
  int legal = 0, refused = 0;
  for (const Mesh &mesh :
       {meshOf({2}), meshOf({3}), meshOf({4}), meshOf({2, 2}), meshOf({2, 3}), meshOf({3, 2})}) {
    for (int64_t major = 1; major <= 9; ++major)
      for (int64_t minor = 1; minor <= 9; ++minor)
        compareWithLists({major, minor}, mesh, legal, refused);
    for (int64_t a = 1; a <= 4; ++a)
      for (int64_t b = 1; b <= 4; ++b)
        for (int64_t c = 1; c <= 4; ++c)
          compareWithLists({a, b, c}, mesh, legal, refused);
  }
  EXPECT_GT(legal, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(FactorSharding, ReductionsSetTheKind) {
  Rule rule;
  rule.factors = {{"s", 8}, {"n", 6, FactorKind::Reduction, Reduction::Max}};
  rule.operands = {{{0}, {1}}};
  rule.results = {{{0}}};
  Sharding sharding = resultSharding(rule, onFactors(rule, {{}, {0}}), 0);
  EXPECT_EQ(sharding.partial, (AxisList{0}));
  EXPECT_EQ(sharding.reduction, Reduction::Max);
  // Not sharded: no partial, so no kind.
  EXPECT_EQ(resultSharding(rule, onFactors(rule, {{0}, {}}), 0).reduction, Reduction::Sum);
}

TEST(FactorSharding, KindsOfReductionDoNotMix) {
  Rule rule;
  rule.factors = {{"m", 8, FactorKind::Reduction, Reduction::Max},
                  {"n", 6, FactorKind::Reduction, Reduction::Sum},
                  {"i", 6, FactorKind::Reduction, Reduction::Min},
                  {"v", 6, FactorKind::Lookup}};
  rule.operands = {{{0}, {1}, {2}, {3}}};
  rule.results = {{}};
  Mesh mesh = meshOf({2, 2});
  EXPECT_EQ(illegal(rule, onFactors(rule, {{0, 1}, {}, {}, {}}), mesh), "");
  EXPECT_EQ(illegal(rule, onFactors(rule, {{}, {0}, {}, {1}}), mesh), "");
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0}, {1}, {}, {}}), mesh), HasSubstr("two kinds"));
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0}, {}, {1}, {}}), mesh), HasSubstr("two kinds"));
  EXPECT_THAT(illegal(rule, onFactors(rule, {{0}, {}, {}, {1}}), mesh), HasSubstr("two kinds"));
}

TEST(FactorSharding, LookupIsASum) {
  // embedding: table [v,j], ids [s] -> [s,j].
  Rule rule;
  rule.factors = {{"s", 8}, {"v", 10, FactorKind::Lookup}, {"j", 6}};
  rule.operands = {{{1}, {2}}, {{0}}};
  rule.results = {{{0}, {2}}};
  Mesh mesh = meshOf({2});
  Strategy strategy = onFactors(rule, {{}, {0}, {}});
  EXPECT_EQ(toString(operandSharding(rule, strategy, 0), mesh), "[{\"a\"}, {}]");
  EXPECT_EQ(toString(operandSharding(rule, strategy, 1), mesh), "[{}]");
  EXPECT_EQ(toString(resultSharding(rule, strategy, 0), mesh), "[{}, {}] partial = sum {\"a\"}");
}

TEST(FactorSharding, AResultThatKeepsTheFactorIsShardedByIt) {
  // Reduction over n that one result keeps and the other sums away.
  Rule rule;
  rule.factors = {{"s", 8}, {"n", 6, FactorKind::Reduction}};
  rule.operands = {{{0}, {1}}};
  rule.results = {{{0}, {1}}, {{0}}};
  Strategy strategy = onFactors(rule, {{}, {0}});
  EXPECT_EQ(resultSharding(rule, strategy, 0), (Sharding{{{}, {0}}, {}, Reduction::Sum}));
  EXPECT_EQ(resultSharding(rule, strategy, 1), (Sharding{{{}}, {0}, Reduction::Sum}));
}

TEST(FactorSharding, SumsCarryPartialInAllOperands) {
  Rule rule = elementwiseRule({8, 6}, Linearity::Sum, {0, 1});
  Mesh mesh = meshOf({2, 2});
  Strategy strategy = onFactors(rule, {{0}, {}});
  strategy.partial = {1};
  EXPECT_EQ(illegal(rule, strategy, mesh), "");
  for (int operand : {0, 1})
    EXPECT_EQ(operandSharding(rule, strategy, operand), (Sharding{{{0}, {}}, {1}, Reduction::Sum}));
  EXPECT_EQ(resultSharding(rule, strategy, 0), (Sharding{{{0}, {}}, {1}, Reduction::Sum}));
  strategy.partialOperand = 0;
  EXPECT_THAT(illegal(rule, strategy, mesh), HasSubstr("all operands of a sum"));
  EXPECT_EQ(toString(strategy, rule, mesh), "d0=[a] partial=[b] of operand 0");
}

TEST(FactorSharding, ProductsCarryPartialInOneOperand) {
  Rule rule = elementwiseRule({8, 6}, Linearity::Product, {0, 1});
  Mesh mesh = meshOf({2, 2});
  Strategy strategy = onFactors(rule, {{}, {}});
  strategy.partial = {0};
  EXPECT_THAT(illegal(rule, strategy, mesh), HasSubstr("exactly one"));
  strategy.partialOperand = 1;
  EXPECT_EQ(illegal(rule, strategy, mesh), "");
  EXPECT_TRUE(operandSharding(rule, strategy, 0).isReplicated());
  EXPECT_EQ(operandSharding(rule, strategy, 1).partial, (AxisList{0}));
  EXPECT_EQ(resultSharding(rule, strategy, 0).partial, (AxisList{0}));
  // Quotients are linear in the numerator only.
  rule.linearOperands = {0};
  EXPECT_THAT(illegal(rule, strategy, mesh), HasSubstr("exactly one"));
}

TEST(FactorSharding, NonLinearOpsCarryNothing) {
  Rule rule = elementwiseRule({8, 6}, Linearity::None, {});
  Strategy strategy = onFactors(rule, {{}, {}});
  strategy.partial = {0};
  EXPECT_THAT(illegal(rule, strategy, meshOf({2})), HasSubstr("not linear"));
  // A sum without linear operands would count its result once per rank.
  rule.linearity = Linearity::Sum;
  EXPECT_THAT(illegal(rule, strategy, meshOf({2})), HasSubstr("not linear"));
}
