// SPDX-License-Identifier: Apache-2.0
// Times worked out from the constants and formulae of NCCL's tuning model, apart from this code.
#include "tenon/Cost/Nccl.h"

#include <gtest/gtest.h>

using namespace tenon::cost;

static NcclMachine hopper() {
  NcclMachine machine;
  machine.intraBus = 370e9;
  machine.interBus = 45e9;
  machine.nvlsBus = 480e9;
  machine.channels = 16;
  return machine;
}

static double us(double bytes, int64_t ranks, int64_t nodes = 1,
                 NcclCollective kind = NcclCollective::AllReduce) {
  return ncclSeconds(hopper(), kind, bytes, ranks, nodes) * 1e6;
}

TEST(Nccl, SmallAllReducesAreRingsOfLL) {
  // 6.6 us and 2 (p - 1) hops of 0.6 us.
  EXPECT_NEAR(us(8192, 2), 7.9, 0.1);
  EXPECT_NEAR(us(8192, 4), 10.3, 0.1);
  EXPECT_NEAR(us(8192, 8), 15.1, 0.2);
}

TEST(Nccl, LargerOnesChangeTheAlgorithm) {
  EXPECT_NEAR(us(1 << 20, 2), 15.2, 1.0);
  EXPECT_NEAR(us(1 << 20, 4), 21, 1.5);
  EXPECT_NEAR(us(1 << 20, 8), 28, 1.5);
  EXPECT_NEAR(us(4 << 20, 8), 37, 4); // NVLS: 25 us of latency.
  // Large ones: the bandwidth of the switch, 2 * 7/8 of the bytes per rank.
  EXPECT_NEAR(us(1e9, 8), 25 + 1e9 * 2 * 7 / 8 / 480e3, 1);
}

TEST(Nccl, NodesAddTheNetwork) {
  // One rank per node: the card's bandwidth.
  EXPECT_GT(us(1e8, 2, 2), 1e8 / 45e3);
  EXPECT_LT(us(1e8, 2, 2), 1.6 * 1e8 / 45e3);
  // Eight cards per node carry the ring of 16 ranks.
  EXPECT_LT(us(1e8, 16, 2), us(1e8, 2, 2));
  EXPECT_GT(us(8192, 16, 2), us(8192, 8, 1));
}

TEST(Nccl, GathersGoOnce) {
  for (double bytes : {1e4, 1e6, 1e8}) {
    EXPECT_LT(us(bytes, 8, 1, NcclCollective::AllGather), us(bytes, 8));
    EXPECT_EQ(us(bytes, 8, 1, NcclCollective::AllGather),
              us(bytes, 8, 1, NcclCollective::ReduceScatter));
  }
  // More bytes never take less time but where trees are corrected.
  for (double bytes = 64; bytes < 1e9; bytes *= 2)
    EXPECT_GE(us(2 * bytes, 4, 1, NcclCollective::AllGather),
              us(bytes, 4, 1, NcclCollective::AllGather));
}
