// SPDX-License-Identifier: Apache-2.0
// The executor on hand-made plans, with ranks as threads.
#include "../plan/PlanBuilder.h"
#include "FilesOnDisk.h"

#include "tenon/runtime/exec/Executor.h"
#include "tenon/runtime/exec/InputCheck.h"
#include "tenon/runtime/exec/OutputAssembly.h"
#include "tenon/runtime/exec/RandomValues.h"
#include "tenon/runtime/exec/ValueDump.h"
#include "tenon/runtime/plan/Verify.h"

#include <cmath>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace tenon::runtime {
namespace {

using plan::DataType;
using plan::test::EntryBuilder;
using plan::test::whole;
using ::testing::HasSubstr;
using Numbers = std::vector<float>;

HostArray floats(const std::vector<int64_t> &shape, const Numbers &values) {
  HostArray array{DataType::F32, shape, std::vector<std::byte>(values.size() * 4)};
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

Numbers numbersOf(const HostArray &array) {
  Numbers values(array.bytes.size() / 4);
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

Numbers randomNumbers(int64_t count, uint64_t seed) {
  RandomValues random(seed, "x");
  Numbers values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(random.normal(i));
  return values;
}

struct RankSetup {
  ExecutorOptions options;
  CpuOptions cpu;
  std::vector<std::string> faults;
  bool capture = false; ///< Takes the steps from a recording of another one.
};

/// Everything a rank needs for an executor, made as tp-run makes it.
struct Rank {
  std::vector<int64_t> coordinates;
  std::unique_ptr<Device> device;
  std::optional<Groups> groups;
  LoadedWeights weights;
  DeviceMemory arena;
  std::unique_ptr<Executor> executor;

  Status make(const plan::Plan &plan, Communicator &mesh, const RankSetup &setup) {
    coordinates = plan::coordinates(plan.mesh, mesh.rank());
    device = std::move(*makeCpuDevice(setup.cpu));
    Expected<Groups> made = Groups::create(plan, coordinates, mesh);
    if (!made)
      return made.status();
    groups = std::move(*made);
    groups->checkTags(true);
    LoadOptions load;
    load.randomSeed = 5;
    Expected<LoadedWeights> loaded = loadWeights(plan, coordinates, Checkpoint(), *device, load);
    if (!loaded)
      return loaded.status();
    weights = std::move(*loaded);
    Expected<DeviceMemory> memory = DeviceMemory::allocate(*device, arenaBytes(plan));
    if (!memory)
      return memory.status();
    arena = std::move(*memory);
    ExecutorOptions options = setup.options;
    Expected<FaultInjection> faults = FaultInjection::parse(setup.faults);
    if (!faults)
      return faults.status();
    options.faults = faults->of(mesh.rank());
    Expected<std::unique_ptr<Executor>> prepared =
        Executor::create({plan, mesh.rank(), coordinates, *device, mesh, *groups, weights, arena},
                         0, std::move(options));
    if (!prepared)
      return prepared.status();
    executor = std::move(*prepared);
    return Status();
  }
};

/// Output 0 of rank 0 after a step on each of the inputs.
Expected<std::vector<Numbers>> runSteps(const plan::Plan &plan, const RankSetup &setup,
                                        const std::vector<HostArray> &inputs) {
  std::vector<Numbers> results;
  Status status = runThreadRanks(int(plan::worldSize(plan)), [&](Communicator &mesh) {
    Rank rank;
    if (Status made = rank.make(plan, mesh, setup); !made)
      return made;
    if (setup.capture) {
      HostArray other = inputs.back();
      if (Status stepped = rank.executor->step({&other}); !stepped)
        return stepped;
      Expected<std::string> why = rank.executor->capture();
      if (!why || !why->empty())
        return why ? Status(Code::Device, *why) : why.status();
    }
    for (const HostArray &input : inputs) {
      if (Status stepped = rank.executor->step({&input}); !stepped)
        return stepped;
      Expected<HostArray> block = rank.executor->outputBlock(0);
      if (!block)
        return block.status();
      if (mesh.rank() == 0)
        results.push_back(numbersOf(*block));
    }
    return Status();
  });
  if (!status)
    return status;
  return results;
}

/// The MLP of PlanBuilder.h by plain loops in double.
Numbers mlpByHand(const Numbers &x, int64_t hidden = 16) {
  RandomValues w1(5, "w1"), w2(5, "w2");
  Numbers y(32);
  for (int64_t m = 0; m < 4; ++m) {
    std::vector<double> row(8, 0);
    for (int64_t h = 0; h < hidden; ++h) {
      double sum = 0;
      for (int64_t k = 0; k < 8; ++k)
        sum += double(x[size_t(m * 8 + k)]) * double(0.02f * w1.normal(k * hidden + h));
      double gelu = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
      for (int64_t n = 0; n < 8; ++n)
        row[size_t(n)] += gelu * double(0.02f * w2.normal(h * 8 + n));
    }
    for (int64_t n = 0; n < 8; ++n)
      y[size_t(m * 8 + n)] = float(row[size_t(n)]);
  }
  return y;
}

void expectNear(const Numbers &found, const Numbers &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
}

TEST(ExecutorTest, aStepComputesTheModelAtEveryDegree) {
  Numbers x = randomNumbers(32, 1), expected = mlpByHand(x);
  for (int64_t ranks : {1, 2, 3, 4}) {
    plan::Plan plan = plan::test::mlpPlan(ranks);
    ASSERT_TRUE(plan::verifyAll(plan));
    auto results = runSteps(plan, {}, {floats({4, 8}, x)});
    ASSERT_TRUE(results) << results.status().message();
    expectNear((*results)[0], expected);
  }
}

TEST(ExecutorTest, everyStepReadsItsOwnInputs) {
  std::vector<HostArray> inputs = {floats({4, 8}, randomNumbers(32, 1)),
                                   floats({4, 8}, randomNumbers(32, 2)),
                                   floats({4, 8}, randomNumbers(32, 1))};
  plan::Plan plan = plan::test::mlpPlan(2);
  auto plain = runSteps(plan, {}, inputs);
  RankSetup capture;
  capture.capture = true;
  auto replayed = runSteps(plan, capture, inputs);
  ASSERT_TRUE(plain && replayed);
  EXPECT_NE((*plain)[0], (*plain)[1]);
  EXPECT_EQ((*plain)[0], (*plain)[2]);
  EXPECT_EQ(*plain, *replayed);
}

TEST(ExecutorTest, everyScheduleGivesTheSameBits) {
  std::vector<HostArray> inputs = {floats({4, 8}, randomNumbers(32, 1)),
                                   floats({4, 8}, randomNumbers(32, 2))};
  plan::Plan plan = plan::test::mlpPlan(3);
  auto plain = runSteps(plan, {}, inputs);
  ASSERT_TRUE(plain);
  for (StreamPolicy policy : {StreamPolicy::Starve0, StreamPolicy::Starve1})
    for (bool capture : {false, true}) {
      RankSetup setup;
      setup.cpu.policy = policy;
      setup.capture = capture;
      setup.options.poison = true;
      auto results = runSteps(plan, setup, inputs);
      ASSERT_TRUE(results) << results.status().message();
      EXPECT_EQ(*results, *plain);
    }
}

TEST(ExecutorTest, everyKindOfOpRuns) {
  for (int64_t ranks : {1, 2, 3, 4}) {
    plan::Plan plan = plan::test::allOpsPlan(ranks);
    Status status = runThreadRanks(int(ranks), [&](Communicator &mesh) {
      Rank rank;
      RankSetup setup;
      setup.options.poison = true;
      setup.options.checkFinite = true;
      if (Status made = rank.make(plan, mesh, setup); !made)
        return made;
      HostArray ids = randomInput(plan.entries[0].inputs[0], 3),
                mask = randomInput(plan.entries[0].inputs[1], 3);
      return rank.executor->step({&ids, &mask});
    });
    EXPECT_TRUE(status) << status.message();
  }
}

// A missing event: the all_reduce on stream 1 may run before the matmul that it needs.
TEST(ExecutorTest, aStarvedStreamShowsAMissingEvent) {
  plan::Plan plan = plan::test::mlpPlan(2);
  std::vector<plan::Op> &ops = plan.entries[0].ops;
  auto first = std::find_if(ops.begin(), ops.end(), [](const plan::Op &op) {
    return std::holds_alternative<plan::Record>(op.body);
  });
  ops.erase(first, first + 2);
  EXPECT_FALSE(plan::verifyAll(plan));
  std::vector<HostArray> inputs = {floats({4, 8}, randomNumbers(32, 1))};
  bool shown = false;
  for (StreamPolicy policy : {StreamPolicy::Starve0, StreamPolicy::Starve1}) {
    RankSetup setup;
    setup.cpu.policy = policy;
    setup.options.poison = true;
    auto results = runSteps(plan, setup, inputs);
    ASSERT_TRUE(results) << results.status().message();
    shown = shown || std::isnan((*results)[0][0]);
  }
  EXPECT_TRUE(shown);
}

/// y = x + 1 by way of a buffer that another one overwrites while it is still needed.
plan::Plan overlappingPlan(bool overlap) {
  plan::Plan plan = plan::test::emptyPlan({{"tp", 1, "tp"}});
  EntryBuilder entry(plan, "forward");
  int32_t x = entry.input("x", DataType::F32, {8}), a = entry.buffer(DataType::F32, {8}),
          b = entry.buffer(DataType::F32, {8}), c = entry.buffer(DataType::F32, {8}),
          y = entry.buffer(DataType::F32, {8});
  std::vector<plan::ExprTerm> plusOne = {
      {plan::ExprOp::Input, 0, 0}, {plan::ExprOp::Constant, 0, 1}, {plan::ExprOp::Add, 0, 0}};
  entry.op(plan::Elementwise{{whole(x, {8})}, whole(a, {8}), plusOne}, "first");
  entry.op(plan::Copy{whole(x, {8}), whole(b, {8})}, "second");
  entry.op(plan::Copy{whole(b, {8}), whole(c, {8})}, "third");
  entry.op(plan::Copy{whole(a, {8}), whole(y, {8})}, "last");
  entry.output("y", y, {8});
  if (overlap)
    entry.entry.buffers[size_t(b)].offset = entry.entry.buffers[size_t(a)].offset;
  entry.finish();
  return plan;
}

TEST(ExecutorTest, poisonShowsAReadOfADeadValue) {
  Numbers x = {0, 1, 2, 3, 4, 5, 6, 7};
  RankSetup poison;
  poison.options.poison = true;
  auto right = runSteps(overlappingPlan(false), poison, {floats({8}, x)});
  ASSERT_TRUE(right);
  EXPECT_EQ((*right)[0], (Numbers{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_FALSE(plan::verifyAll(overlappingPlan(true)));
  auto silent = runSteps(overlappingPlan(true), {}, {floats({8}, x)});
  ASSERT_TRUE(silent);
  EXPECT_EQ((*silent)[0], x); // plausible, and wrong
  auto shown = runSteps(overlappingPlan(true), poison, {floats({8}, x)});
  ASSERT_TRUE(shown);
  for (float value : (*shown)[0])
    EXPECT_TRUE(std::isnan(value));
}

TEST(ExecutorTest, checkFiniteNamesTheFirstOpAndItsLayer) {
  RankSetup setup;
  setup.options.checkFinite = true;
  Numbers x = randomNumbers(32, 1);
  x[13] = NAN;
  auto results = runSteps(plan::test::mlpPlan(2), setup, {floats({4, 8}, x)});
  ASSERT_FALSE(results);
  EXPECT_EQ(results.status().code(), Code::Differs);
  EXPECT_THAT(results.status().message(), HasSubstr("forward, step 0, op 0: matmul at mlp.up"));
  EXPECT_THAT(results.status().message(), HasSubstr("c element 8 of 4x8 is NaN"));
  x[13] = INFINITY; // times a weight: infinite, and NaN in the sum of opposite signs
  results = runSteps(plan::test::mlpPlan(2), setup, {floats({4, 8}, x)});
  ASSERT_FALSE(results);
  EXPECT_THAT(results.status().message(), HasSubstr("matmul at mlp.up"));
}

TEST(ExecutorTest, afterOpSeesEveryResult) {
  std::vector<int> seen;
  RankSetup setup;
  setup.options.afterOp = [&](int op) {
    seen.push_back(op);
    return Status();
  };
  plan::Plan plan = plan::test::mlpPlan(1);
  ASSERT_TRUE(runSteps(plan, setup, {floats({4, 8}, randomNumbers(32, 1))}));
  EXPECT_EQ(seen.size(), plan.entries[0].ops.size());
}

TEST(ExecutorTest, aFailingRankReleasesTheOthersAndSpeaksAlone) {
  RankSetup setup;
  setup.faults = {"1:op=2:error"};
  auto results = runSteps(plan::test::mlpPlan(3), setup, {floats({4, 8}, randomNumbers(32, 1))});
  ASSERT_FALSE(results);
  EXPECT_EQ(results.status().code(), Code::Device);
  EXPECT_EQ(results.status().message(),
            "rank 1: forward, step 0, op 2: matmul at mlp.down: injected error");
}

TEST(ExecutorTest, anotherCountOnOneRankIsADisagreement) {
  RankSetup setup;
  setup.faults = {"1:op=collective0:count"};
  HostArray x = floats({4, 8}, randomNumbers(32, 1));
  auto results = runSteps(plan::test::mlpPlan(2), setup, {x, x});
  ASSERT_FALSE(results);
  EXPECT_EQ(results.status().code(), Code::Disagree);
  EXPECT_THAT(results.status().message(), HasSubstr("of 31 f32"));
  EXPECT_THAT(results.status().message(), HasSubstr("of 32 f32"));
}

TEST(ExecutorTest, timesAddUp) {
  plan::Plan plan = plan::test::mlpPlan(2);
  Status status = runThreadRanks(2, [&](Communicator &mesh) {
    Rank rank;
    if (Status made = rank.make(plan, mesh, {}); !made)
      return made;
    HostArray x = floats({4, 8}, randomNumbers(32, 1));
    if (Status stepped = rank.executor->step({&x}); !stepped)
      return stepped;
    double before = rank.executor->stepBegin();
    for (const OpTime &time : rank.executor->opTimes()) {
      if (time.begin < before || time.end < time.begin || time.end > rank.executor->stepEnd())
        return Status(Code::Differs, "times are not in order");
      if (time.collective.left != 0 &&
          (time.collective.entered < time.begin ||
           time.collective.ready < time.collective.entered ||
           time.collective.left < time.collective.ready || time.collective.left > time.end))
        return Status(Code::Differs, "times of the collective are not in order");
      before = time.end;
    }
    return Status();
  });
  EXPECT_TRUE(status) << status.message();
}

class ValueDumpTest : public test::FilesOnDisk {};

TEST_F(ValueDumpTest, holdsWhatEveryOpMade) {
  plan::Plan plan = plan::test::mlpPlan(2);
  Status status = runThreadRanks(2, [&](Communicator &mesh) {
    Rank rank;
    if (Status made = rank.make(plan, mesh, {}); !made)
      return made;
    Expected<std::unique_ptr<ValueDump>> dump = ValueDump::create(directory / "d", mesh.rank());
    if (!dump)
      return dump.status();
    rank.executor->setAfterOp([&](int op) { return (*dump)->write(*rank.executor, op); });
    HostArray x = floats({4, 8}, randomNumbers(32, 1));
    if (Status stepped = rank.executor->step({&x}); !stepped)
      return stepped;
    Expected<HostArray> y = rank.executor->outputBlock(0);
    y->shape = {4, 8};
    return (*dump)->finish(plan, rank.executor->entry(), "digest", {*y}, mesh);
  });
  ASSERT_TRUE(status) << status.message();
  nlohmann::json index = nlohmann::json::parse(read(directory / "d" / "index.json"));
  // matmul, gelu, matmul, all_reduce on two ranks, and the output.
  ASSERT_EQ(index["values"].size(), 9u);
  EXPECT_EQ(index["values"][0]["file"], "rank0/00000.c.npy");
  EXPECT_EQ(index["values"][1]["file"], "rank1/00000.c.npy");
  EXPECT_EQ(index["values"][0]["shape"], (std::vector<int64_t>{4, 8}));
  EXPECT_EQ(index["values"][8]["name"], "output y");
  for (const nlohmann::json &value : index["values"])
    EXPECT_TRUE(std::filesystem::exists(directory / "d" / value["file"].get<std::string>()));
  EXPECT_EQ(read(directory / "d" / "rank0/00005.out.npy"), read(directory / "d" / "outputs/y.npy"));
}

} // namespace
} // namespace tenon::runtime
