// SPDX-License-Identifier: Apache-2.0
// The conformance suite on one rank and on threads, and what happens when ranks disagree or fail.
#include "Conformance.h"

#include "tenon/runtime/comm/RankOrderedSum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
// For the names of tests, which would else show addresses.
namespace test {
static void PrintTo(const ConformanceCase &conformance, std::ostream *out) {
  *out << conformance.name;
}
} // namespace test

namespace {

using plan::DataType;
using plan::ReduceKind;
using testing::HasSubstr;

struct Transport {
  const char *name;
  int ranks; ///< 0: the communicator of one rank.
};
void PrintTo(const Transport &transport, std::ostream *out) { *out << transport.name; }

class CommunicatorConformance
    : public testing::TestWithParam<std::tuple<Transport, test::ConformanceCase>> {};

TEST_P(CommunicatorConformance, holds) {
  auto [transport, conformance] = GetParam();
  auto body = [&](Communicator &c) {
    std::string wrong = conformance.run(c);
    return wrong.empty() ? Status() : Status(Code::Differs, wrong);
  };
  Status status;
  if (transport.ranks == 0) {
    auto self = makeSelfCommunicator();
    status = body(*self);
  } else {
    status = runThreadRanks(transport.ranks, body);
  }
  EXPECT_TRUE(status.ok()) << status.message();
}

INSTANTIATE_TEST_SUITE_P(
    All, CommunicatorConformance,
    testing::Combine(testing::Values(Transport{"self", 0}, Transport{"threads1", 1},
                                     Transport{"threads2", 2}, Transport{"threads3", 3},
                                     Transport{"threads4", 4}),
                     testing::ValuesIn(test::conformanceCases())),
    [](const auto &info) {
      return std::string(std::get<0>(info.param).name) + "_" + std::get<1>(info.param).name;
    });

TEST(ThreadRanks, otherKindIsADisagreement) {
  Status status = runThreadRanks(2, [](Communicator &c) {
    float x[2] = {}, out[4];
    return c.rank() == 0 ? c.allReduce(x, out, 2, DataType::F32, ReduceKind::Sum)
                         : c.allGather(x, out, 2, DataType::F32);
  });
  EXPECT_EQ(status.code(), Code::Disagree);
  EXPECT_THAT(status.message(), HasSubstr("all_reduce number 1 of 2 f32 over world"));
  EXPECT_THAT(status.message(), HasSubstr("all_gather number 1 of 2 f32 over world"));
}

TEST(ThreadRanks, otherCountTypeReductionOrNameIsADisagreement) {
  for (int what = 0; what < 4; ++what) {
    Status status = runThreadRanks(3, [&](Communicator &c) {
      std::vector<std::byte> x(64), out(64);
      bool other = c.rank() == 1;
      if (other && what == 3)
        c.setName("tp");
      return c.allReduce(x.data(), out.data(), other && what == 0 ? 3 : 4,
                         other && what == 1 ? DataType::I32 : DataType::F32,
                         other && what == 2 ? ReduceKind::Max : ReduceKind::Sum);
    });
    EXPECT_EQ(status.code(), Code::Disagree) << what;
  }
}

TEST(ThreadRanks, skippedCollectiveShowsBothNumbers) {
  Status status = runThreadRanks(2, [](Communicator &c) {
    float x = 1, out = 0;
    for (uint64_t number = 1; number <= 5; ++number) {
      if (c.rank() == 1 && number == 3)
        continue;
      c.setSequence(number);
      if (Status s = c.allReduce(&x, &out, 1, DataType::F32, ReduceKind::Sum); !s)
        return s;
    }
    return Status();
  });
  EXPECT_EQ(status.code(), Code::Disagree);
  EXPECT_THAT(status.message(), HasSubstr("number 3"));
  EXPECT_THAT(status.message(), HasSubstr("number 4"));
}

TEST(ThreadRanks, failureReleasesTheOthersAndIsTheOneReported) {
  Status status = runThreadRanks(3, [](Communicator &c) {
    if (c.rank() == 1)
      return Status(Code::Memory, "rank 1 has no memory");
    return c.barrier();
  });
  EXPECT_EQ(status.code(), Code::Memory);
  EXPECT_EQ(status.message(), "rank 1 has no memory");
}

TEST(ThreadRanks, failureReleasesWaitersOfAGroup) {
  Status status = runThreadRanks(4, [](Communicator &c) {
    auto group = c.split(c.rank() / 2, c.rank());
    if (!group)
      return group.status();
    if (c.rank() == 3)
      return Status(Code::Plan, "no");
    Status own = (*group)->barrier();
    return own.ok() ? c.barrier() : own;
  });
  EXPECT_EQ(status.code(), Code::Plan);
}

TEST(RankOrderedSum, sharesCoverEverythingOnce) {
  for (int64_t count : {0, 1, 15, 16, 17, 100, 1000})
    for (int size : {1, 2, 3, 5}) {
      int64_t next = 0;
      for (int member = 0; member < size; ++member) {
        Share share = shareOf(count, member, size);
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.begin, share.end);
        next = share.end;
      }
      EXPECT_EQ(next, count);
    }
}

} // namespace
} // namespace tenon::runtime
