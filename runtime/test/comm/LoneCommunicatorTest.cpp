// SPDX-License-Identifier: Apache-2.0
// A lone rank sees everyone's data as its own: shapes are right, sums are not taken.
#include "tenon/runtime/comm/LoneCommunicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using plan::DataType;
using plan::ReduceKind;
using testing::ElementsAre;
using testing::HasSubstr;
using Numbers = std::vector<float>;

class LoneCommunicatorTest : public testing::Test {
protected:
  /// Rank 1 of 3; what is not written stays -1.
  std::unique_ptr<Communicator> lone = makeLoneCommunicator(1, 3);
  Numbers x = {1, 2, 3, 4, 5, 6}, out = Numbers(8, -1);
};

TEST_F(LoneCommunicatorTest, hasItsPlace) {
  EXPECT_EQ(lone->rank(), 1);
  EXPECT_EQ(lone->size(), 3);
  EXPECT_TRUE(lone->barrier());
  EXPECT_TRUE(lone->cancelled());
}

TEST_F(LoneCommunicatorTest, allReduceCopies) {
  for (ReduceKind kind : {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min}) {
    out.assign(8, -1);
    ASSERT_TRUE(lone->allReduce(x.data(), out.data(), 6, DataType::F32, kind));
    EXPECT_THAT(out, ElementsAre(1, 2, 3, 4, 5, 6, -1, -1));
  }
  ASSERT_TRUE(lone->allReduce(x.data(), x.data(), 6, DataType::F32, ReduceKind::Sum));
  EXPECT_THAT(x, ElementsAre(1, 2, 3, 4, 5, 6)) << "in place";
}

TEST_F(LoneCommunicatorTest, allGatherRepeats) {
  ASSERT_TRUE(lone->allGather(x.data(), out.data(), 2, DataType::F32));
  EXPECT_THAT(out, ElementsAre(1, 2, 1, 2, 1, 2, -1, -1));
}

TEST_F(LoneCommunicatorTest, reduceScatterTakesItsBlock) {
  ASSERT_TRUE(lone->reduceScatter(x.data(), out.data(), 6, DataType::F32, ReduceKind::Sum));
  EXPECT_THAT(out, ElementsAre(3, 4, -1, -1, -1, -1, -1, -1));
}

TEST_F(LoneCommunicatorTest, allToAllRepeatsItsBlock) {
  ASSERT_TRUE(lone->allToAll(x.data(), out.data(), 6, DataType::F32));
  EXPECT_THAT(out, ElementsAre(3, 4, 3, 4, 3, 4, -1, -1));
}

TEST_F(LoneCommunicatorTest, broadcastCopies) {
  ASSERT_TRUE(lone->broadcast(x.data(), out.data(), 6, DataType::F32));
  EXPECT_THAT(out, ElementsAre(1, 2, 3, 4, 5, 6, -1, -1));
}

TEST_F(LoneCommunicatorTest, emptyDataAreFine) {
  ASSERT_TRUE(lone->allGather(nullptr, nullptr, 0, DataType::F32));
  ASSERT_TRUE(lone->reduceScatter(nullptr, nullptr, 0, DataType::F32, ReduceKind::Sum));
}

TEST_F(LoneCommunicatorTest, nobodyIsWaitedFor) {
  CollectiveTime time;
  ASSERT_TRUE(lone->allGather(x.data(), out.data(), 2, DataType::F32, &time));
  EXPECT_GT(time.entered, 0);
  EXPECT_EQ(time.ready, time.entered);
  EXPECT_GE(time.left, time.ready);
}

TEST_F(LoneCommunicatorTest, everyoneSaysTheSame) {
  Expected<std::vector<std::string>> all = lone->gatherStrings("mine");
  ASSERT_TRUE(all);
  EXPECT_THAT(*all, ElementsAre("mine", "mine", "mine"));
}

TEST_F(LoneCommunicatorTest, splitIsRefusedByName) {
  lone->setName("tp");
  Expected<std::unique_ptr<Communicator>> group = lone->split(0, 0);
  ASSERT_FALSE(group);
  EXPECT_EQ(group.status().code(), Code::Usage);
  EXPECT_THAT(group.status().message(), HasSubstr("group 'tp' cannot be split by lone rank 1"));
}

} // namespace
} // namespace tenon::runtime
