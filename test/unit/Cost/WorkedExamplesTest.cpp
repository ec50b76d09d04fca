// SPDX-License-Identifier: Apache-2.0
// The worked examples of docs/CostModel.md, number by number.
#include "tenon/Cost/CostModel.h"

#include <gtest/gtest.h>

using namespace tenon;
using namespace tenon::cost;
using namespace tenon::sharding;

static CostModel shipped(const std::string &name) {
  std::string error;
  return CostModel(*loadMachine(name, error));
}

TEST(WorkedExamples, MatMulInWaves) {
  // 2048 x 1536 x 12288 in f32: 96 tiles of 256 x 128 for 132 units; in four parts along k they are
  // 384, three waves.
  const MatMulShape shape{1, 2048, 1536, 12288};
  const double unit = 5.0e13 / 132;
  const double wave = 2.0 * 256 * 128 * (12288 / 4 + 256) / unit;
  EXPECT_NEAR(wave, 575.8e-6, 0.1e-6);
  const double seconds = shipped("h100-sxm").matmulSeconds(shape, 0, plan::DataType::F32);
  EXPECT_DOUBLE_EQ(seconds, 3 * wave + 2e-6);
  EXPECT_NEAR(seconds, 1729.4e-6, 0.1e-6);
  // The same flop at the peak.
  EXPECT_NEAR(shape.flops() / 5.0e13, 1546.2e-6, 0.1e-6);
}

TEST(WorkedExamples, LookupReadsRowsOnly) {
  // 1024 rows of 4096 f32, ids of eight bytes.
  const double bytes = 1024.0 * 8 + 2 * 1024 * 4096 * 4;
  EXPECT_EQ(bytes, 33562624);
  EXPECT_NEAR(shipped("h100-sxm").rowSeconds(bytes, 0), 13.19e-6, 0.01e-6);
}

TEST(WorkedExamples, AllReduceByNccl) {
  // 16 MiB over eight ranks of one node: NVLS beats both rings and both trees.
  Mesh mesh{{{"tp", 8, "tp"}}};
  const double bytes = 16777216;
  const CostModel model = shipped("h100-sxm");
  EXPECT_NEAR(25 + bytes / (480e3 * 8 / 14), 86.2, 0.05);               // NVLS
  EXPECT_NEAR(8.4 + 14 * 3.4 + bytes / (370e3 * 8 / 14), 135.4, 0.05);  // ring, Simple
  EXPECT_NEAR(14 + 14 * 1.9 + bytes / (340.4e3 * 8 / 14), 126.9, 0.05); // ring, LL128
  EXPECT_NEAR(model.collectiveSeconds(StepKind::AllReduce, bytes, AxisList{0}, mesh), 86.2e-6,
              0.05e-6);
}

TEST(WorkedExamples, AllReduceByRounds) {
  // 1 MiB over two ranks on cpu: a rank sends 2 (p - 1) / p of it, in two rounds.
  Mesh mesh{{{"tp", 2, "tp"}}};
  EXPECT_NEAR(shipped("cpu").collectiveSeconds(StepKind::AllReduce, 1048576, AxisList{0}, mesh),
              8e-6 + 2 * 2e-6 + 1048576 / 2.5e9, 1e-12);
  EXPECT_NEAR(8 + 2 * 2 + 1048576 / 2.5e3, 431.4, 0.05);
}
