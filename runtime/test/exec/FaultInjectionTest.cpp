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
  plan::Entry entry = plan.entries[0];
  std::vector<bool> skipped(entry.ops.size());
  EXPECT_TRUE(parsed({"*:op=1:skip", "*:op=collective0:count"}).changeOps(entry, skipped));
  EXPECT_TRUE(skipped[1]);
  // matmul, gelu, matmul, record, wait, all_reduce of 4*8.
  EXPECT_EQ(plan::elements(std::get<plan::Collective>(entry.ops[5].body).x), 31);
  for (const char *text : {"*:op=99:skip", "*:op=collective1:skip", "*:op=0:count", "*:op=0:dtype",
                           "*:op=collective0:group"})
    EXPECT_EQ(parsed({text}).changeOps(entry, skipped).code(), Code::Usage) << text;
}

TEST(FaultInjectionTest, collectivesGetAnotherTypeOrGroup) {
  plan::Plan plan = plan::test::allOpsPlan(2);
  plan::Entry entry = plan.entries[0];
  std::vector<bool> skipped(entry.ops.size());
  ASSERT_TRUE(
      parsed({"*:op=collective1:group", "*:op=collective0:dtype"}).changeOps(entry, skipped));
  std::vector<plan::Collective> collectives;
  for (const plan::Op &op : entry.ops)
    if (const auto *collective = std::get_if<plan::Collective>(&op.body))
      collectives.push_back(*collective);
  EXPECT_EQ(entry.buffers[size_t(collectives[0].x.buffer)].type, plan::DataType::I32);
  EXPECT_EQ(collectives[1].axes, (plan::Axes{0, 1})); // that of collective 0
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
