// SPDX-License-Identifier: Apache-2.0
// What is peculiar to the CPU device: instruction sets, accuracy of its own mathematics, workspace,
// collectives through a communicator.
#include "../device/Conformance.h"
#include "MatMulPrimitive.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;
using plan::ExprOp;

TEST(CpuDevice, refusesUnknownInstructionSets) {
  CpuOptions options;
  options.isa = "avx9";
  auto device = makeCpuDevice(options);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.status().code(), Code::Usage);
  EXPECT_EQ(device.status().message(),
            "--isa: unknown instruction set 'avx9', expected sse2, avx2 or avx512");
}

TEST(CpuDevice, refusesAThreadCountOfZero) {
  CpuOptions options;
  options.threads = 0;
  auto device = makeCpuDevice(options);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.status().code(), Code::Usage);
}

TEST(CpuDevice, namesItsInstructionSet) {
  for (const DeviceKind &kind : deviceKinds()) {
    auto device = kind.make(StreamPolicy::Inline);
    ASSERT_TRUE(device);
    std::string isa = (*device)->name().substr(4);
    EXPECT_EQ(kind.name.substr(4, isa.size()), isa);
    CpuOptions options;
    options.isa = isa;
    EXPECT_EQ(cpuIsa(options), isa);
  }
}

/// Largest error of an operator over [low, high] in units of `scale(x)`.
double largestError(const DeviceKind &kind, ExprOp op, double low, double high,
                    double (*exact)(double), bool relative) {
  constexpr int64_t kCount = 200000;
  auto device = kind.make(StreamPolicy::Inline);
  EXPECT_TRUE(device);
  reference::Memory memory;
  plan::Operand x{memory.add(DataType::F32, kCount), {}, {kCount}, {1}};
  plan::Operand y{memory.add(DataType::F32, kCount), {}, {kCount}, {1}};
  for (int64_t i = 0; i < kCount; ++i)
    memory.set(x.buffer, i, low + (high - low) * double(i) / kCount);
  Bound bound(**device, memory);
  plan::Elementwise body;
  body.expr = {{ExprOp::Input, 0, 0}, {op, 0, 0}};
  body.inputs = {x};
  body.out = y;
  plan::Op whole;
  whole.body = body;
  auto kernel = (*device)->prepare(whole, bound.binding);
  EXPECT_TRUE(kernel);
  (*kernel)->enqueue(0);
  EXPECT_TRUE((*device)->synchronize());
  bound.read(memory);
  double worst = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    double want = exact(memory.get(x.buffer, i));
    double error = std::fabs(memory.get(y.buffer, i) - want);
    worst = std::max(worst, relative ? error / std::fabs(want) : error);
  }
  return worst;
}

class CpuMathTest : public testing::TestWithParam<DeviceKind> {};

TEST_P(CpuMathTest, exp) {
  EXPECT_LT(largestError(GetParam(), ExprOp::Exp, -87, 88, std::exp, true), 1.5e-7);
}

TEST_P(CpuMathTest, tanh) {
  EXPECT_LT(largestError(GetParam(), ExprOp::Tanh, 1e-5, 10, std::tanh, true), 4e-7);
}

TEST_P(CpuMathTest, erf) {
  EXPECT_LT(largestError(GetParam(), ExprOp::Erf, -6, 6, std::erf, false), 3e-7);
}

TEST_P(CpuMathTest, geluWithErf) {
  auto exact = [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); };
  EXPECT_LT(largestError(GetParam(), ExprOp::Gelu, -10, 10, exact, false), 1e-6);
}

TEST_P(CpuMathTest, silu) {
  auto exact = [](double x) { return x / (1 + std::exp(-x)); };
  EXPECT_LT(largestError(GetParam(), ExprOp::Silu, 1e-3, 80, exact, true), 3e-7);
}

INSTANTIATE_TEST_SUITE_P(Devices, CpuMathTest, testing::ValuesIn(deviceKinds()),
                         [](const auto &info) { return info.param.name; });

TEST(CpuDevice, equalShapesShareOnePrimitive) {
  cpu::MatMulPrimitives primitives(cpu::Isa::Avx512, 1);
  cpu::MatMulShape shape;
  shape.m = 8, shape.n = 16, shape.k = 32;
  shape.aStrides = {0, 32, 1};
  shape.bStrides = {0, 16, 1};
  shape.cStrides = {0, 16, 1};
  auto first = primitives.get(shape);
  ASSERT_TRUE(first);
  for (int layer = 1; layer < 96; ++layer) {
    auto again = primitives.get(shape);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, *first);
  }
  EXPECT_EQ(primitives.created(), 1);
  shape.bStrides = {0, 1, 32};
  ASSERT_TRUE(primitives.get(shape));
  EXPECT_EQ(primitives.created(), 2);
}

TEST(CpuDevice, bookkeepsSharedWorkspaceOnce) {
  auto device = makeCpuDevice({});
  ASSERT_TRUE(device);
  Case data(deviceKinds()[0]);
  plan::Attention op;
  op.q = data.operand(DataType::F32, {1, 64, 2, 1, 16});
  op.k = data.operand(DataType::F32, {1, 64, 2, 16});
  op.v = data.operand(DataType::F32, {1, 64, 2, 16});
  op.out = data.operand(DataType::F32, {1, 64, 2, 1, 16});
  Bound bound(**device, data.memory);
  plan::Op whole;
  whole.body = op;
  auto first = (*device)->prepare(whole, bound.binding);
  auto second = (*device)->prepare(whole, bound.binding);
  ASSERT_TRUE(first && second);
  EXPECT_GT((*first)->workspaceBytes(), 0);
  EXPECT_EQ((*second)->workspaceBytes(), 0);
}

/// A group of two in which the other member sends what this one sends, plus one.
class TwinCommunicator : public Communicator {
public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Expected<std::unique_ptr<Communicator>> split(int, int) override {
    return Status(Code::Device, "not in this test");
  }
  Status allReduce(const void *x, void *out, int64_t count, DataType, plan::ReduceKind,
                   CollectiveTime *time) override {
    for (int64_t i = 0; i < count; ++i)
      floats(out)[i] = 2 * floats(x)[i] + 1;
    if (time)
      time->left = 5;
    return Status();
  }
  Status allGather(const void *x, void *out, int64_t count, DataType, CollectiveTime *) override {
    for (int64_t i = 0; i < 2 * count; ++i)
      floats(out)[i] = floats(x)[i % count] + (i >= count);
    return Status();
  }
  Status reduceScatter(const void *x, void *out, int64_t count, DataType, plan::ReduceKind,
                       CollectiveTime *) override {
    for (int64_t i = 0; i < count / 2; ++i)
      floats(out)[i] = 2 * floats(x)[i] + 1;
    return Status();
  }
  Status allToAll(const void *x, void *out, int64_t count, DataType, CollectiveTime *) override {
    for (int64_t i = 0; i < count; ++i)
      floats(out)[i] = floats(x)[i % (count / 2)] + (i >= count / 2);
    return Status();
  }
  Status broadcast(const void *, void *, int64_t, DataType, CollectiveTime *) override {
    return Status(Code::Device, "a peer failed");
  }
  Status barrier() override { return Status(); }
  Expected<std::vector<std::string>> gatherStrings(const std::string &mine) override {
    return std::vector<std::string>{mine, mine};
  }
  void checkTags(bool) override {}
  void setName(std::string) override {}
  void setSequence(uint64_t) override {}
  bool cancel(Code) override { return true; }

private:
  static float *floats(const void *p) { return static_cast<float *>(const_cast<void *>(p)); }
};

class CpuCollectiveTest : public testing::Test {
protected:
  Status run(plan::CollectiveKind kind, int64_t in, int64_t out) {
    data = std::make_unique<Case>(deviceKinds()[0]);
    plan::Collective op;
    op.kind = kind;
    op.x = data->operand(DataType::F32, {in});
    op.out = data->operand(DataType::F32, {out});
    op.axes = {0, 1};
    x = op.x.buffer;
    y = op.out.buffer;
    auto device = makeCpuDevice({});
    EXPECT_TRUE(device);
    Bound bound(**device, data->memory);
    bound.binding.groups[{0, 1}] = &twin;
    bound.binding.time = &time;
    plan::Op whole;
    whole.body = op;
    whole.location = "layer.0";
    auto kernel = (*device)->prepare(whole, bound.binding);
    if (!kernel)
      return kernel.status();
    (*kernel)->enqueue(1);
    Status status = (*device)->synchronize();
    bound.read(data->memory);
    return status;
  }
  float in(int64_t i) { return float(data->memory.get(x, i)); }
  float out(int64_t i) { return float(data->memory.get(y, i)); }

  TwinCommunicator twin;
  CollectiveTime time;
  std::unique_ptr<Case> data;
  int32_t x = 0, y = 0;
};

TEST_F(CpuCollectiveTest, callsTheGroup) {
  ASSERT_TRUE(run(plan::CollectiveKind::AllReduce, 6, 6));
  EXPECT_EQ(out(5), 2 * in(5) + 1);
  EXPECT_EQ(time.left, 5);
  ASSERT_TRUE(run(plan::CollectiveKind::AllGather, 6, 12));
  EXPECT_EQ(out(7), in(1) + 1);
  ASSERT_TRUE(run(plan::CollectiveKind::ReduceScatter, 6, 3));
  EXPECT_EQ(out(2), 2 * in(2) + 1);
  ASSERT_TRUE(run(plan::CollectiveKind::AllToAll, 6, 6));
  EXPECT_EQ(out(4), in(1) + 1);
}

TEST_F(CpuCollectiveTest, refusesWrongSizes) {
  EXPECT_EQ(run(plan::CollectiveKind::AllGather, 6, 6).code(), Code::Plan);
  EXPECT_EQ(run(plan::CollectiveKind::ReduceScatter, 5, 2).code(), Code::Plan);
  EXPECT_EQ(run(plan::CollectiveKind::AllReduce, 5, 4).code(), Code::Plan);
}

TEST_F(CpuCollectiveTest, namesTheOpThatFailed) {
  Status status = run(plan::CollectiveKind::Broadcast, 4, 4);
  EXPECT_EQ(status.code(), Code::Device);
  EXPECT_EQ(status.message(), "broadcast at layer.0: a peer failed");
}

} // namespace
} // namespace tenon::runtime::conformance
