// SPDX-License-Identifier: Apache-2.0
// The recipe of every single step, run on ranks that hold plain arrays.
#include "Ownership.h"

#include <gtest/gtest.h>

using namespace tenon::sharding;
using namespace tenon::sharding::test;
using Kind = LocalAction::Kind;

static std::vector<Kind> kinds(const std::vector<LocalAction> &actions) {
  std::vector<Kind> result;
  for (const LocalAction &action : actions)
    result.push_back(action.kind);
  return result;
}

TEST(LocalActions, GatherOfFiveOverTwoByTwoCutsAtEveryLevel) {
  Mesh mesh = meshOf({2, 2});
  Sharding before{{{0, 1}}, {}, Reduction::Sum}, after = Sharding::replicated(1);
  auto actions = expand({StepKind::AllGather, {0, 1}, 0, -1, after}, before, {5}, mesh);
  // [2] -> gather [4,2] -> [2,2,2] -> [2,4] -> [2,3] -> [6] -> [5].
  EXPECT_EQ(kinds(actions), (std::vector<Kind>{Kind::Collective, Kind::Reshape, Kind::Reshape,
                                               Kind::Cut, Kind::Reshape, Kind::Cut}));
  EXPECT_EQ(actions[0].shape, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(actions[3].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(actions.back().shape, (std::vector<int64_t>{5}));

  std::mt19937 random(1);
  Ranks ranks({5}, before, mesh, random);
  ranks.run({StepKind::AllGather, {0, 1}, 0, -1, after}, before, actions);
  EXPECT_EQ(ranks.locals[3].data, (std::vector<double>{1, 2, 3, 4, 5}));
}

TEST(LocalActions, SliceOfFiveOverTwoByTwoPadsAtEveryLevel) {
  Mesh mesh = meshOf({2, 2});
  Sharding before = Sharding::replicated(1), after{{{0, 1}}, {}, Reduction::Sum};
  Step step{StepKind::Slice, {0, 1}, 0, -1, after};
  std::mt19937 random(1);
  Ranks ranks({5}, before, mesh, random);
  ranks.run(step, before, expand(step, before, {5}, mesh));
  // Owned 2, 1, 2, 0; the rest is zero.
  EXPECT_EQ(ranks.locals[0].data, (std::vector<double>{1, 2}));
  EXPECT_EQ(ranks.locals[1].data, (std::vector<double>{3, 0}));
  EXPECT_EQ(ranks.locals[2].data, (std::vector<double>{4, 5}));
  EXPECT_EQ(ranks.locals[3].data, (std::vector<double>{0, 0}));
}

TEST(LocalActions, EvenLeadingDimensionNeedsNoCopies) {
  Mesh mesh = meshOf({4});
  Sharding cut{{{0}, {}}, {}, Reduction::Sum}, whole = Sharding::replicated(2);
  Sharding partial = whole;
  partial.partial = {0};
  for (const auto &[step, before] :
       {std::pair<Step, Sharding>{{StepKind::AllGather, {0}, 0, -1, whole}, cut},
        {{StepKind::ReduceScatter, {0}, 0, -1, cut}, partial},
        {{StepKind::AllReduce, {0}, -1, -1, whole}, partial}})
    for (const LocalAction &action : expand(step, before, {8, 3}, mesh))
      EXPECT_TRUE(action.kind == Kind::Collective || action.kind == Kind::Reshape);
}

TEST(LocalActions, GatherAlongTheSecondDimensionTransposesIntoPlace) {
  Mesh mesh = meshOf({2});
  Sharding before{{{}, {0}}, {}, Reduction::Sum};
  auto actions =
      expand({StepKind::AllGather, {0}, 1, -1, Sharding::replicated(2)}, before, {3, 4}, mesh);
  EXPECT_EQ(kinds(actions), (std::vector<Kind>{Kind::Collective, Kind::Transpose, Kind::Reshape}));
  EXPECT_EQ(actions[1].permutation, (std::vector<int>{1, 0, 2}));
}

/// Lists every step that the definitions allow from a sharding: runs of minor-most axes, in any
/// order when added.
static std::vector<Step> everyStep(const Sharding &before, const Mesh &mesh) {
  std::vector<Step> steps;
  const int rank = static_cast<int>(before.dims.size());
  std::vector<AxisList> runs;
  for (const Sharding &one : allShardings(1, mesh, false))
    if (!one.dims[0].empty())
      runs.push_back(one.dims[0]);
  auto has = [](const AxisList &list, int axis) {
    return std::find(list.begin(), list.end(), axis) != list.end();
  };
  auto all = [&](const AxisList &run, auto predicate) {
    return std::all_of(run.begin(), run.end(), predicate);
  };
  for (const AxisList &run : runs) {
    if (all(run, [&](int axis) { return has(before.partial, axis); })) {
      Sharding after = before;
      std::erase_if(after.partial, [&](int axis) { return has(run, axis); });
      if (after.partial.empty())
        after.reduction = Reduction::Sum;
      if (std::is_sorted(run.begin(), run.end()))
        steps.push_back({StepKind::AllReduce, run, -1, -1, after});
      for (int dim = 0; dim < rank && before.reduction == Reduction::Sum; ++dim) {
        Sharding scattered = after;
        scattered.dims[dim].insert(scattered.dims[dim].end(), run.begin(), run.end());
        steps.push_back({StepKind::ReduceScatter, run, dim, -1, scattered});
      }
    }
    if (all(run, [&](int axis) {
          return !has(before.partial, axis) &&
                 std::none_of(before.dims.begin(), before.dims.end(),
                              [&](const AxisList &list) { return has(list, axis); });
        }))
      for (int dim = 0; dim < rank; ++dim) {
        Sharding after = before;
        after.dims[dim].insert(after.dims[dim].end(), run.begin(), run.end());
        steps.push_back({StepKind::Slice, run, dim, -1, after});
      }
    for (int dim = 0; dim < rank; ++dim) {
      const AxisList &list = before.dims[dim];
      if (list.size() < run.size() || !std::equal(run.rbegin(), run.rend(), list.rbegin()))
        continue;
      Sharding after = before;
      after.dims[dim].resize(list.size() - run.size());
      steps.push_back({StepKind::AllGather, run, dim, -1, after});
      for (int other = 0; other < rank; ++other) {
        if (other == dim)
          continue;
        Sharding moved = after;
        moved.dims[other].insert(moved.dims[other].end(), run.begin(), run.end());
        steps.push_back({StepKind::AllToAll, run, other, dim, moved});
      }
    }
  }
  return steps;
}

/// Every step from every sharding of these shapes moves the data where the definition says.
static void tryAll(const Mesh &mesh, const std::vector<std::vector<int64_t>> &shapes) {
  std::mt19937 random(7);
  int64_t tried = 0;
  for (const std::vector<int64_t> &shape : shapes)
    for (Sharding before : allShardings(static_cast<int64_t>(shape.size()), mesh))
      for (Reduction reduction : {Reduction::Sum, Reduction::Max, Reduction::Min}) {
        before.reduction = reduction;
        if (reduction != Reduction::Sum && before.partial.empty())
          continue;
        for (const Step &step : everyStep(before, mesh)) {
          auto actions = expand(step, before, shape, mesh);
          Ranks ranks(shape, before, mesh, random);
          ranks.run(step, before, actions);
          ASSERT_EQ(ranks.differs(step.after), "")
              << "step " << static_cast<int>(step.kind) << " from " << toString(before, mesh)
              << " to " << toString(step.after, mesh) << " on " << ::testing::PrintToString(shape);
          if (!actions.empty()) {
            ASSERT_EQ(actions.back().shape, ranks.locals[0].shape);
          }
          ++tried;
        }
      }
  EXPECT_GT(tried, 100);
}

TEST(LocalActions, EveryStepOverTwo) { tryAll(meshOf({2}), shapesUpTo(9, {1, 2, 3, 5, 8})); }
TEST(LocalActions, EveryStepOverThree) { tryAll(meshOf({3}), shapesUpTo(9, {1, 2, 3, 5, 7, 9})); }
TEST(LocalActions, EveryStepOverFour) { tryAll(meshOf({4}), shapesUpTo(9, {1, 2, 3, 5, 8})); }
TEST(LocalActions, EveryStepOverTwoByTwo) {
  tryAll(meshOf({2, 2}), shapesUpTo(9, {1, 2, 3, 5, 8}));
}
TEST(LocalActions, EveryStepOverTwoByThree) { tryAll(meshOf({2, 3}), shapesUpTo(9, {1, 2, 5, 7})); }
TEST(LocalActions, EveryStepOverThreeAxes) { tryAll(meshOf({2, 2, 2}), {{5}, {9}, {3, 8}}); }
TEST(LocalActions, EveryStepOfThreeDimensions) { tryAll(meshOf({2, 2}), {{2, 3, 5}, {4, 1, 6}}); }
