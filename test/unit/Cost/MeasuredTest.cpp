// SPDX-License-Identifier: Apache-2.0
// Tables between, on and beyond their points.
#include "tenon/Cost/CostModel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace tenon;
using namespace tenon::cost;
using namespace tenon::sharding;
using testing::HasSubstr;

TEST(Curve, InterpolatesLogarithms) {
  const Curve curve{{100, 10000}, {1e-6, 4e-6}};
  EXPECT_DOUBLE_EQ(curve.at(100), 1e-6);
  EXPECT_DOUBLE_EQ(curve.at(10000), 4e-6);
  EXPECT_NEAR(curve.at(1000), 2e-6, 1e-15); // The geometric means of both.
  EXPECT_DOUBLE_EQ(curve.at(1), 1e-6);      // Small ones cost what the first does,
  EXPECT_DOUBLE_EQ(curve.at(30000), 12e-6); // large ones in proportion to the last.
}

TEST(Grid, IsExactForPowersOfTheSizes) {
  Grid grid;
  grid.axes = {std::vector<double>{1, 10, 400}, {2, 50}, {8, 64}};
  auto law = [](double m, double n, double k) { return 1e-9 * m * std::sqrt(n) * k * k; };
  for (double m : grid.axes[0])
    for (double n : grid.axes[1])
      for (double k : grid.axes[2])
        grid.seconds.push_back(law(m, n, k));
  for (auto [m, n, k] : {std::array{1.0, 2.0, 8.0}, {10, 50, 64}, {3, 7, 20}, {100, 49, 9}})
    EXPECT_NEAR(grid.at({m, n, k}) / law(m, n, k), 1, 1e-12);
  // Beyond: in proportion to the work.
  EXPECT_NEAR(grid.at({800, 50, 128}), 4 * grid.at({400, 50, 64}), 1e-15);
  EXPECT_DOUBLE_EQ(grid.at({0.5, 2, 8}), grid.at({1, 2, 8}));
}

TEST(Measured, CollectivesOfOtherGroupsSendAsMuch) {
  Measured measured;
  measured.collectives = {{"all_reduce", 2, {{100, 1000}, {1e-6, 1e-5}}},
                          {"all_reduce", 8, {{100, 1000}, {3e-6, 3e-5}}}};
  EXPECT_NEAR(*measured.collective("all_reduce", 2, 1000), 1e-5, 1e-15);
  EXPECT_NEAR(*measured.collective("all_reduce", 8, 1000), 3e-5, 1e-15);
  // Of 3 ranks each sends 2/3 of the tensor (twice), of 2 ranks 1/2: as much as 2 ranks with 4/3.
  EXPECT_NEAR(*measured.collective("all_reduce", 3, 300), measured.collectives[0].time.at(400),
              1e-18);
  EXPECT_FALSE(measured.collective("all_gather", 2, 100).has_value());
}

static MachineModel machine() {
  MachineModel machine;
  machine.peakFlops = {{"f32", 1e12}};
  machine.memoryBandwidth = 1e11;
  machine.memoryBytes = 1e10;
  machine.launch = 1e-6;
  machine.links = {{1e-5, 1e-6, 1e9}};
  return machine;
}

TEST(CostModel, MatMulsFillUnitsInWaves) {
  MachineModel box = machine();
  box.matmul = MatMulUnits{10, 256};
  const CostModel model(box);
  auto seconds = [&](double m, double n, double k) {
    return model.matmulSeconds({1, m, n, k}, 0, plan::DataType::F32);
  };
  // Ten tiles of 256 x 128, one wave: 2 * 256 * 128 * (k + 256) flops on a tenth of the peak.
  EXPECT_NEAR(seconds(256, 1280, 65536), 2.0 * 256 * 128 * (65536 + 256) / 1e11 + 1e-6, 1e-9);
  // More rows than a wave holds: the next one is almost empty.
  EXPECT_GT(seconds(257, 1280, 65536), 1.1 * seconds(256, 1280, 65536));
  // Large products come near the peak, small ones do not.
  EXPECT_LT(seconds(8192, 8192, 8192), 1.1 * 2 * 8192.0 * 8192 * 8192 / 1e12);
  EXPECT_GT(seconds(64, 64, 64), 5 * 2 * 64.0 * 64 * 64 / 1e12);
  // A matrix times a vector is bound by memory.
  EXPECT_DOUBLE_EQ(model.matmulSeconds({1, 1, 4096, 4096}, 1e9, plan::DataType::F32), 1e-2 + 1e-6);
}

TEST(CostModel, MeasuredTimesGoFirst) {
  MachineModel box = machine();
  Measured &measured = box.measured.emplace();
  measured.matmul["f32"] = {{{{1, 10}, {1, 10}, {1, 10}}}, std::vector<double>(8, 7e-6)};
  measured.attention["f32"] = {{{{1, 10}, {1, 10}, {1, 10}}}, std::vector<double>(8, 5e-6)};
  measured.causal["f32"] = {{{{1, 10}, {1}, {1, 10}}}, std::vector<double>(4, 2e-6)};
  measured.masked = 1.5;
  measured.memory = {{1, 100}, {1e-6, 1e-6}};
  measured.perElement = {{"gelu", 1e-9}};
  measured.collectives = {{"all_reduce", 2, {{1, 100}, {2e-6, 2e-6}}}};
  const CostModel model(box);
  EXPECT_DOUBLE_EQ(model.matmulSeconds({3, 5, 5, 5}, 1e9, plan::DataType::F32), 3 * 7e-6);
  // A type that was not measured keeps its formula.
  EXPECT_DOUBLE_EQ(model.matmulSeconds({1, 5, 5, 5}, 1e9, plan::DataType::BF16), 1e-2 + 1e-6);
  EXPECT_DOUBLE_EQ(model.attentionSeconds({2, 5, 5, 5, false}, 0, plan::DataType::F32), 1e-5);
  EXPECT_DOUBLE_EQ(model.attentionSeconds({2, 5, 5, 5, true}, 0, plan::DataType::F32), 4e-6);
  EXPECT_DOUBLE_EQ(model.attentionSeconds({2, 5, 5, 5, false, true}, 0, plan::DataType::F32),
                   1.5e-5);
  // Weights come from memory: 1e5 bytes at 1e11 bytes per second.
  EXPECT_DOUBLE_EQ(model.rowSeconds(50, 0, 1e5), 3e-6);
  EXPECT_DOUBLE_EQ(model.rowSeconds(50, 0), 2e-6);
  EXPECT_DOUBLE_EQ(model.rowSeconds(50, 1e4 * model.functionSeconds("gelu")), 1.1e-5);
  EXPECT_DOUBLE_EQ(model.functionSeconds("add"), 0);
  const Mesh mesh{{{"tp", 2, "tp"}}};
  EXPECT_DOUBLE_EQ(model.collectiveSeconds(StepKind::AllReduce, 50, {0}, mesh), 2e-6);
  // all_to_all was not measured: latency, one round, and half of the tensor.
  EXPECT_DOUBLE_EQ(model.collectiveSeconds(StepKind::AllToAll, 50, {0}, mesh),
                   1e-5 + 1e-6 + 25 / 1e9);
}

namespace {
/// A machine file with the given text for "measured".
std::string errorOf(const std::string &key, const std::string &value) {
  std::string error;
  const auto read = parseMachine(
      R"({"name": "box", "peak_flops": {"f32": 1e10}, "memory_bandwidth": 1e9, "memory_bytes": 1e12, "launch_s": 1e-6,
          "axes": [{"alpha_s": 1e-5, "hop_s": 2e-6, "bandwidth": 5e8}], ")" +
          key + "\": " + value + "}",
      error);
  EXPECT_FALSE(read.has_value());
  return error;
}
} // namespace

TEST(MachineModel, TablesAreCheckedToo) {
  EXPECT_THAT(errorOf("measured", "3"), HasSubstr("measured is not an object"));
  EXPECT_THAT(errorOf("measured", R"({"matmul": {}})"), HasSubstr("'attention' is missing"));
  const std::string rest =
      R"("attention": {}, "causal": {}, "masked": 1, "per_element": {}, "collectives": [], "memory": )";
  EXPECT_THAT(
      errorOf("measured", R"({"matmul": {}, )" + rest + R"({"bytes": [2, 1], "seconds": [1, 1]}})"),
      HasSubstr("'bytes' must hold positive numbers that ascend, found 1"));
  EXPECT_THAT(
      errorOf("measured", R"({"matmul": {}, )" + rest + R"({"bytes": [1, 2], "seconds": [1]}})"),
      HasSubstr("different lengths"));
  EXPECT_THAT(
      errorOf("measured",
              R"({"matmul": {"f32": {"m": [1], "n": [1, 2], "k": [1], "seconds": [-1, 1]}}, )" +
                  rest + R"({"bytes": [1], "seconds": [1]}})"),
      HasSubstr("must hold positive numbers, found -1"));
  EXPECT_THAT(errorOf("measured",
                      R"({"matmul": {"f32": {"m": [1], "n": [1, 2], "k": [1], "seconds": [1]}}, )" +
                          rest + R"({"bytes": [1], "seconds": [1]}})"),
              HasSubstr("expected 2 seconds, found 1"));
  EXPECT_THAT(errorOf("matmul", R"({"units": 0, "depth": 1})"),
              HasSubstr("'units' must be positive"));
  EXPECT_THAT(
      errorOf(
          "nccl",
          R"({"generation": "hopper", "link": "wet", "intra_bus": 1, "inter_bus": 1, "channels": 1})"),
      HasSubstr("'link' nvlink or pci"));
}
