// SPDX-License-Identifier: Apache-2.0
// Nested blocks against a twin that cuts lists of elements, and rank-dependent numbers.
#include "tenon/runtime/plan/Blocks.h"
#include "tenon/runtime/plan/Resolve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

using namespace tenon::plan;

namespace {

/// The twin: pads a list of elements to p equal pieces (-1 is padding) and keeps piece c, level by
/// level.
std::vector<int64_t> cut(int64_t n, const std::vector<int64_t> &sizes,
                         const std::vector<int64_t> &coordinates) {
  std::vector<int64_t> held(n);
  std::iota(held.begin(), held.end(), 0);
  for (size_t i = 0; i < sizes.size(); ++i) {
    while (held.size() % sizes[i] != 0)
      held.push_back(-1);
    int64_t piece = held.size() / sizes[i];
    held = std::vector<int64_t>(held.begin() + coordinates[i] * piece,
                                held.begin() + (coordinates[i] + 1) * piece);
  }
  return held;
}

std::vector<std::vector<int64_t>> allCoordinates(const std::vector<int64_t> &sizes) {
  std::vector<std::vector<int64_t>> result{{}};
  for (int64_t p : sizes) {
    std::vector<std::vector<int64_t>> next;
    for (const auto &prefix : result)
      for (int64_t c = 0; c < p; ++c) {
        next.push_back(prefix);
        next.back().push_back(c);
      }
    result = next;
  }
  return result;
}

std::vector<int64_t> starts(int64_t n, const std::vector<int64_t> &sizes) {
  std::vector<int64_t> result;
  for (const auto &c : allCoordinates(sizes))
    result.push_back(block(n, sizes, c).start);
  return result;
}

std::vector<int64_t> lengths(int64_t n, const std::vector<int64_t> &sizes) {
  std::vector<int64_t> result;
  for (const auto &c : allCoordinates(sizes))
    result.push_back(block(n, sizes, c).length);
  return result;
}

using List = std::vector<int64_t>;

TEST(Blocks, HeaderExamples) {
  EXPECT_EQ(starts(5, {2, 2}), (List{0, 2, 3, 5}));
  EXPECT_EQ(lengths(5, {2, 2}), (List{2, 1, 2, 0}));
  EXPECT_EQ(lengths(12, {5}), (List{3, 3, 3, 3, 0}));
  EXPECT_EQ(lengths(14, {2, 2}), (List{4, 3, 4, 3}));
}

TEST(Blocks, VocabularyOverFour) {
  // ceil(30522 / 4) = 7631; the last rank owns 30522 - 3 * 7631.
  EXPECT_EQ(blockSize(30522, {4}), 7631);
  EXPECT_EQ(lengths(30522, {4}), (List{7631, 7631, 7631, 7629}));
  // Nested: ceil(30522 / 2) = 15261, ceil(15261 / 2) = 7631; rank 1 owns one less than its block.
  EXPECT_EQ(lengths(30522, {2, 2}), (List{7631, 7630, 7631, 7630}));
  EXPECT_EQ(starts(30522, {2, 2}), (List{0, 7631, 15261, 22892}));
}

TEST(Blocks, SizesZeroAndOne) {
  EXPECT_EQ(blockSize(0, {2, 3}), 0);
  EXPECT_EQ(lengths(0, {2, 2}), (List{0, 0, 0, 0}));
  EXPECT_EQ(blockSize(1, {4}), 1);
  EXPECT_EQ(lengths(1, {4}), (List{1, 0, 0, 0}));
  EXPECT_EQ(starts(1, {2, 2}), (List{0, 1, 1, 1}));
}

TEST(Blocks, NoAxesIsTheWhole) {
  Block whole = block(7, {}, {});
  EXPECT_EQ(whole.start, 0);
  EXPECT_EQ(whole.length, 7);
  EXPECT_EQ(whole.size, 7);
}

TEST(Blocks, AgreesWithCuttingLists) {
  const std::vector<List> meshes = {{},     {1},    {2},    {3},       {5},       {2, 2},   {2, 3},
                                    {3, 2}, {4, 2}, {1, 4}, {2, 2, 2}, {3, 1, 2}, {2, 3, 2}};
  for (const List &sizes : meshes)
    for (int64_t n = 0; n <= 40; ++n)
      for (const auto &c : allCoordinates(sizes)) {
        List held = cut(n, sizes, c);
        List owned;
        std::copy_if(held.begin(), held.end(), std::back_inserter(owned),
                     [](int64_t i) { return i >= 0; });
        Block b = block(n, sizes, c);
        ASSERT_EQ(b.size, int64_t(held.size()));
        ASSERT_EQ(b.size, blockSize(n, sizes));
        ASSERT_EQ(b.length, int64_t(owned.size())) << "n " << n;
        if (!owned.empty()) {
          ASSERT_EQ(b.start, owned.front());
        }
      }
}

const std::vector<MeshAxis> mesh2x2 = {{"node", 2, "node"}, {"tp", 2, "tp"}};

TEST(Resolve, CoordinatesAreRowMajor) {
  EXPECT_EQ(coordinates(mesh2x2, 0), (List{0, 0}));
  EXPECT_EQ(coordinates(mesh2x2, 1), (List{0, 1}));
  EXPECT_EQ(coordinates(mesh2x2, 3), (List{1, 1}));
  EXPECT_EQ(coordinates({}, 0), List{});
}

TEST(Resolve, EvaluatesStartAndLength) {
  RankValue value{RankValue::Kind::Start, 10, 100, 5, {0, 1}};
  EXPECT_EQ(evaluate(value, mesh2x2, {1, 0}), 10 + 100 * 3);
  value.kind = RankValue::Kind::Length;
  EXPECT_EQ(evaluate(value, mesh2x2, {1, 0}), 10 + 100 * 2);
  value.kind = RankValue::Kind::Constant;
  EXPECT_EQ(evaluate(value, mesh2x2, {1, 0}), 10);
  // Axes count in the order they are listed: tp major here.
  EXPECT_EQ(evaluate({RankValue::Kind::Start, 0, 1, 5, {1, 0}}, mesh2x2, {1, 0}), 2);
}

TEST(Resolve, MakesEveryNumberConstant) {
  Plan plan;
  plan.mesh = mesh2x2;
  Entry entry;
  GatherRows gather;
  gather.table.offset = {RankValue::Kind::Start, 1, 2, 8, {1}};
  gather.base = {RankValue::Kind::Start, 0, 1, 8, {0, 1}};
  gather.rows = {RankValue::Kind::Length, 0, 1, 5, {0, 1}};
  entry.ops.push_back({gather, 0, "", 0});
  Fill fill;
  fill.from = {RankValue::Kind::Length, 0, 1, 5, {0}};
  entry.ops.push_back({fill, 0, "", 0});
  Entry mine = resolve(plan, entry, {1, 1});
  const auto &g = std::get<GatherRows>(mine.ops[0].body);
  EXPECT_EQ(g.table.offset.kind, RankValue::Kind::Constant);
  EXPECT_EQ(g.table.offset.base, 1 + 2 * 4);
  EXPECT_EQ(g.base.base, 6);
  EXPECT_EQ(g.rows.base, 0);
  EXPECT_EQ(g.rows.kind, RankValue::Kind::Constant);
  EXPECT_EQ(std::get<Fill>(mine.ops[1].body).from.base, 2);
}

TEST(DataTypes, WidthAndName) {
  const std::vector<std::tuple<DataType, int64_t, std::string>> table = {
      {DataType::F32, 4, "f32"}, {DataType::BF16, 2, "bf16"}, {DataType::F16, 2, "f16"},
      {DataType::I32, 4, "i32"}, {DataType::I64, 8, "i64"},   {DataType::I1, 1, "i1"}};
  for (const auto &[type, width, text] : table) {
    EXPECT_EQ(byteWidth(type), width);
    EXPECT_EQ(name(type), text);
  }
}

} // namespace
