// SPDX-License-Identifier: Apache-2.0
#include "Ownership.h"

#include <gtest/gtest.h>

using namespace tenon::sharding;
using tenon::sharding::test::meshOf;

TEST(Mesh, RanksCountRowMajorLastAxisFastest) {
  Mesh mesh = meshOf({2, 3});
  EXPECT_EQ(mesh.size(), 6);
  EXPECT_EQ(mesh.coordinates(0), (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(mesh.coordinates(1), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(mesh.coordinates(3), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(mesh.coordinates(5), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(mesh.size({1}), 3);
  EXPECT_EQ(mesh.sizes({1, 0}), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(mesh.size(AxisList{}), 1);
}

TEST(Mesh, LocalShapeIsTheNestedBlock) {
  Mesh mesh = meshOf({2, 2});
  Sharding sharding = Sharding::replicated(2);
  sharding.dims[0] = {0, 1};
  // 5 over 2x2: ceil(5/2) = 3, ceil(3/2) = 2.
  EXPECT_EQ(localShape({5, 7}, sharding, mesh), (std::vector<int64_t>{2, 7}));
}

TEST(Mesh, ShardingText) {
  Mesh mesh = meshOf({2, 2, 2});
  Sharding sharding{{{0, 1}, {}}, {2}, Reduction::Sum};
  EXPECT_EQ(toString(sharding, mesh), "[{\"a\", \"b\"}, {}] partial = sum {\"c\"}");
  sharding.reduction = Reduction::Max;
  EXPECT_EQ(toString(sharding, mesh), "[{\"a\", \"b\"}, {}] partial = max {\"c\"}");
  EXPECT_EQ(toString(Sharding::replicated(1), mesh), "[{}]");
}

TEST(Mesh, ReplicatedMeansNoAxisAndNoPartial) {
  EXPECT_TRUE(Sharding::replicated(3).isReplicated());
  EXPECT_FALSE((Sharding{{{0}}, {}, Reduction::Sum}).isReplicated());
  EXPECT_FALSE((Sharding{{{}}, {0}, Reduction::Sum}).isReplicated());
}

TEST(Mesh, OrderIsTotal) {
  std::vector<Sharding> all = test::allShardings(2, meshOf({2, 2}));
  // Per axis: two dimensions, partial, nowhere; both axes in one dimension come in two orders: 16
  // + 2.
  EXPECT_EQ(all.size(), 18u);
  for (const Sharding &a : all)
    for (const Sharding &b : all)
      EXPECT_EQ((a < b) + (b < a) + (a == b), 1);
}
