// SPDX-License-Identifier: Apache-2.0
#include "Ownership.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

using namespace tenon::sharding;
using namespace tenon::sharding::test;

/// Bytes plus a latency: what any sensible model charges.
static StepPrice byBytes(const std::vector<int64_t> &shape, const Mesh &mesh) {
  return [&](const Step &step, const Sharding &before) {
    return step.kind == StepKind::Slice ? 0.001 : 1 + stepBytes(step, before, shape, mesh, 4);
  };
}

/// An arbitrary price that depends on everything: leads paths through odd places.
static StepPrice scrambled(unsigned seed) {
  return [seed](const Step &step, const Sharding &before) {
    std::vector<int> words{static_cast<int>(step.kind), step.dim, step.fromDim};
    words.insert(words.end(), step.axes.begin(), step.axes.end());
    for (const AxisList &list : before.dims) {
      words.push_back(-1);
      words.insert(words.end(), list.begin(), list.end());
    }
    words.push_back(-2);
    words.insert(words.end(), before.partial.begin(), before.partial.end());
    std::seed_seq sequence(words.begin(), words.end());
    std::mt19937 random(sequence);
    random.discard(seed);
    return 1.0 + static_cast<double>(random() % 1000);
  };
}

static Sharding on(std::vector<AxisList> dims, AxisList partial = {}) {
  return {std::move(dims), std::move(partial), Reduction::Sum};
}

static ReshardPath pathOf(const Sharding &from, const Sharding &to,
                          const std::vector<int64_t> &shape, const Mesh &mesh) {
  auto path = reshardPath(from, to, shape, mesh, byBytes(shape, mesh));
  EXPECT_TRUE(path.has_value());
  return path.value_or(ReshardPath{});
}

TEST(Reshard, EqualShardingsNeedNothing) {
  Mesh mesh = meshOf({4});
  ReshardPath path = pathOf(on({{0}, {}}), on({{0}, {}}), {8, 8}, mesh);
  EXPECT_TRUE(path.steps.empty());
  EXPECT_EQ(path.seconds, 0);
  EXPECT_FALSE(path.communicates());
}

TEST(Reshard, EachPairHasItsCollective) {
  Mesh mesh = meshOf({4});
  auto only = [&](const Sharding &from, const Sharding &to) {
    ReshardPath path = pathOf(from, to, {8, 8}, mesh);
    EXPECT_EQ(path.steps.size(), 1u);
    return path.steps.empty() ? Step{} : path.steps[0];
  };
  EXPECT_EQ(only(on({{}, {}}), on({{0}, {}})), (Step{StepKind::Slice, {0}, 0, -1, on({{0}, {}})}));
  EXPECT_EQ(only(on({{}, {0}}), on({{}, {}})),
            (Step{StepKind::AllGather, {0}, 1, -1, on({{}, {}})}));
  EXPECT_EQ(only(on({{}, {0}}), on({{0}, {}})),
            (Step{StepKind::AllToAll, {0}, 0, 1, on({{0}, {}})}));
  EXPECT_EQ(only(on({{}, {}}, {0}), on({{}, {0}})),
            (Step{StepKind::ReduceScatter, {0}, 1, -1, on({{}, {0}})}));
  EXPECT_EQ(only(on({{}, {}}, {0}), on({{}, {}})),
            (Step{StepKind::AllReduce, {0}, -1, -1, on({{}, {}})}));
}

TEST(Reshard, SplitAxisMovesAsOneRun) {
  Mesh mesh = meshOf({2, 2});
  ReshardPath path = pathOf(on({{0, 1}, {}}), on({{}, {0, 1}}), {8, 8}, mesh);
  ASSERT_EQ(path.steps.size(), 1u);
  EXPECT_EQ(path.steps[0].kind, StepKind::AllToAll);
  EXPECT_EQ(path.steps[0].axes, (AxisList{0, 1}));
}

TEST(Reshard, PartialIsNeverEntered) {
  Mesh mesh = meshOf({2, 2});
  EXPECT_FALSE(reshardPath(on({{}}), on({{}}, {0}), {4}, mesh, byBytes({4}, mesh)).has_value());
  EXPECT_FALSE(
      reshardPath(on({{}}, {1}), on({{}}, {0}), {4}, mesh, byBytes({4}, mesh)).has_value());
  EXPECT_EQ(ReshardGraph({4}, mesh, scrambled(0)).seconds(on({{}}), on({{}}, {0})),
            std::numeric_limits<double>::infinity());
}

TEST(Reshard, ReductionKindNeverChanges) {
  Mesh mesh = meshOf({2, 2});
  std::vector<int64_t> shape{4};
  Sharding from = on({{}}, {0, 1}), to = on({{}}, {0});
  from.reduction = Reduction::Max;
  EXPECT_FALSE(reshardPath(from, to, shape, mesh, byBytes(shape, mesh)).has_value());
  to.reduction = Reduction::Max;
  EXPECT_TRUE(reshardPath(from, to, shape, mesh, byBytes(shape, mesh)).has_value());
  // Fully reduced, the kind means nothing.
  EXPECT_TRUE(reshardPath(from, on({{}}), shape, mesh, byBytes(shape, mesh)).has_value());
}

TEST(Reshard, OneAllReduceForTwoPartialAxes) {
  Mesh mesh = meshOf({2, 2});
  std::vector<int64_t> shape{1};
  auto path = reshardPath(on({{}}, {0, 1}), on({{}}), shape, mesh, byBytes(shape, mesh));
  ASSERT_TRUE(path.has_value());
  ASSERT_EQ(path->steps.size(), 1u);
  EXPECT_EQ(path->steps[0].axes, (AxisList{0, 1}));
}

TEST(Reshard, EqualPricesGoToFewerStepsThenReduceScatter) {
  Mesh mesh = meshOf({2});
  std::vector<int64_t> shape{4};
  // An all_reduce costs what reduce_scatter and all_gather cost together: one step wins.
  StepPrice price = [](const Step &step, const Sharding &) {
    return step.kind == StepKind::AllReduce ? 2.0 : 1.0;
  };
  auto path = reshardPath(on({{}}, {0}), on({{}}), shape, mesh, price);
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(path->steps.size(), 1u);
  // Two ways of two steps: reduce_scatter + all_gather, all_reduce + slice lead elsewhere; here
  // both end in {0}.
  auto scattered = reshardPath(on({{}}, {0}), on({{0}}), shape, mesh,
                               [](const Step &, const Sharding &) { return 0.0; });
  ASSERT_TRUE(scattered.has_value());
  ASSERT_EQ(scattered->steps.size(), 1u);
  EXPECT_EQ(scattered->steps[0].kind, StepKind::ReduceScatter);
}

TEST(Reshard, BytesInTheRingForm) {
  Mesh mesh = meshOf({4});
  std::vector<int64_t> shape{8, 4}; // 32 elements of 4 bytes.
  Sharding whole = on({{}, {}}), rows = on({{0}, {}}), columns = on({{}, {0}}),
           partial = on({{}, {}}, {0});
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::AllReduce, {0}, -1, -1, whole}, partial, shape, mesh, 4),
                   2 * 0.75 * 128);
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::AllGather, {0}, 0, -1, whole}, rows, shape, mesh, 4),
                   0.75 * 128);
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::ReduceScatter, {0}, 0, -1, rows}, partial, shape, mesh, 4),
                   0.75 * 128);
  // One rank holds 32 bytes and sends three quarters of them.
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::AllToAll, {0}, 1, 0, columns}, rows, shape, mesh, 4),
                   0.75 * 32);
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::Slice, {0}, 0, -1, rows}, whole, shape, mesh, 4), 0);
  // 5 over 4 has blocks of 2: padding travels too.
  EXPECT_DOUBLE_EQ(stepBytes({StepKind::AllGather, {0}, 0, -1, on({{}})}, on({{0}}), {5}, mesh, 4),
                   0.75 * 8 * 4);
}

/// Every pair of shardings: a path exists exactly when partial is not entered, its steps join up,
/// its price is their sum, and the data arrive.
static void tryAllPairs(const Mesh &mesh, const std::vector<std::vector<int64_t>> &shapes) {
  std::mt19937 random(11);
  for (const std::vector<int64_t> &shape : shapes)
    for (unsigned seed = 0; seed < 3; ++seed) {
      StepPrice price = seed == 0 ? byBytes(shape, mesh) : scrambled(seed);
      ReshardGraph graph(shape, mesh, price);
      const std::vector<Sharding> all = allShardings(static_cast<int64_t>(shape.size()), mesh);
      for (const Sharding &from : all)
        for (const Sharding &to : all) {
          auto path = graph.path(from, to);
          const bool possible = std::includes(from.partial.begin(), from.partial.end(),
                                              to.partial.begin(), to.partial.end());
          ASSERT_EQ(path.has_value(), possible)
              << toString(from, mesh) << " to " << toString(to, mesh);
          if (!possible)
            continue;
          Ranks ranks(shape, from, mesh, random);
          Sharding now = from;
          double seconds = 0;
          for (const Step &step : path->steps) {
            seconds += price(step, now);
            ranks.run(step, now, expand(step, now, shape, mesh));
            now = step.after;
          }
          ASSERT_EQ(now, to);
          ASSERT_DOUBLE_EQ(seconds, path->seconds);
          ASSERT_EQ(ranks.differs(to), "") << toString(from, mesh) << " to " << toString(to, mesh)
                                           << " on " << ::testing::PrintToString(shape);
        }
    }
}

TEST(Reshard, EveryPairOverTwo) { tryAllPairs(meshOf({2}), shapesUpTo(9, {1, 2, 3, 4, 5, 7, 8})); }
TEST(Reshard, EveryPairOverThree) {
  tryAllPairs(meshOf({3}), shapesUpTo(9, {1, 2, 3, 4, 5, 7, 8}));
}
TEST(Reshard, EveryPairOverFour) { tryAllPairs(meshOf({4}), shapesUpTo(9, {1, 2, 3, 4, 5, 7, 8})); }
TEST(Reshard, EveryPairOverTwoByTwo) {
  tryAllPairs(meshOf({2, 2}), shapesUpTo(9, {1, 3, 4, 5, 8}));
}
TEST(Reshard, EveryPairOverTwoByThree) { tryAllPairs(meshOf({2, 3}), shapesUpTo(9, {1, 5, 6, 7})); }

/// Single moves by definition, written anew: does `step` lead from `from` to `to`, and which step
/// is it?
static std::vector<Step> movesBetween(const Sharding &from, const Sharding &to) {
  std::vector<Step> moves;
  const int rank = static_cast<int>(from.dims.size());
  std::vector<int> changed;
  for (int dim = 0; dim < rank; ++dim)
    if (from.dims[dim] != to.dims[dim])
      changed.push_back(dim);
  auto gained = [&](int dim) -> AxisList {
    const AxisList &a = from.dims[dim], &b = to.dims[dim];
    if (b.size() <= a.size() || !std::equal(a.begin(), a.end(), b.begin()))
      return {};
    return {b.begin() + static_cast<std::ptrdiff_t>(a.size()), b.end()};
  };
  auto lost = [&](int dim) -> AxisList {
    const AxisList &a = from.dims[dim], &b = to.dims[dim];
    if (a.size() <= b.size() || !std::equal(b.begin(), b.end(), a.begin()))
      return {};
    return {a.begin() + static_cast<std::ptrdiff_t>(b.size()), a.end()};
  };
  AxisList dropped;
  std::set_difference(from.partial.begin(), from.partial.end(), to.partial.begin(),
                      to.partial.end(), std::back_inserter(dropped));
  const bool samePartial = from.partial == to.partial;
  const bool subset =
      std::includes(from.partial.begin(), from.partial.end(), to.partial.begin(), to.partial.end());
  auto inMeshOrder = [](const AxisList &run) { return std::is_sorted(run.begin(), run.end()); };
  if (changed.empty() && subset && !dropped.empty())
    moves.push_back({StepKind::AllReduce, dropped, -1, -1, to});
  if (changed.size() == 1) {
    AxisList in = gained(changed[0]), out = lost(changed[0]);
    if (samePartial && !in.empty() && inMeshOrder(in))
      moves.push_back({StepKind::Slice, in, changed[0], -1, to});
    if (samePartial && !out.empty())
      moves.push_back({StepKind::AllGather, out, changed[0], -1, to});
    if (subset && !dropped.empty() && in == dropped)
      moves.push_back({StepKind::ReduceScatter, in, changed[0], -1, to});
  }
  if (changed.size() == 2 && samePartial)
    for (int k = 0; k < 2; ++k)
      if (AxisList out = lost(changed[k]); !out.empty() && gained(changed[1 - k]) == out)
        moves.push_back({StepKind::AllToAll, out, changed[1 - k], changed[k], to});
  return moves;
}

TEST(Reshard, PathsAreAsCheapAsTheBestOfAllWalks) {
  for (const Mesh &mesh : {meshOf({2, 2}), meshOf({2, 3})})
    for (const std::vector<int64_t> &shape : {std::vector<int64_t>{8, 8}, {6, 12}, {7, 9}})
      for (unsigned seed = 0; seed < 6; ++seed) {
        StepPrice price = seed == 0 ? byBytes(shape, mesh) : scrambled(seed);
        const std::vector<Sharding> all = allShardings(2, mesh);
        const size_t n = all.size();
        std::vector<std::vector<double>> best(
            n, std::vector<double>(n, std::numeric_limits<double>::infinity()));
        for (size_t i = 0; i < n; ++i) {
          best[i][i] = 0;
          for (size_t j = 0; j < n; ++j)
            for (const Step &step : movesBetween(all[i], all[j]))
              best[i][j] = std::min(best[i][j], price(step, all[i]));
        }
        for (size_t k = 0; k < n; ++k)
          for (size_t i = 0; i < n; ++i)
            for (size_t j = 0; j < n; ++j)
              best[i][j] = std::min(best[i][j], best[i][k] + best[k][j]);
        ReshardGraph graph(shape, mesh, price);
        for (size_t i = 0; i < n; ++i)
          for (size_t j = 0; j < n; ++j) {
            double seconds = graph.seconds(all[i], all[j]);
            if (std::isinf(best[i][j]))
              ASSERT_EQ(seconds, best[i][j]);
            else
              ASSERT_NEAR(seconds, best[i][j], 1e-9 * (1 + best[i][j]))
                  << toString(all[i], mesh) << " to " << toString(all[j], mesh);
          }
      }
}

TEST(Reshard, ManyQuestionsGetTheAnswersOfFreshGraphs) {
  Mesh mesh = meshOf({2, 2});
  // 1 is smaller than the axes: such lists enter only when asked for.
  std::vector<int64_t> shape{1, 6};
  StepPrice price = scrambled(3);
  ReshardGraph graph(shape, mesh, price);
  for (const Sharding &from : allShardings(2, mesh))
    for (const Sharding &to : allShardings(2, mesh)) {
      auto shared = graph.path(from, to);
      auto fresh = reshardPath(from, to, shape, mesh, price);
      ASSERT_EQ(shared.has_value(), fresh.has_value());
      if (shared) {
        ASSERT_LE(shared->seconds, fresh->seconds);
      }
    }
}
