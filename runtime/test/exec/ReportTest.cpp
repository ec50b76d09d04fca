// SPDX-License-Identifier: Apache-2.0
// The reports of tp-run on facts made by hand: bandwidths as nccl-tests defines them, and the
// distance to what the device could do.
#include "../plan/PlanBuilder.h"

#include "Report.h"

#include "tenon/runtime/plan/Resolve.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tenon::tprun {
namespace {

using namespace plan::test;
using nlohmann::json;
using plan::CollectiveKind;
using plan::DataType;
using testing::ContainsRegex;
using testing::DoubleNear;
using testing::HasSubstr;
using testing::Not;

class ReportTest : public testing::Test {
protected:
  ReportTest() : plan(emptyPlan({{"tp", 4, "tp"}})), e(plan, "forward") {}

  int32_t buffer(int64_t elements) { return e.buffer(DataType::F32, {elements}); }
  void collective(CollectiveKind kind, int64_t x, int64_t out) {
    e.op(plan::Collective{kind,
                          plan::ReduceKind::Sum,
                          whole(buffer(x), {x}),
                          whole(buffer(out), {out}),
                          {0},
                          "test"},
         "layer", 1);
  }
  void matmul() {
    plan::MatMul op;
    op.a = whole(buffer(32), {4, 8});
    op.b = whole(buffer(128), {8, 16});
    op.c = whole(buffer(64), {4, 16});
    op.aDims = "mk", op.bDims = "kn", op.cDims = "mn";
    e.op(op, "up");
  }
  /// Every op took `us`.
  void finish(double us) {
    e.finish();
    entry = plan::resolve(plan, plan.entries[0], {0});
    facts.plan = &plan;
    facts.entry = &entry;
    facts.timed = true;
    facts.ranks.resize(4);
    facts.steps.steps = 1;
    facts.steps.median = facts.steps.min = 1e-3;
    facts.opSeconds.assign(entry.ops.size(), us * 1e-6);
    facts.opCommunicationSeconds = facts.opSeconds;
    facts.opWaitSeconds.assign(entry.ops.size(), 0);
  }
  /// 1000 bytes and 10, 20, 40 flops per us.
  void knowLimits() {
    facts.limits.bytesPerSecond = 1e9;
    facts.limits.flopsF32 = 10e6, facts.limits.flopsTf32 = 20e6, facts.limits.flopsBf16 = 40e6;
  }

  plan::Plan plan;
  EntryBuilder e;
  plan::Entry entry;
  RunFacts facts;
};

TEST_F(ReportTest, bandwidthsAreThoseOfNcclTests) {
  // Always 4000 elements of 4 bytes as the full tensor: 16000 bytes in 2 us are 8 GB/s.
  collective(CollectiveKind::AllReduce, 4000, 4000);
  collective(CollectiveKind::AllGather, 1000, 4000);
  collective(CollectiveKind::ReduceScatter, 4000, 1000);
  collective(CollectiveKind::AllToAll, 4000, 4000);
  collective(CollectiveKind::Broadcast, 4000, 4000);
  finish(2);
  const std::vector<double> busbw = {12, 6, 6, 6, 8}; // times 3/2, 3/4, 3/4, 3/4, 1
  std::vector<CollectiveFacts> found = collectivesOf(facts);
  const json report = json::parse(jsonReport(facts));
  ASSERT_EQ(found.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found[i].tensorBytes, 16000) << found[i].kind;
    EXPECT_THAT(found[i].algbw(), DoubleNear(8, 1e-9)) << found[i].kind;
    EXPECT_THAT(found[i].busbw(), DoubleNear(busbw[i], 1e-9)) << found[i].kind;
    EXPECT_THAT(report["collectives"][i]["algbw_gb_per_s"].get<double>(), DoubleNear(8, 1e-9));
    EXPECT_THAT(report["collectives"][i]["busbw_gb_per_s"].get<double>(),
                DoubleNear(busbw[i], 1e-9));
  }
  const std::string text = longReport(facts);
  EXPECT_THAT(text, ContainsRegex("all_reduce  *tp  *f32  *16000  *1 .* 8\\.00  *12\\.00\n"));
  EXPECT_THAT(text, ContainsRegex("broadcast  *tp  *f32  *16000  *1 .* 8\\.00  *8\\.00\n"));
}

TEST_F(ReportTest, equalCollectivesAreOneRowOfMeans) {
  collective(CollectiveKind::AllReduce, 4000, 4000);
  collective(CollectiveKind::AllReduce, 4000, 4000);
  finish(2);
  facts.opCommunicationSeconds = {1e-6, 3e-6};
  facts.opWaitSeconds = {4e-6, 6e-6};
  EXPECT_THAT(
      longReport(facts),
      ContainsRegex("all_reduce .* 16000  *2  *0\\.0  *2\\.0  *5\\.0  *8\\.00  *12\\.00\n"));
}

TEST_F(ReportTest, nothingMeasuredIsNoBandwidth) {
  collective(CollectiveKind::AllReduce, 4000, 4000);
  finish(0);
  EXPECT_EQ(collectivesOf(facts)[0].busbw(), 0);
}

TEST_F(ReportTest, boundsComeFromTheDevicesLimits) {
  matmul(); // 1024 flops in 102.4 us; 896 bytes in 0.896 us
  collective(CollectiveKind::AllReduce, 4000, 4000);
  e.op(plan::Fill{whole(buffer(500), {500}), 0, -1, {}}, "zeros"); // 2000 bytes in 2 us
  finish(204.8);
  knowLimits();
  const std::vector<double> bounds = boundsUs(facts);
  ASSERT_EQ(bounds.size(), 3u);
  EXPECT_THAT(bounds[0], DoubleNear(102.4, 1e-9));
  EXPECT_EQ(bounds[1], 0); // the network's, which the device does not know
  EXPECT_THAT(bounds[2], DoubleNear(2, 1e-9));

  EXPECT_THAT(shortReport(facts), HasSubstr("predicted 0.000 ms  bound 0.104 ms\n"));
  const std::string text = longReport(facts);
  EXPECT_THAT(text, ContainsRegex("\nup  *1  *0\\.0  *204\\.8  *102\\.4  *2\\.0  matmul\n"));
  EXPECT_THAT(text, ContainsRegex("\nlayer  *1  *0\\.0  *204\\.8  *0\\.0  *-  all_reduce\n"));
  // 409.6 us of ops that have a bound, of 104.4.
  EXPECT_THAT(text, ContainsRegex("\nall  *3  *0\\.0  *614\\.4  *104\\.4  *3\\.9  \n"));

  const json report = json::parse(jsonReport(facts));
  EXPECT_THAT(report["time_ms"]["bound"].get<double>(), DoubleNear(0.1044, 1e-9));
  EXPECT_THAT(report["ops"][0]["bound_us"].get<double>(), DoubleNear(102.4, 1e-9));
  EXPECT_THAT(report["ops"][0]["x_of_bound"].get<double>(), DoubleNear(2, 1e-9));
  EXPECT_FALSE(report["ops"][1].contains("bound_us"));

  facts.tf32 = true;
  EXPECT_THAT(boundsUs(facts)[0], DoubleNear(51.2, 1e-9));
}

TEST_F(ReportTest, unknownLimitsSayNothing) {
  matmul();
  finish(1);
  EXPECT_TRUE(boundsUs(facts).empty());
  EXPECT_THAT(shortReport(facts), Not(HasSubstr("bound")));
  EXPECT_THAT(longReport(facts), Not(HasSubstr("bound")));
  EXPECT_THAT(jsonReport(facts), Not(HasSubstr("bound_us")));
}

TEST_F(ReportTest, theShortReportIsAtMostTwelveLines) {
  for (int i = 0; i < 9; ++i)
    collective(CollectiveKind::AllReduce, 4000, 4000);
  finish(2);
  knowLimits();
  facts.checks.assign(9, {"y", true, 0});
  const std::string text = shortReport(facts);
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 12);
}

} // namespace
} // namespace tenon::tprun
