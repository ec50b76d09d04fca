// SPDX-License-Identifier: Apache-2.0
// The packer against the runtime's verifier, against its lower bound, and against brute force on
// small entries.
#include "RandomEntries.h"

#include "tenon/Dialect/Plan/Transforms/BufferPacking.h"
#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"
#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/Verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

using namespace tenon;
using plan::PackingProblem;

/// Smallest arena of all packings: some order of first-fit placement gives it.
static int64_t bruteForce(const PackingProblem &problem) {
  int count = problem.bytes.size();
  std::vector<std::vector<bool>> conflict(count, std::vector<bool>(count));
  for (auto [a, b] : problem.conflicts)
    conflict[a][b] = conflict[b][a] = true;
  std::vector<int> order;
  for (int b = 0; b < count; ++b)
    if (problem.bytes[b] > 0)
      order.push_back(b);
  int64_t best = -1;
  do {
    std::vector<int64_t> offsets(count, -1);
    int64_t arena = 0;
    for (int b : order) {
      int64_t at = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (int other = 0; other < count; ++other)
          if (conflict[b][other] && offsets[other] >= 0 &&
              at < offsets[other] + problem.bytes[other] &&
              offsets[other] < at + problem.bytes[b]) {
            at = offsets[other] + problem.bytes[other];
            moved = true;
          }
      }
      offsets[b] = at;
      arena = std::max(arena, at + problem.bytes[b]);
    }
    if (best < 0 || arena < best)
      best = arena;
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

/// Schedules, merges in place, packs; returns the problem.
static PackingProblem packEntry(plan::Entry &entry, bool inPlace) {
  plan::scheduleStreams(entry);
  if (inPlace)
    plan::coalesceInPlace(entry);
  PackingProblem problem = plan::packingProblem(entry);
  std::vector<int64_t> offsets = plan::pack(problem);
  for (size_t b = 0; b < offsets.size(); ++b)
    entry.buffers[b].offset = offsets[b];
  entry.arenaBytes = plan::evaluate(problem, offsets);
  entry.liveBytesBound = plan::liveBytesBound(problem);
  return problem;
}

TEST(Packing, IsAcceptedByTheVerifier) {
  for (unsigned seed = 0; seed < 400; ++seed)
    for (bool inPlace : {false, true}) {
      plan::Plan plan = test::randomPlan(seed, 1 + seed % 60);
      packEntry(plan.entries[0], inPlace);
      ASSERT_GE(plan.entries[0].arenaBytes, plan.entries[0].liveBytesBound);
      Status status = plan::verifyAll(plan);
      ASSERT_TRUE(status.ok()) << "seed " << seed << (inPlace ? ", in place: " : ": ")
                               << status.message();
    }
}

TEST(Packing, IsNearlyOptimalOnSmallEntries) {
  int optimal = 0, cases = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    plan::Plan plan = test::randomPlan(seed, 6);
    PackingProblem problem = packEntry(plan.entries[0], true);
    if (std::count_if(problem.bytes.begin(), problem.bytes.end(),
                      [](int64_t bytes) { return bytes > 0; }) > 7)
      continue;
    int64_t best = bruteForce(problem);
    EXPECT_GE(best, plan.entries[0].liveBytesBound) << "seed " << seed;
    EXPECT_LE(plan.entries[0].arenaBytes, best * 1.1) << "seed " << seed;
    optimal += plan.entries[0].arenaBytes == best;
    ++cases;
  }
  EXPECT_GT(cases, 100);
  EXPECT_GE(optimal, cases * 98 / 100);
}

TEST(Packing, OverlapIsFoundByEvaluate) {
  PackingProblem problem{{64, 128}, {0, 0}, {1, 1}, {{0, 1}}};
  EXPECT_EQ(plan::evaluate(problem, {128, 0}), 192);
  EXPECT_EQ(plan::evaluate(problem, {64, 0}), -1);
  EXPECT_EQ(plan::evaluate(problem, {130, 0}), -1) << "not a multiple of 64";
  EXPECT_EQ(plan::liveBytesBound(problem), 192);
}

TEST(Packing, InPlaceAllReduceNeverNeedsMore) {
  int saved = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    plan::Plan apart = test::randomPlan(seed, 30), merged = apart;
    packEntry(apart.entries[0], false);
    packEntry(merged.entries[0], true);
    EXPECT_LE(merged.entries[0].liveBytesBound, apart.entries[0].liveBytesBound) << "seed " << seed;
    saved += merged.entries[0].buffers.size() < apart.entries[0].buffers.size();
  }
  EXPECT_GT(saved, 20);
}
