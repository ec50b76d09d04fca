// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/OutputAssembly.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using plan::DataType;
using Numbers = std::vector<float>;

constexpr float pad = -99;

plan::IO output(std::vector<int64_t> shape, std::vector<plan::Axes> axes) {
  plan::IO io;
  io.name = "y";
  io.shape = std::move(shape);
  io.dimAxes = std::move(axes);
  return io;
}

plan::Plan mesh(std::vector<int64_t> sizes) {
  plan::Plan plan;
  for (size_t i = 0; i < sizes.size(); ++i)
    plan.mesh.push_back({"a" + std::to_string(i), sizes[i], "a" + std::to_string(i)});
  return plan;
}

Numbers join(const plan::Plan &plan, const plan::IO &io, const Numbers &blocks) {
  HostArray whole = joinBlocks(plan, io, reinterpret_cast<const std::byte *>(blocks.data()));
  EXPECT_EQ(whole.shape, io.shape);
  Numbers values(whole.bytes.size() / 4);
  std::memcpy(values.data(), whole.bytes.data(), whole.bytes.size());
  return values;
}

TEST(OutputAssemblyTest, blocksNest) {
  // 5 over 2x2: blocks of 2; owned 2, 1, 2, 0.
  EXPECT_EQ(join(mesh({2, 2}), output({5}, {{0, 1}}), {0, 1, 2, pad, 3, 4, pad, pad}),
            (Numbers{0, 1, 2, 3, 4}));
}

TEST(OutputAssemblyTest, aRankMayOwnNothing) {
  // 12 over 5: blocks of 3; owned 3, 3, 3, 3, 0.
  EXPECT_EQ(
      join(mesh({5}), output({12}, {{0}}), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, pad, pad, pad}),
      (Numbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST(OutputAssemblyTest, theInnerDimensionInterleaves) {
  // [2,3] over 2 on the last: blocks [2,2], the second has one column.
  EXPECT_EQ(join(mesh({2}), output({2, 3}, {{}, {0}}), {0, 1, 3, 4, 2, pad, 5, pad}),
            (Numbers{0, 1, 2, 3, 4, 5}));
}

TEST(OutputAssemblyTest, bothDimensions) {
  // [3,3] over 2 x 2: blocks [2,2].
  EXPECT_EQ(join(mesh({2, 2}), output({3, 3}, {{0}, {1}}),
                 {0, 1, 3, 4, 2, pad, 5, pad, 6, 7, pad, pad, 8, pad, pad, pad}),
            (Numbers{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(OutputAssemblyTest, ofCopiesThoseAtCoordinateZeroSpeak) {
  // Cut over the minor axis only: ranks 2 and 3 hold copies.
  EXPECT_EQ(join(mesh({2, 2}), output({4}, {{1}}), {0, 1, 2, 3, pad, pad, pad, pad}),
            (Numbers{0, 1, 2, 3}));
  EXPECT_EQ(join(mesh({2, 2}), output({4}, {{0}}), {0, 1, pad, pad, 2, 3, pad, pad}),
            (Numbers{0, 1, 2, 3}));
}

TEST(OutputAssemblyTest, ranksAssembleTogether) {
  plan::Plan plan = mesh({2, 2});
  plan::IO io = output({5}, {{0, 1}});
  const Numbers blocks = {0, 1, 2, pad, 3, 4, pad, pad};
  Status status = runThreadRanks(4, [&](Communicator &world) {
    HostArray mine{DataType::F32, {2}, std::vector<std::byte>(8)};
    std::memcpy(mine.bytes.data(), &blocks[size_t(world.rank()) * 2], 8);
    Expected<HostArray> whole = assembleOutput(plan, io, mine, world);
    if (!whole)
      return whole.status();
    Numbers values(5);
    std::memcpy(values.data(), whole->bytes.data(), 20);
    return values == Numbers{0, 1, 2, 3, 4} ? Status() : Status(Code::Differs, "wrong values");
  });
  EXPECT_TRUE(status) << status.message();
  EXPECT_EQ(assemblyBytes(plan, io), 3 * 2 * 4);
  EXPECT_EQ(assemblyBytes(plan, output({5}, {{}})), 0);
}

HostArray floats(const Numbers &values) {
  HostArray array{DataType::F32, {int64_t(values.size())}, {}};
  array.bytes.resize(values.size() * 4);
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

TEST(CompareValuesTest, toleranceIsRelativeToTheExpectedValue) {
  EXPECT_TRUE(compareValues(floats({101}), floats({100}), 0.01, 0).equal);
  EXPECT_FALSE(compareValues(floats({100}), floats({98.9f}), 0.01, 0).equal);
  EXPECT_TRUE(compareValues(floats({0.5}), floats({0}), 0, 0.5).equal);
  EXPECT_FALSE(compareValues(floats({0.5}), floats({0}), 1, 0.25).equal);
}

TEST(CompareValuesTest, theWorstExcessIsNamed) {
  Comparison comparison = compareValues(floats({1, 2, 1000}), floats({1.5, 2, 1001}), 1e-2, 0);
  EXPECT_FALSE(comparison.equal);
  EXPECT_EQ(comparison.maxError, 1); // within the tolerance of 10 at element 2
  EXPECT_EQ(comparison.index, (std::vector<int64_t>{0}));
  EXPECT_EQ(comparison.expected, 1.5);
  EXPECT_EQ(comparison.found, 1);
}

TEST(CompareValuesTest, theLargestOfSeveralExcessesIsNamed) {
  Comparison comparison =
      compareValues(floats({0, 0.01f, 100, 50}), floats({0, 0, 0, 0}), 1e-5, 1e-5);
  EXPECT_EQ(comparison.index, (std::vector<int64_t>{2}));
  EXPECT_EQ(comparison.found, 100);
}

TEST(CompareValuesTest, integersBeyondTheReachOfDoubles) {
  auto integers = [](std::vector<int64_t> values) {
    HostArray array{DataType::I64, {int64_t(values.size())}, {}};
    array.bytes.resize(values.size() * 8);
    std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
    return array;
  };
  const int64_t large = (int64_t(1) << 60) + 1;
  EXPECT_TRUE(compareValues(integers({1, large}), integers({1, large}), 0, 0).equal);
  Comparison comparison = compareValues(integers({1, large}), integers({1, large + 1}), 0, 0);
  EXPECT_FALSE(comparison.equal);
  EXPECT_EQ(comparison.index, (std::vector<int64_t>{1}));
}

TEST(CompareValuesTest, nanAndInfinityEqualThemselvesOnly) {
  const float nan = NAN, inf = INFINITY;
  EXPECT_TRUE(compareValues(floats({nan, inf}), floats({nan, inf}), 0, 0).equal);
  EXPECT_FALSE(compareValues(floats({nan}), floats({0}), 1, 1).equal);
  EXPECT_FALSE(compareValues(floats({0}), floats({nan}), 1, 1).equal);
  EXPECT_FALSE(compareValues(floats({inf}), floats({-inf}), 1, 1).equal);
  EXPECT_FALSE(compareValues(floats({0}), floats({inf}), 1, 1).equal);
}

} // namespace
} // namespace tenon::runtime
