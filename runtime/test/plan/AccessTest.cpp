// SPDX-License-Identifier: Apache-2.0
// Accesses, names and spans of ops.
#include "tenon/runtime/plan/Access.h"
#include "PlanBuilder.h"

#include <gtest/gtest.h>

#include <set>

using namespace tenon::plan;
using namespace tenon::plan::test;

namespace {

TEST(Span, HeaderExample) {
  Span s = span({0, constant(4), {2, 3}, {8, 1}});
  EXPECT_EQ(s.first, 4);
  EXPECT_EQ(s.last, 14); // 4 + 1 * 8 + 2 * 1
  EXPECT_FALSE(s.empty);
}

TEST(Span, BroadcastsAndEmptyRegions) {
  Span row = span({0, {}, {5, 3}, {0, 1}});
  EXPECT_EQ(row.first, 0);
  EXPECT_EQ(row.last, 2);
  EXPECT_TRUE(span({0, {}, {5, 0}, {1, 1}}).empty);
  Span scalar = span({0, constant(7), {}, {}});
  EXPECT_EQ(scalar.first, 7);
  EXPECT_EQ(scalar.last, 7);
}

TEST(Contiguity, IgnoresStridesOfSizeOne) {
  EXPECT_TRUE(isContiguous({0, {}, {2, 3, 4}, {12, 4, 1}}));
  EXPECT_TRUE(isContiguous({0, {}, {2, 1, 4}, {4, 99, 1}}));
  EXPECT_TRUE(isContiguous({0, {}, {2, 0, 4}, {7, 7, 7}}));
  EXPECT_TRUE(isContiguous({0, {}, {}, {}}));
  EXPECT_FALSE(isContiguous({0, {}, {2, 3}, {4, 1}}));
  EXPECT_FALSE(isContiguous({0, {}, {2, 3}, {1, 2}}));
  EXPECT_FALSE(isContiguous({0, {}, {2, 3}, {0, 1}}));
}

TEST(Contiguity, ElementsAreTheProduct) {
  EXPECT_EQ(elements({0, {}, {2, 3, 4}, {0, 0, 0}}), 24);
  EXPECT_EQ(elements({0, {}, {}, {}}), 1);
  EXPECT_EQ(elements({0, {}, {2, 0}, {0, 1}}), 0);
}

TEST(Accesses, NameRoleAndDirection) {
  std::string text;
  std::set<std::string> seen;
  const Plan plan = allOpsPlan(2);
  for (const Op &op : plan.entries[0].ops) {
    std::string line = opName(op);
    for (const Access &access : accesses(op))
      line += std::string(access.write ? " >" : " ") + access.role +
              (access.index ? std::to_string(access.index) : "");
    if (seen.insert(line).second)
      text += line + "\n";
  }
  EXPECT_EQ(text, "gather_rows ids table >out\n"
                  "record\n"
                  "wait\n"
                  "all_reduce x >out\n"
                  "norm x scale bias residual >out >sum\n"
                  "fill >out\n"
                  "rope x positions cos sin >out\n"
                  "attention q k v mask bias >out\n"
                  "matmul a b bias residual >c\n"
                  "copy x >out\n"
                  "all_gather x >out\n"
                  "all_to_all x >out\n"
                  "reduce_scatter x >out\n"
                  "broadcast x >out\n"
                  "softmax x >out\n"
                  "reduce x >out\n"
                  "elementwise input input1 >out\n"
                  "take x >out\n");
}

} // namespace
