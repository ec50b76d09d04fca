// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/FaultInjection.h"

#include "../plan/PlanBuilder.h"

#include "tenon/runtime/plan/Access.h"

#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

FaultInjection parsed(const std::vector<std::string> &texts) {
  Expected<FaultInjection> faults = FaultInjection::parse(texts);
  EXPECT_TRUE(faults) << faults.status().message();
  return faults ? *faults : FaultInjection();
}

TEST(FaultInjectionTest, faultsBelongToTheirRank) {
  FaultInjection faults = parsed({"1:verify:skip", "*:memory=100:limit"});
  EXPECT_TRUE(faults.of(1).has("verify", "skip"));
  EXPECT_FALSE(faults.of(0).has("verify", "skip"));
  EXPECT_EQ(faults.of(7).number("memory", "limit"), 100);
}

TEST(FaultInjectionTest, unknownFaultsAreRefused) {
  for (const char *text : {"", "1", "1:op=3", "x:op=3:sleep", "-1:op=3:sleep", "1:op:sleep",
                           "1:op=3:dance", "1:verify=2:skip", "1:nowhere:sleep"}) {
    Expected<FaultInjection> faults = FaultInjection::parse({text});
    ASSERT_FALSE(faults) << text;
    EXPECT_EQ(faults.status().code(), Code::Usage);
  }
}

TEST(FaultInjectionTest, opsAreFoundByIndexOrAsCollectives) {
  plan::Plan plan = plan::test::mlpPlan(2);
  std::vector<plan::Op> ops = plan.entries[0].ops;
  std::vector<bool> skipped(ops.size());
  EXPECT_TRUE(parsed({"*:op=1:skip", "*:op=collective0:count"}).changeOps(ops, skipped));
  EXPECT_TRUE(skipped[1]);
  // matmul, gelu, matmul, record, wait, all_reduce of 4*8.
  EXPECT_EQ(plan::elements(std::get<plan::Collective>(ops[5].body).x), 31);
  for (const char *text : {"*:op=99:skip", "*:op=collective1:skip", "*:op=0:count"})
    EXPECT_EQ(parsed({text}).changeOps(ops, skipped).code(), Code::Usage) << text;
}

TEST(FaultInjectionTest, theNthAllocationFails) {
  std::unique_ptr<Device> device = parsed({"*:alloc=1:fail"}).wrap(std::move(*makeCpuDevice({})));
  std::vector<std::byte *> memory;
  for (int i = 0; i < 3; ++i) {
    Expected<std::byte *> piece = device->allocate(64);
    EXPECT_EQ(bool(piece), i != 1);
    if (piece)
      memory.push_back(*piece);
    else
      EXPECT_EQ(piece.status().code(), Code::Memory);
  }
  for (std::byte *piece : memory)
    device->release(piece);
}

} // namespace
} // namespace tenon::runtime
