// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/GpuPlacement.h"

#include <cstdlib>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ranks = std::vector<RankGpus>;

TEST(GpuPlacementTest, ranksOfAHostTakeGpusInTurn) {
  Ranks ranks = {{"a", -1, {"A", "B"}}, {"b", -1, {"A", "B"}}, {"a", -1, {"A", "B"}}};
  EXPECT_THAT(*assignGpus(ranks, false), ElementsAre(0, 0, 1));
}

TEST(GpuPlacementTest, theLaunchersNumbersDecide) {
  Ranks ranks = {{"a", 1, {"A", "B"}}, {"a", 0, {"A", "B"}}};
  EXPECT_THAT(*assignGpus(ranks, false), ElementsAre(1, 0));
  // Numbers that are not distinct say nothing.
  ranks[1].localRank = 1;
  EXPECT_THAT(*assignGpus(ranks, false), ElementsAre(0, 1));
}

TEST(GpuPlacementTest, ranksThatSeeOneGpuEachTakeIt) {
  Ranks ranks = {{"a", 0, {"B"}}, {"a", 1, {"A"}}};
  EXPECT_THAT(*assignGpus(ranks, false), ElementsAre(0, 0));
  // Overlapping lists: the first that is free.
  ranks = {{"a", 0, {"A"}}, {"a", 1, {"A", "B"}}};
  EXPECT_THAT(*assignGpus(ranks, false), ElementsAre(0, 1));
}

TEST(GpuPlacementTest, tooFewGpusAreRefusedOrShared) {
  Ranks ranks(4, {"a", -1, {"A", "B", "C"}});
  Expected<std::vector<int>> places = assignGpus(ranks, false);
  ASSERT_FALSE(places);
  EXPECT_EQ(places.status().code(), Code::Usage);
  EXPECT_THAT(places.status().message(),
              HasSubstr("host a has 3 GPUs for 4 ranks; start at most 3 there"));
  EXPECT_THAT(*assignGpus(ranks, true), ElementsAre(0, 1, 2, 0));
  EXPECT_FALSE(assignGpus({{"a", -1, {}}}, true));
}

TEST(GpuPlacementTest, textsReadBack) {
  RankGpus rank{"host name", 3, {"GPU-1", "GPU-2"}};
  RankGpus read = unpack(pack(rank));
  EXPECT_EQ(read.host, rank.host);
  EXPECT_EQ(read.localRank, 3);
  EXPECT_EQ(read.uuids, rank.uuids);
}

TEST(GpuPlacementTest, everyLaunchersVariable) {
  for (const char *name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
                           "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID", "LOCAL_RANK"})
    unsetenv(name);
  EXPECT_EQ(launcherLocalRank(), -1);
  for (const char *name : {"LOCAL_RANK", "SLURM_LOCALID", "PMI_LOCAL_RANK", "MPI_LOCALRANKID",
                           "MV2_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"}) {
    setenv(name, "nonsense", 1);
    EXPECT_EQ(launcherLocalRank(), -1) << name;
    setenv(name, "5", 1);
    EXPECT_EQ(launcherLocalRank(), 5) << name;
    unsetenv(name);
  }
}

} // namespace
} // namespace tenon::runtime
