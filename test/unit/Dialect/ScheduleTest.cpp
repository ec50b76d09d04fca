// SPDX-License-Identifier: Apache-2.0
// scheduleStreams against the runtime's verifier: what it makes is accepted, and no pair of events
// can go.
#include "RandomEntries.h"

#include "tenon/Dialect/Plan/Transforms/BufferPacking.h"
#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"
#include "tenon/runtime/plan/Verify.h"

#include <gtest/gtest.h>

using namespace tenon;

/// Gives every buffer bytes of its own, so that only the order of the streams can be wrong.
static void placeApart(plan::Entry &entry) {
  int64_t next = 0;
  for (plan::Buffer &buffer : entry.buffers) {
    buffer.offset = next;
    next += (buffer.elements * plan::byteWidth(buffer.type) + 63) / 64 * 64;
  }
  entry.arenaBytes = next;
}

TEST(ScheduleStreams, IsAcceptedByTheVerifier) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    plan::Plan plan = test::randomPlan(seed, 1 + seed % 40);
    plan::scheduleStreams(plan.entries[0]);
    placeApart(plan.entries[0]);
    Status status = plan::verifyAll(plan);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.message();
  }
}

TEST(ScheduleStreams, NeedsEveryWait) {
  int dropped = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    plan::Plan plan = test::randomPlan(seed, 25);
    plan::scheduleStreams(plan.entries[0]);
    placeApart(plan.entries[0]);
    for (size_t i = 0; i < plan.entries[0].ops.size(); ++i) {
      if (!std::holds_alternative<plan::Wait>(plan.entries[0].ops[i].body))
        continue;
      plan::Plan mutant = plan;
      mutant.entries[0].ops.erase(mutant.entries[0].ops.begin() + i);
      EXPECT_FALSE(plan::verifyAll(mutant).ok())
          << "seed " << seed << ": wait " << i << " is not needed";
      ++dropped;
    }
  }
  EXPECT_GT(dropped, 300);
}

TEST(ScheduleStreams, IsIdempotent) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    plan::Plan plan = test::randomPlan(seed, 30);
    plan::scheduleStreams(plan.entries[0]);
    plan::Plan once = plan;
    plan::scheduleStreams(plan.entries[0]);
    ASSERT_EQ(plan.entries[0].ops.size(), once.entries[0].ops.size());
    EXPECT_EQ(plan.entries[0].events, once.entries[0].events);
    for (size_t i = 0; i < once.entries[0].ops.size(); ++i)
      EXPECT_EQ(plan.entries[0].ops[i].body.index(), once.entries[0].ops[i].body.index())
          << "seed " << seed << ", op " << i;
  }
}
