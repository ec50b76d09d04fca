// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/MemoryCheck.h"

#include "../plan/PlanBuilder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using ::testing::HasSubstr;

TEST(MemoryCheckTest, ranksOfTheNodeCountTogether) {
  // Per rank: weights 2 * 8*8*4 = 512; arena x, partial, y 128 each, h and g 4*8*4 = 128: 640.
  plan::Plan plan = plan::test::mlpPlan(2);
  EXPECT_TRUE(checkMemory(plan, 2, 2 * 1152));
  Status status = checkMemory(plan, 2, 2 * 1152 - 1);
  EXPECT_EQ(status.code(), Code::Memory);
  EXPECT_THAT(status.message(), HasSubstr("2 ranks need 2.25 KiB here"));
  EXPECT_THAT(status.message(), HasSubstr("512 B of weights, 640 B of arena"));
  EXPECT_THAT(status.message(), HasSubstr("available are 2.25 KiB"));
  EXPECT_THAT(status.message(), HasSubstr("the largest are weight 'w1' 256 B, weight 'w2' 256 B"));
  EXPECT_TRUE(checkMemory(plan, 1, 1152));
}

TEST(MemoryCheckTest, anUnknownAmountAdmitsEverything) {
  EXPECT_TRUE(checkMemory(plan::test::mlpPlan(2), 1000000, -1));
}

TEST(MemoryCheckTest, theMachineHasSome) { EXPECT_GT(availableMemory(), 1 << 20); }

TEST(MemoryCheckTest, bytesForReaders) {
  EXPECT_EQ(readableBytes(1023), "1023 B");
  EXPECT_EQ(readableBytes(1536), "1.50 KiB");
  EXPECT_EQ(readableBytes(int64_t(3) << 40), "3.00 TiB");
}

} // namespace
} // namespace tenon::runtime
