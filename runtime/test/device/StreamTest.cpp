// SPDX-License-Identifier: Apache-2.0
// Streams, events, capture and failure, on every device: what the executor relies on.
#include "Conformance.h"

#include <cmath>

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;
using plan::ExprOp;

class StreamTest : public testing::TestWithParam<DeviceKind> {
protected:
  void open(StreamPolicy policy) {
    device.reset(); // One at a time.
    auto made = GetParam().make(policy);
    ASSERT_TRUE(made) << made.status().message();
    device = std::move(*made);
  }

  std::unique_ptr<Kernel> prepare(plan::OpBody body, const Binding &binding) {
    plan::Op op;
    op.body = std::move(body);
    op.location = "layer";
    auto kernel = device->prepare(op, binding);
    EXPECT_TRUE(kernel) << kernel.status().message();
    return kernel ? std::move(*kernel) : nullptr;
  }

  static plan::Elementwise addOne(const plan::Operand &x, const plan::Operand &out) {
    plan::Elementwise op;
    op.expr = {{ExprOp::Input, 0, 0}, {ExprOp::Constant, 0, 1}, {ExprOp::Add, 0, 0}};
    op.inputs = {x};
    op.out = out;
    return op;
  }

  std::unique_ptr<Device> device;
};

// x (NaN) <- fill 3 on stream 0; y <- x + 1 on stream 1.
TEST_P(StreamTest, aMissingEventShowsOnOneOfTheSchedules) {
  for (bool withEvent : {true, false})
    for (StreamPolicy policy : {StreamPolicy::Starve0, StreamPolicy::Starve1}) {
      open(policy);
      Case data(GetParam());
      plan::Operand x = data.operand(DataType::F32, {4}), y = data.operand(DataType::F32, {4});
      data.assign(x, {NAN, NAN, NAN, NAN});
      Bound bound(*device, data.memory);
      auto fill = prepare(plan::Fill{x, 3, -1, {}}, bound.binding);
      auto add = prepare(addOne(x, y), bound.binding);
      auto record = prepare(plan::Record{0}, bound.binding);
      auto wait = prepare(plan::Wait{0}, bound.binding);
      fill->enqueue(0);
      if (withEvent) {
        record->enqueue(0);
        wait->enqueue(1);
      }
      add->enqueue(1);
      ASSERT_TRUE(device->synchronize());
      bound.read(data.memory);
      double found = data.memory.get(y.buffer, 0);
      if (withEvent || policy == StreamPolicy::Starve1)
        EXPECT_EQ(found, 4);
      else
        EXPECT_TRUE(std::isnan(found)) << found;
    }
}

TEST_P(StreamTest, nothingRunsBeforeItMust) {
  if (!GetParam().onCallingThread)
    return; // A copy out waits for what is on its stream.
  open(StreamPolicy::Starve0);
  Case data(GetParam());
  plan::Operand x = data.operand(DataType::F32, {1});
  data.assign(x, {7});
  Bound bound(*device, data.memory);
  auto fill = prepare(plan::Fill{x, 3, -1, {}}, bound.binding);
  fill->enqueue(0);
  bound.read(data.memory);
  EXPECT_EQ(data.memory.get(x.buffer, 0), 7);
  ASSERT_TRUE(device->synchronize());
  bound.read(data.memory);
  EXPECT_EQ(data.memory.get(x.buffer, 0), 3);
}

TEST_P(StreamTest, aWaitWithoutRecordFails) {
  for (StreamPolicy policy : {StreamPolicy::Inline, StreamPolicy::Starve0, StreamPolicy::Starve1}) {
    open(policy);
    Case data(GetParam());
    Bound bound(*device, data.memory);
    auto wait = prepare(plan::Wait{2}, bound.binding);
    auto record = prepare(plan::Record{2}, bound.binding);
    wait->enqueue(1);
    record->enqueue(0);
    Status status = device->synchronize();
    EXPECT_EQ(status.code(), Code::Device);
    EXPECT_NE(status.message().find("event 2 was never recorded"), std::string::npos)
        << status.message();
    // A record of the step before does not count.
    record->enqueue(0);
    EXPECT_TRUE(device->synchronize());
    wait->enqueue(1);
    EXPECT_FALSE(device->synchronize());
  }
}

TEST_P(StreamTest, eventsAreUsedAgain) {
  for (StreamPolicy policy : {StreamPolicy::Inline, StreamPolicy::Starve0, StreamPolicy::Starve1}) {
    open(policy);
    Case data(GetParam());
    plan::Operand x = data.operand(DataType::F32, {1}), y = data.operand(DataType::F32, {1});
    data.assign(x, {0});
    Bound bound(*device, data.memory);
    auto there = prepare(addOne(x, y), bound.binding), back = prepare(addOne(y, x), bound.binding);
    auto record0 = prepare(plan::Record{0}, bound.binding);
    auto wait0 = prepare(plan::Wait{0}, bound.binding);
    auto record1 = prepare(plan::Record{1}, bound.binding);
    auto wait1 = prepare(plan::Wait{1}, bound.binding);
    for (int i = 0; i < 5; ++i) {
      there->enqueue(0);
      record0->enqueue(0);
      wait0->enqueue(1);
      back->enqueue(1);
      record1->enqueue(1);
      wait1->enqueue(0);
    }
    ASSERT_TRUE(device->synchronize());
    bound.read(data.memory);
    EXPECT_EQ(data.memory.get(x.buffer, 0), 10);
  }
}

TEST_P(StreamTest, replayReadsNewIds) {
  for (StreamPolicy policy : {StreamPolicy::Inline, StreamPolicy::Starve0, StreamPolicy::Starve1}) {
    open(policy);
    Case data(GetParam());
    plan::GatherRows gather;
    gather.ids = data.operand(DataType::I64, {2});
    gather.table = data.operand(DataType::F32, {5, 3});
    gather.out = data.operand(DataType::F32, {2, 3});
    gather.rows = constant(5);
    plan::Operand y = data.operand(DataType::F32, {2, 3});
    data.assign(gather.ids, {1, 2});
    data.assign(gather.out, std::vector<double>(6, NAN));
    Bound bound(*device, data.memory);
    auto first = prepare(gather, bound.binding);
    auto record = prepare(plan::Record{0}, bound.binding);
    auto wait = prepare(plan::Wait{0}, bound.binding);
    auto second = prepare(addOne(gather.out, y), bound.binding);

    std::vector<std::pair<int, bool>> seen;
    device->setObserver(
        [&](int op, bool begin) {
          seen.push_back({op, begin});
          return Status();
        },
        Observation::Progress);
    ASSERT_TRUE(device->beginCapture());
    int op = 10;
    for (auto [kernel, stream] :
         {std::pair{first.get(), 0}, {record.get(), 0}, {wait.get(), 1}, {second.get(), 1}}) {
      device->setOpIndex(op++);
      kernel->enqueue(stream);
    }
    auto capture = device->endCapture();
    ASSERT_TRUE(capture);
    ASSERT_TRUE(device->synchronize());
    EXPECT_TRUE(seen.empty()) << "capture must not run anything";

    for (auto [a, b] : {std::pair<int, int>{1, 2}, {4, 0}}) {
      data.assign(gather.ids, {double(a), double(b)});
      bound.write(gather.ids.buffer, data.memory);
      seen.clear();
      (*capture)->replay();
      ASSERT_TRUE(device->synchronize());
      reference::Memory found = data.memory;
      bound.read(found);
      for (int column = 0; column < 3; ++column) {
        double row = data.memory.get(gather.table.buffer, a * 3 + column);
        EXPECT_FLOAT_EQ(float(found.get(y.buffer, column)), float(row + 1));
      }
      std::vector<std::pair<int, bool>> expected;
      for (int i = 10; i < 14; ++i)
        expected.insert(expected.end(), {{i, true}, {i, false}});
      // A GPU tells of collectives, and that the step has begun.
      if (!GetParam().onCallingThread)
        expected = {{10, true}};
      EXPECT_EQ(seen, expected);
    }
  }
}

TEST_P(StreamTest, anObserverStopsTheStep) {
  for (StreamPolicy policy : {StreamPolicy::Inline, StreamPolicy::Starve1}) {
    open(policy);
    Case data(GetParam());
    plan::Operand x = data.operand(DataType::F32, {1});
    Bound bound(*device, data.memory);
    auto one = prepare(plan::Fill{x, 1, -1, {}}, bound.binding);
    auto two = prepare(plan::Fill{x, 2, -1, {}}, bound.binding);
    auto three = prepare(plan::Fill{x, 3, -1, {}}, bound.binding);
    device->setObserver(
        [](int op, bool begin) {
          return op == 1 && begin ? Status(Code::Deadline, "injected") : Status();
        },
        Observation::Stepwise);
    int op = 0;
    for (Kernel *kernel : {one.get(), two.get(), three.get()}) {
      device->setOpIndex(op++);
      kernel->enqueue(0);
    }
    Status status = device->synchronize();
    EXPECT_EQ(status.code(), Code::Deadline);
    EXPECT_EQ(status.message(), "injected");
    bound.read(data.memory);
    EXPECT_EQ(data.memory.get(x.buffer, 0), 1);
    // The failure is reported once and the device goes on.
    device->setOpIndex(5);
    three->enqueue(0);
    EXPECT_TRUE(device->synchronize());
    bound.read(data.memory);
    EXPECT_EQ(data.memory.get(x.buffer, 0), 3);
  }
}

TEST_P(StreamTest, memory) {
  open(StreamPolicy::Inline);
  auto memory = device->allocate(1000);
  ASSERT_TRUE(memory);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*memory) % 64, 0u);
  std::vector<uint8_t> bytes(1000, 1), zero(1000, 0);
  ASSERT_TRUE(device->copyOut(bytes.data(), *memory, 1000));
  EXPECT_EQ(bytes, zero);
  device->release(*memory);
  auto nothing = device->allocate(0);
  ASSERT_TRUE(nothing);
  device->release(*nothing);
  for (int64_t bytes : {int64_t(1) << 45, int64_t(1) << 62, int64_t(-1)}) {
    auto huge = device->allocate(bytes);
    ASSERT_FALSE(huge);
    EXPECT_EQ(huge.status().code(), Code::Memory);
  }
}

TEST_P(StreamTest, sameBitsFromRunToRun) {
  open(StreamPolicy::Inline);
  Case data(GetParam());
  plan::MatMul op;
  op.aDims = "mk";
  op.bDims = "nk";
  op.cDims = "mn";
  op.a = data.operand(DataType::F32, {37, 300});
  op.b = data.operand(DataType::F32, {90, 300});
  op.c = data.operand(DataType::F32, {37, 90});
  op.activation = plan::Activation::Gelu;
  Bound bound(*device, data.memory);
  auto kernel = prepare(op, bound.binding);
  reference::Memory first = data.memory, second = data.memory;
  kernel->enqueue(0);
  ASSERT_TRUE(device->synchronize());
  bound.read(first);
  for (int i = 0; i < 5; ++i) {
    kernel->enqueue(0);
    ASSERT_TRUE(device->synchronize());
    bound.read(second);
    EXPECT_EQ(first.buffers[op.c.buffer], second.buffers[op.c.buffer]);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, StreamTest, testing::ValuesIn(deviceKinds()),
                         [](const auto &info) { return info.param.name; });

} // namespace
} // namespace tenon::runtime::conformance
