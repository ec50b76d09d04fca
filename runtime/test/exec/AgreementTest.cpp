// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Agreement.h"
#include "tenon/runtime/exec/Groups.h"

#include "../plan/PlanBuilder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mutex>

namespace tenon::runtime {
namespace {

using ::testing::HasSubstr;

/// What each rank of a world got.
std::vector<Status> onRanks(int ranks, const std::function<Status(Communicator &)> &body) {
  std::vector<Status> results(static_cast<size_t>(ranks));
  (void)runThreadRanks(ranks, [&](Communicator &world) {
    results[size_t(world.rank())] = body(world);
    return Status();
  });
  return results;
}

TEST(AgreementTest, allGoOnTogether) {
  for (const Status &status : onRanks(3, [](Communicator &world) { return agree(world, {}); }))
    EXPECT_TRUE(status);
}

TEST(AgreementTest, theLowestFailingRankSpeaksForAll) {
  std::vector<Status> results = onRanks(4, [](Communicator &world) {
    if (world.rank() == 1)
      return agree(world, Status(Code::Memory, "no memory"));
    if (world.rank() == 3)
      return agree(world, Status(Code::Plan, "no plan"));
    return agree(world, Status());
  });
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(results[size_t(rank)].code(), Code::Memory) << rank;
    EXPECT_EQ(results[size_t(rank)].message(), rank == 1 ? "no memory" : peerFailed);
  }
}

TEST(AgreementTest, handshakeShowsEveryDifferingFieldByRank) {
  std::vector<Status> results = onRanks(3, [](Communicator &world) {
    bool odd = world.rank() == 1;
    return shakeHands(
        world, {{"version", "1"}, {"plan", odd ? "abc" : "def"}, {"isa", odd ? "avx2" : "avx512"}},
        "host" + std::to_string(world.rank()));
  });
  EXPECT_EQ(results[0].code(), Code::Disagree);
  EXPECT_EQ(results[2].message(), peerFailed);
  EXPECT_EQ(results[0].message(), "ranks were started differently:"
                                  "\n  plan  rank 0 on host0: def"
                                  "\n  plan  rank 1 on host1: abc"
                                  "\n  plan  rank 2 on host2: def"
                                  "\n  isa  rank 0 on host0: avx512"
                                  "\n  isa  rank 1 on host1: avx2"
                                  "\n  isa  rank 2 on host2: avx512");
}

TEST(AgreementTest, equalFieldsAgree) {
  for (const Status &status : onRanks(3, [](Communicator &world) {
         return shakeHands(world, {{"plan", "x"}}, std::to_string(world.rank()));
       }))
    EXPECT_TRUE(status);
}

TEST(MeshOrderTest, byFirstAppearanceOfTheNode) {
  EXPECT_EQ(meshOrder({"a", "b", "a", "b"}), (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(meshOrder({"b", "a", "a"}), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(meshOrder({"b", "a", "b", "c", "a"}), (std::vector<int>{0, 2, 1, 4, 3}));
}

TEST(PlacementTest, theLastAxisStaysInsideANode) {
  std::vector<plan::MeshAxis> mesh = {{"node", 2, "node"}, {"tp", 2, "tp"}};
  EXPECT_TRUE(checkPlacement(mesh, {"a", "a", "b", "b"}));
  EXPECT_TRUE(checkPlacement(mesh, {"a", "a", "a", "a"}));
  Status status = checkPlacement(mesh, {"a", "a", "a", "b"});
  EXPECT_EQ(status.code(), Code::Usage);
  EXPECT_THAT(status.message(), HasSubstr("axis 'tp' of 2 ranks crosses nodes"));
  EXPECT_THAT(status.message(), HasSubstr("\n  a: 0-2\n  b: 3"));
}

TEST(PlacementTest, partsOfTheLastAxisCountTogether) {
  std::vector<plan::MeshAxis> mesh = {{"tp.0", 2, "tp"}, {"tp.1", 2, "tp"}};
  EXPECT_FALSE(checkPlacement(mesh, {"a", "a", "b", "b"}));
  EXPECT_TRUE(checkPlacement({}, {"a"}));
}

plan::Plan planOver(const std::vector<plan::Axes> &groups) {
  plan::Plan plan =
      plan::test::emptyPlan({{"node", 2, "node"}, {"tp.0", 2, "tp"}, {"tp.1", 2, "tp"}});
  plan::test::EntryBuilder entry(plan, "forward");
  int32_t x = entry.buffer(plan::DataType::F32, {8});
  for (const plan::Axes &axes : groups)
    entry.collective(plan::CollectiveKind::AllReduce, plan::test::whole(x, {8}),
                     plan::test::whole(x, {8}), axes, "");
  entry.finish();
  return plan;
}

TEST(GroupsTest, membersDifferOnTheNamedAxesInTheirOrder) {
  plan::Plan plan = planOver({{0}, {1, 2}, {2, 1}, {2}});
  std::mutex mutex;
  std::map<std::pair<plan::Axes, int>, std::vector<int>> members;
  Status status = runThreadRanks(8, [&](Communicator &world) {
    std::vector<int64_t> at = {world.rank() / 4, world.rank() / 2 % 2, world.rank() % 2};
    Expected<Groups> groups = Groups::create(plan, at, world);
    if (!groups)
      return groups.status();
    for (const auto &[axes, group] : groups->all()) {
      Expected<std::vector<std::string>> all = group->gatherStrings(std::to_string(world.rank()));
      if (!all)
        return all.status();
      std::lock_guard<std::mutex> lock(mutex);
      for (const std::string &member : *all)
        members[{axes, world.rank()}].push_back(std::stoi(member));
    }
    return Status();
  });
  ASSERT_TRUE(status) << status.message();
  using Ranks = std::vector<int>;
  // Rank 6 is (1, 1, 0).
  EXPECT_EQ((members[{{0}, 6}]), (Ranks{2, 6}));
  EXPECT_EQ((members[{{2}, 6}]), (Ranks{6, 7}));
  EXPECT_EQ((members[{{1, 2}, 6}]), (Ranks{4, 5, 6, 7}));
  EXPECT_EQ((members[{{2, 1}, 6}]), (Ranks{4, 6, 5, 7}));
}

TEST(GroupsTest, partsThatAreAllThereBecomeTheAxis) {
  plan::Plan plan = planOver({});
  using Names = std::vector<std::string>;
  EXPECT_EQ(axisNames(plan, {1, 2}), (Names{"tp"}));
  EXPECT_EQ(axisNames(plan, {0, 2, 1}), (Names{"node", "tp"}));
  EXPECT_EQ(axisNames(plan, {2}), (Names{"tp.1"}));
}

} // namespace
} // namespace tenon::runtime
