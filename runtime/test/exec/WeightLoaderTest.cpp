// SPDX-License-Identifier: Apache-2.0
#include "../plan/PlanBuilder.h"
#include "FilesOnDisk.h"

#include "tenon/runtime/comm/HalfFloat.h"
#include "tenon/runtime/exec/RandomValues.h"
#include "tenon/runtime/exec/WeightLoader.h"
#include "tenon/runtime/plan/Resolve.h"

#include <gmock/gmock.h>

namespace tenon::runtime {
namespace {

using plan::DataType;
using plan::test::EntryBuilder;
using ::testing::HasSubstr;
using Numbers = std::vector<float>;

class WeightLoaderTest : public test::FilesOnDisk {
protected:
  WeightLoaderTest() : plan(plan::test::emptyPlan({{"major", 2, "tp"}, {"minor", 2, "tp"}})) {
    device = std::move(*makeCpuDevice({}));
  }

  Checkpoint checkpoint(const std::string &header, const std::string &data) {
    Expected<Checkpoint> result =
        Checkpoint::open({write("model.safetensors", safetensors(header, data))});
    EXPECT_TRUE(result) << result.status().message();
    return std::move(*result);
  }
  Numbers held(const LoadedWeights &weights, size_t weight = 0) {
    Numbers values(size_t(plan.weights[weight].elements));
    EXPECT_TRUE(
        device->copyOut(values.data(), weights.memory[weight].data(), int64_t(values.size() * 4)));
    return values;
  }
  Numbers load(const Checkpoint &files, int64_t rank) {
    Expected<LoadedWeights> weights =
        loadWeights(plan, plan::coordinates(plan.mesh, rank), files, *device, options);
    EXPECT_TRUE(weights) << weights.status().message();
    if (!weights)
      return {};
    last = std::move(*weights);
    // Slices of one row and of a few give the same memory.
    for (int64_t sliceBytes : {4, 12, 16}) {
      LoadOptions sliced = options;
      sliced.sliceBytes = sliceBytes;
      sliced.progress = nullptr;
      Expected<LoadedWeights> again =
          loadWeights(plan, plan::coordinates(plan.mesh, rank), files, *device, sliced);
      EXPECT_TRUE(again) << again.status().message();
      for (size_t i = 0; again && i < plan.weights.size(); ++i)
        if (plan.weights[i].type == DataType::F32) {
          EXPECT_EQ(held(*again, i), held(last, i)) << "slices of " << sliceBytes << " bytes";
        }
    }
    return held(last);
  }
  std::string refusal(const Checkpoint &files) {
    Expected<LoadedWeights> weights = loadWeights(plan, {0, 0}, files, *device, options);
    if (weights)
      return "";
    EXPECT_EQ(weights.status().code(), Code::Plan);
    return weights.status().message();
  }
  void weight(const std::vector<int64_t> &shape, std::vector<plan::Axes> axes,
              plan::Axes partial = {}) {
    EntryBuilder entry(plan, "forward");
    entry.weight("w", DataType::F32, shape, std::move(axes), std::move(partial));
  }

  plan::Plan plan;
  std::unique_ptr<Device> device;
  LoadOptions options;
  LoadedWeights last;
};

const char *kFive = R"({"w":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}})";

TEST_F(WeightLoaderTest, everyRankGetsItsNestedBlockAndZeros) {
  weight({5}, {{0, 1}});
  Checkpoint files = checkpoint(kFive, numbers(1, 5));
  EXPECT_EQ(load(files, 0), (Numbers{1, 2}));
  EXPECT_EQ(last.paddingBytes, 0);
  EXPECT_EQ(load(files, 1), (Numbers{3, 0}));
  EXPECT_EQ(last.paddingBytes, 4);
  EXPECT_EQ(last.copiedBytes, 4);
  EXPECT_EQ(load(files, 2), (Numbers{4, 5}));
  EXPECT_EQ(load(files, 3), (Numbers{0, 0}));
  EXPECT_EQ(last.paddingBytes, 8);
  EXPECT_EQ(last.heldBytes, 8);
  EXPECT_EQ(last.plannedBytes, 8);
}

TEST_F(WeightLoaderTest, threadsAndSlicesMakeTheSameRandomValues) {
  weight({700, 500}, {{0}, {1}});
  options.randomSeed = 7;
  Numbers expected = load(Checkpoint(), 3);
  EXPECT_NE(expected.front(), expected.back());
  for (int threads : {2, 3})
    for (int64_t sliceBytes : {int64_t(1) << 25, int64_t(150000)}) {
      options.threads = threads;
      options.sliceBytes = sliceBytes;
      EXPECT_EQ(load(Checkpoint(), 3), expected);
    }
}

TEST_F(WeightLoaderTest, partsSideBySideInColumnsAreCutByRows) {
  // Rows of 4: two columns of a [3,2], one of b [3,1], one of padding.
  plan::WeightPart a, b;
  a.view = {"w", DataType::F32, {9}, 0, {3, 2}, {2, 1}};
  a.dimAxes = {{}, {}};
  a.dstStrides = {4, 1};
  b.view = {"w", DataType::F32, {9}, 6, {3}, {1}};
  b.dimAxes = {{}};
  b.dstOffset = 2;
  b.dstStrides = {4};
  plan.weights.push_back({"w", DataType::F32, 12, {a, b}, false});
  Checkpoint files =
      checkpoint(R"({"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}})", numbers(0, 9));
  EXPECT_EQ(load(files, 0), (Numbers{0, 1, 6, 0, 2, 3, 7, 0, 4, 5, 8, 0}));
}

TEST_F(WeightLoaderTest, aTransposedDestinationIsCutByItsOwnRows) {
  plan::WeightPart part;
  part.view = {"w", DataType::F32, {6}, 0, {2, 3}, {3, 1}};
  part.dimAxes = {{}, {}};
  part.dstStrides = {1, 2};
  plan.weights.push_back({"w", DataType::F32, 6, {part}, false});
  Checkpoint files =
      checkpoint(R"({"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}})", numbers(0, 6));
  EXPECT_EQ(load(files, 0), (Numbers{0, 3, 1, 4, 2, 5}));
}

TEST_F(WeightLoaderTest, aCutInsideRowsIsStrided) {
  weight({2, 4}, {{}, {1}});
  Checkpoint files =
      checkpoint(R"({"w":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}})", numbers(0, 8));
  EXPECT_EQ(load(files, 0), (Numbers{0, 1, 4, 5}));
  EXPECT_EQ(load(files, 1), (Numbers{2, 3, 6, 7}));
  EXPECT_EQ(load(files, 2), (Numbers{0, 1, 4, 5}));
}

TEST_F(WeightLoaderTest, viewsPickElementsAndPartsSitSideBySide) {
  // A fused tensor of 2 heads x (q, k) x 2: q = heads at 0 and 4, k = heads at 2 and 6; merged q |
  // k in rows.
  plan::WeightPart q, k;
  q.view = {"w", DataType::F32, {8}, 0, {2, 2}, {4, 1}};
  q.dimAxes = {{1}, {}};
  q.dstStrides = {2, 1};
  k = q;
  k.view.offset = 2;
  k.dstOffset = 2;
  plan.weights.push_back({"w", DataType::F32, 4, {q, k}, false});
  Checkpoint files =
      checkpoint(R"({"w":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}})", numbers(0, 8));
  EXPECT_EQ(load(files, 0), (Numbers{0, 1, 2, 3}));
  EXPECT_EQ(load(files, 1), (Numbers{4, 5, 6, 7}));
}

TEST_F(WeightLoaderTest, aPartialWeightIsAtCoordinateZeroOnly) {
  weight({5}, {{}}, {0, 1});
  Checkpoint files = checkpoint(kFive, numbers(1, 5));
  EXPECT_EQ(load(files, 0), (Numbers{1, 2, 3, 4, 5}));
  for (int64_t rank : {1, 2, 3})
    EXPECT_EQ(load(files, rank), (Numbers{0, 0, 0, 0, 0})) << rank;
}

TEST_F(WeightLoaderTest, storedFloatsAreConverted) {
  weight({2}, {{}});
  Checkpoint half = checkpoint(R"({"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})",
                               bytesOf<uint16_t>({f32ToBf16(1.5f), f32ToBf16(-2)}));
  EXPECT_EQ(load(half, 0), (Numbers{1.5, -2}));
  Checkpoint ieee = checkpoint(R"({"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})",
                               bytesOf<uint16_t>({f32ToF16(0.25f), f32ToF16(-2)}));
  EXPECT_EQ(load(ieee, 0), (Numbers{0.25, -2}));
}

TEST_F(WeightLoaderTest, missingKeysNameKeyAndFiles) {
  weight({5}, {{}});
  std::string message = refusal(
      checkpoint(R"({"v":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}})", numbers(1, 5)));
  EXPECT_THAT(message, HasSubstr("key 'w' is missing in"));
  EXPECT_THAT(message, HasSubstr("model.safetensors"));
  EXPECT_THAT(refusal(Checkpoint()),
              HasSubstr("'w' is missing: --parameters names no safetensors file"));
}

TEST_F(WeightLoaderTest, wrongShapesAndTypesNameKeyAndFile) {
  weight({5}, {{}});
  EXPECT_THAT(refusal(checkpoint(R"({"w":{"dtype":"F32","shape":[5,1],"data_offsets":[0,20]}})",
                                 numbers(1, 5))),
              HasSubstr("model.safetensors: key 'w': expected shape 5, found 5x1"));
  EXPECT_THAT(refusal(checkpoint(R"({"w":{"dtype":"I32","shape":[5],"data_offsets":[0,20]}})",
                                 numbers(1, 5))),
              HasSubstr("model.safetensors: key 'w': expected dtype F32, found I32"));
  EXPECT_THAT(refusal(checkpoint(R"({"w":{"dtype":"F64","shape":[5],"data_offsets":[0,40]}})",
                                 numbers(1, 10))),
              HasSubstr("expected dtype F32, found F64"));
}

TEST_F(WeightLoaderTest, aKeyInTwoFilesIsRefused) {
  weight({5}, {{}});
  std::string bytes = safetensors(kFive, numbers(1, 5));
  Expected<Checkpoint> files =
      Checkpoint::open({write("a.safetensors", bytes), write("b.safetensors", bytes)});
  ASSERT_TRUE(files);
  EXPECT_THAT(refusal(*files), HasSubstr("key 'w' is in "));
}

TEST_F(WeightLoaderTest, randomWeightsAreTheSameModelAtEveryDegree) {
  weight({5}, {{0, 1}});
  options.randomSeed = 9;
  RandomValues random(9, "w");
  Numbers expected;
  for (int64_t i = 0; i < 5; ++i)
    expected.push_back(0.02f * random.normal(i));
  EXPECT_EQ(load(Checkpoint(), 0), (Numbers{expected[0], expected[1]}));
  EXPECT_EQ(load(Checkpoint(), 1), (Numbers{expected[2], 0}));
  EXPECT_EQ(load(Checkpoint(), 2), (Numbers{expected[3], expected[4]}));
  EXPECT_EQ(last.randomWeights, 1);
}

TEST_F(WeightLoaderTest, randomNormScalesAreOnesAndPaddingStaysZero) {
  weight({5}, {{0, 1}});
  plan.weights[0].ones = true;
  options.randomSeed = 9;
  EXPECT_EQ(load(Checkpoint(), 1), (Numbers{1, 0}));
}

TEST_F(WeightLoaderTest, filesGoBeforeRandomNumbers) {
  weight({5}, {{}});
  options.randomSeed = 9;
  EXPECT_EQ(load(checkpoint(kFive, numbers(1, 5)), 0), (Numbers{1, 2, 3, 4, 5}));
  EXPECT_EQ(last.randomWeights, 0);
}

TEST_F(WeightLoaderTest, progressReachesTheWhole) {
  weight({5}, {{}});
  weight({5}, {{0}});
  int64_t seen = 0, whole = 0;
  options.progress = [&](int64_t done, int64_t all) {
    EXPECT_GT(done, seen);
    seen = done, whole = all;
  };
  load(checkpoint(kFive, numbers(1, 5)), 0);
  EXPECT_EQ(seen, 32); // 5 and ceil(5/2) elements
  EXPECT_EQ(whole, 32);
}

} // namespace
} // namespace tenon::runtime
