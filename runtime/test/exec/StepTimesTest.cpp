// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/StepTimes.h"

#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

TEST(StepTimesTest, aStepTakesAsLongAsItsSlowestRank) {
  // Steps take max(3,2), max(1,7), max(4,4) = 3, 7, 4: the median is step 2, tied, so rank 0
  // speaks.
  StepSummary summary =
      summarize({{{3, 0, 0}, {1, 0, 0}, {4, 1, 0.5}}, {{2, 0, 0}, {7, 0, 0}, {4, 2, 1}}});
  EXPECT_EQ(summary.steps, 3);
  EXPECT_EQ(summary.min, 3);
  EXPECT_EQ(summary.median, 4);
  EXPECT_EQ(summary.slowestRank, 0);
  EXPECT_EQ(summary.wait, 1);
  EXPECT_EQ(summary.communication, 0.5);
  EXPECT_EQ(summary.compute, 2.5);
}

TEST(StepTimesTest, theMedianOfTwoIsTheLower) {
  EXPECT_EQ(medianOf({5, 1}), 1);
  EXPECT_EQ(medianOf({5, 1, 3}), 3);
  EXPECT_EQ(medianOf({}), 0);
  EXPECT_EQ(summarize({{{5, 0, 0}, {1, 0, 0}}}).median, 1);
  EXPECT_EQ(summarize({}).steps, 0);
}

TEST(StepTimesTest, theSplitIsThatOfTheSlowestRank) {
  StepSummary summary = summarize({{{2, 1, 0}}, {{3, 0.5, 0.25}}});
  EXPECT_EQ(summary.slowestRank, 1);
  EXPECT_EQ(summary.wait, 0.5);
  EXPECT_EQ(summary.compute, 2.25);
}

} // namespace
} // namespace tenon::runtime
