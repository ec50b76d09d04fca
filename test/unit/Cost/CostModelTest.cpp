// SPDX-License-Identifier: Apache-2.0
// Numbers worked out by hand on a machine with round constants.
#include "tenon/Cost/CostModel.h"

#include <gtest/gtest.h>

using namespace tenon;
using namespace tenon::cost;
using namespace tenon::sharding;

static CostModel model() {
  MachineModel machine;
  machine.name = "box";
  machine.peakFlops = {{"f32", 1e10}, {"bf16", 2e10}};
  machine.memoryBandwidth = 1e9;
  machine.memoryBytes = 1e12;
  machine.launch = 1e-6;
  machine.links = {{1e-5, 2e-6, 5e8}, {1e-4, 2e-5, 1e8}};
  return CostModel(machine);
}

static Mesh mesh(std::vector<MeshAxis> axes) { return {std::move(axes)}; }
static Sharding on(std::vector<AxisList> dims, AxisList partial = {}) {
  return {std::move(dims), std::move(partial), Reduction::Sum};
}

TEST(CostModel, OpsAreARoofline) {
  // Compute-bound: 1e8 / 1e10 = 10 ms; memory-bound: 1e8 / 1e9 = 100 ms; plus the launch.
  EXPECT_DOUBLE_EQ(model().opSeconds(1e8, 1e3, plan::DataType::F32), 1e-2 + 1e-6);
  EXPECT_DOUBLE_EQ(model().opSeconds(1e8, 1e8, plan::DataType::F32), 1e-1 + 1e-6);
  EXPECT_DOUBLE_EQ(model().opSeconds(1e8, 1e3, plan::DataType::BF16), 5e-3 + 1e-6);
  // Without a peak of their own, types take that of f32.
  EXPECT_DOUBLE_EQ(model().opSeconds(1e8, 1e3, plan::DataType::F16), 1e-2 + 1e-6);
  EXPECT_DOUBLE_EQ(model().opSeconds(1e8, 1e3, plan::DataType::I32), 1e-2 + 1e-6);
  EXPECT_DOUBLE_EQ(model().copySeconds(1e6), 1e-3);
}

TEST(CostModel, CollectivesByRoundsAndBytes) {
  const Link link = model().machine().links[0];
  EXPECT_DOUBLE_EQ(model().collectiveSeconds(StepKind::AllReduce, 1e6, 4, link),
                   1e-5 + 6 * 2e-6 + 2e-3);
  EXPECT_DOUBLE_EQ(model().collectiveSeconds(StepKind::AllGather, 1e6, 4, link),
                   1e-5 + 3 * 2e-6 + 2e-3);
}

TEST(CostModel, StepsByHand) {
  Mesh four = mesh({{"tp", 4, "tp"}});
  const std::vector<int64_t> shape{8, 500}; // 4000 elements, 16000 bytes.
  const double fixed = 1e-6 + 1e-5;
  // all_reduce: 2 * 3/4 * 16000 bytes.
  EXPECT_DOUBLE_EQ(model().stepSeconds({StepKind::AllReduce, {0}, -1, -1, on({{}, {}})},
                                       on({{}, {}}, {0}), shape, four, 4),
                   fixed + 6 * 2e-6 + 24000 / 5e8);
  // Gathering rows: blocks lie in order. Gathering columns: a copy of the result, read and written.
  EXPECT_DOUBLE_EQ(model().stepSeconds({StepKind::AllGather, {0}, 0, -1, on({{}, {}})},
                                       on({{0}, {}}), shape, four, 4),
                   fixed + 3 * 2e-6 + 12000 / 5e8);
  EXPECT_DOUBLE_EQ(model().stepSeconds({StepKind::AllGather, {0}, 1, -1, on({{}, {}})},
                                       on({{}, {0}}), shape, four, 4),
                   fixed + 3 * 2e-6 + 12000 / 5e8 + 32000 / 1e9 + 1e-6);
  EXPECT_DOUBLE_EQ(model().stepSeconds({StepKind::ReduceScatter, {0}, 1, -1, on({{}, {0}})},
                                       on({{}, {}}, {0}), shape, four, 4),
                   fixed + 3 * 2e-6 + 12000 / 5e8 + 32000 / 1e9 + 1e-6);
  // Columns to rows: cutting rows needs no packing, merging columns does; 4000 bytes per rank.
  EXPECT_DOUBLE_EQ(model().stepSeconds({StepKind::AllToAll, {0}, 0, 1, on({{0}, {}})},
                                       on({{}, {0}}), shape, four, 4),
                   fixed + 3 * 2e-6 + 3000 / 5e8 + 8000 / 1e9 + 1e-6);
}

TEST(CostModel, LeadingDimensionsOfSizeOneDoNotCount) {
  Mesh four = mesh({{"tp", 4, "tp"}});
  double rows = model().stepSeconds({StepKind::AllGather, {0}, 0, -1, on({{}, {}})}, on({{0}, {}}),
                                    {8, 5}, four, 4);
  double after = model().stepSeconds({StepKind::AllGather, {0}, 1, -1, on({{}, {}, {}})},
                                     on({{}, {0}, {}}), {1, 8, 5}, four, 4);
  EXPECT_DOUBLE_EQ(rows, after);
}

TEST(CostModel, UnevenStepsPayForPaddingAndCopies) {
  Mesh four = mesh({{"tp", 4, "tp"}});
  auto gather = [&](int64_t n) {
    return model().stepSeconds({StepKind::AllGather, {0}, 0, -1, on({{}, {}})}, on({{0}, {}}),
                               {n, 500}, four, 4);
  };
  // 7 rows travel as 8 and are cut to 7 in a copy.
  EXPECT_DOUBLE_EQ(gather(7), gather(8) + 2 * 7 * 500 * 4 / 1e9 + 1e-6);
  auto slice = [&](int64_t n) {
    return model().stepSeconds({StepKind::Slice, {0}, 0, -1, on({{0}, {}})}, on({{}, {}}), {n, 500},
                               four, 4);
  };
  EXPECT_GT(slice(7), slice(8));
}

TEST(CostModel, LinksFollowTheUsersAxes) {
  // node x tp, where tp was split: both parts of tp are the fast link, node the slow one.
  Mesh split = mesh({{"node", 2, "node"}, {"tp.0", 2, "tp"}, {"tp.1", 2, "tp"}});
  EXPECT_EQ(model().linkOf({2}, split).bandwidth, 5e8);
  EXPECT_EQ(model().linkOf({1}, split).bandwidth, 5e8);
  EXPECT_EQ(model().linkOf({1, 2}, split).alpha, 1e-5);
  EXPECT_EQ(model().linkOf({0}, split).bandwidth, 1e8);
  // A group over all of them is as slow as its slowest link.
  EXPECT_EQ(model().linkOf({0, 1, 2}, split).bandwidth, 1e8);
  EXPECT_EQ(model().linkOf({0, 1, 2}, split).hop, 2e-5);
  // More axes than links: the last entry serves the outer ones.
  Mesh three = mesh({{"pod", 2, "pod"}, {"node", 2, "node"}, {"tp", 2, "tp"}});
  EXPECT_EQ(model().linkOf({0}, three).bandwidth, 1e8);
}

TEST(CostModel, OneStepOverASplitAxisBeatsTwo) {
  Mesh split = mesh({{"tp.0", 2, "tp"}, {"tp.1", 2, "tp"}});
  const std::vector<int64_t> shape{64, 64};
  auto path = reshardPath(on({{}, {}}, {0, 1}), on({{}, {}}), shape, split,
                          model().stepPrice(shape, split, 4));
  ASSERT_TRUE(path.has_value());
  ASSERT_EQ(path->steps.size(), 1u);
  EXPECT_EQ(path->steps[0].kind, StepKind::AllReduce);
  EXPECT_EQ(path->steps[0].axes, (AxisList{0, 1}));
}

TEST(CostModel, PriceOutlivesItsArguments) {
  CostModel fixed = model();
  StepPrice price;
  {
    std::vector<int64_t> shape{8, 4};
    Mesh four = mesh({{"tp", 4, "tp"}});
    price = fixed.stepPrice(shape, four, 4);
  }
  EXPECT_GT(price({StepKind::AllReduce, {0}, -1, -1, on({{}, {}})}, on({{}, {}}, {0})), 0);
}

TEST(CostModel, ElementBytesNameTheFloatType) {
  EXPECT_EQ(dataType(2), plan::DataType::BF16);
  EXPECT_EQ(dataType(4), plan::DataType::F32);
  EXPECT_EQ(dataType(8), plan::DataType::F32);
}
