// SPDX-License-Identifier: Apache-2.0
#include "../plan/PlanBuilder.h"

#include "tenon/runtime/exec/Groups.h"
#include "tenon/runtime/plan/Resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using namespace plan::test;
using testing::HasSubstr;

/// Collectives over each axis of a 2x3 mesh, both, and both the other way round.
plan::Plan crossPlan() {
  plan::Plan plan = emptyPlan({{"node", 2, "node"}, {"tp", 3, "tp"}});
  EntryBuilder e(plan, "forward");
  int32_t x = e.input("x", plan::DataType::F32, {6});
  for (const plan::Axes &axes : std::vector<plan::Axes>{{0}, {1}, {0, 1}, {1, 0}})
    e.collective(plan::CollectiveKind::AllReduce, whole(x, {6}), whole(x, {6}), axes, "layer");
  e.output("x", x, {6});
  e.finish();
  return plan;
}

TEST(GroupsTest, aLoneRankHasThePlacesOfARealOne) {
  plan::Plan plan = crossPlan();
  for (int rank = 0; rank < 6; ++rank) {
    const std::vector<int64_t> at = plan::coordinates(plan.mesh, rank);
    Groups lone = Groups::createLone(plan, at);
    EXPECT_EQ(lone.all().size(), 4u);
    Status status = runThreadRanks(6, [&](Communicator &world) {
      Expected<Groups> real =
          Groups::create(plan, plan::coordinates(plan.mesh, world.rank()), world);
      if (!real)
        return real.status();
      if (world.rank() == rank)
        for (const auto &[axes, group] : real->all()) {
          EXPECT_EQ(lone.all().at(axes)->rank(), group->rank());
          EXPECT_EQ(lone.all().at(axes)->size(), group->size());
        }
      return Status();
    });
    EXPECT_TRUE(status) << status.message();
  }
}

TEST(GroupsTest, loneGroupsHaveTheirNames) {
  Groups lone = Groups::createLone(crossPlan(), {1, 2});
  const Communicator &both = *lone.all().at({1, 0});
  EXPECT_EQ(both.rank(), 2 * 2 + 1); // tp is the major axis there
  EXPECT_EQ(both.size(), 6);
  EXPECT_THAT(lone.all().at({1, 0})->split(0, 0).status().message(), HasSubstr("'tp,node'"));
}

} // namespace
} // namespace tenon::runtime
