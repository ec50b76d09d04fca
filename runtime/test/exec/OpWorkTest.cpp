// SPDX-License-Identifier: Apache-2.0
#include "../plan/PlanBuilder.h"

#include "tenon/runtime/exec/OpWork.h"

#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using namespace plan::test;
using plan::DataType;

class OpWorkTest : public testing::Test {
protected:
  OpWorkTest() : plan(emptyPlan({{"tp", 1, "tp"}})), e(plan, "forward") {}
  plan::Operand dense(const std::vector<int64_t> &sizes, DataType type = DataType::F32) {
    return whole(e.buffer(type, sizes), sizes);
  }
  void expect(plan::OpBody body, double flops, double bytes) {
    OpWork work = workOf(e.entry, {std::move(body), 0, "", 0});
    EXPECT_EQ(work.flops, flops);
    EXPECT_EQ(work.bytes, bytes);
  }

  plan::Plan plan;
  EntryBuilder e;
};

TEST_F(OpWorkTest, matmulWithBiasAndResidual) {
  plan::MatMul matmul;
  matmul.a = dense({4, 8});
  matmul.b = dense({8, 16});
  matmul.c = dense({4, 16});
  matmul.aDims = "mk", matmul.bDims = "kn", matmul.cDims = "mn";
  expect(matmul, 2 * 4 * 8 * 16, 4 * (32 + 128 + 64));
  // A bias that all rows share is 16 elements.
  matmul.bias = {broadcast(e.buffer(DataType::F32, {16}), {4, 16})};
  matmul.residual = {dense({4, 16})};
  expect(matmul, 2 * 4 * 8 * 16, 4 * (32 + 128 + 16 + 64 + 64));
  // In place: read as residual, written as c.
  matmul.residual = {matmul.c};
  expect(matmul, 2 * 4 * 8 * 16, 4 * (32 + 128 + 16 + 64 + 64));
}

TEST_F(OpWorkTest, batchedMatmulWithABroadcastOperand) {
  plan::MatMul matmul;
  matmul.a = dense({3, 5, 7}, DataType::BF16);
  matmul.b = {e.buffer(DataType::BF16, {7, 2}), {}, {3, 7, 2}, {0, 2, 1}};
  matmul.c = dense({3, 5, 2}, DataType::BF16);
  matmul.aDims = "bmk", matmul.bDims = "bkn", matmul.cDims = "bmn";
  expect(matmul, 2 * 3 * 5 * 7 * 2, 2 * (105 + 14 + 30));
}

TEST_F(OpWorkTest, attention) {
  plan::Attention attention;
  attention.q = dense({2, 3, 2, 4, 5});
  attention.k = dense({2, 7, 2, 5});
  attention.v = dense({2, 7, 2, 6});
  attention.out = dense({2, 3, 2, 4, 6});
  // 2 * 3 * 2 * 4 * 7 = 336 pairs of 2 * (5 + 6) flops.
  const double bytes = 4 * (240 + 140 + 168 + 288);
  expect(attention, 336 * 22, bytes);
  attention.causal = true;
  expect(attention, 336 * 22, bytes);
  // The mask holds one byte per (batch, key).
  attention.mask = {{e.buffer(DataType::I1, {2, 7}), {}, {2, 3, 7}, {7, 0, 1}}};
  expect(attention, 336 * 22, bytes + 14);
}

TEST_F(OpWorkTest, causalAttentionOfOneSequenceIsHalf) {
  plan::Attention attention;
  attention.q = dense({1, 8, 2, 1, 4});
  attention.k = attention.v = dense({1, 8, 2, 4});
  attention.out = dense({1, 8, 2, 1, 4});
  attention.causal = true;
  // 1 * 8 * 2 * 1 * 8 = 128 pairs of 2 * (4 + 4) flops; k and v are the same 64 elements.
  expect(attention, 128 * 16 / 2, 4 * (64 + 64 + 64));
}

TEST_F(OpWorkTest, lookupsReadTheirRows) {
  plan::GatherRows gather;
  gather.ids = dense({2, 3}, DataType::I64);
  gather.table = dense({100, 8});
  gather.out = dense({2, 3, 8});
  expect(gather, 0, 6 * 8 + 4 * (6 * 8 + 48));
  // More indices than rows: at most the table.
  gather.table = dense({4, 8});
  expect(gather, 0, 6 * 8 + 4 * (4 * 8 + 48));

  plan::Rope rope;
  rope.x = dense({2, 3, 2, 4});
  rope.positions = broadcast(e.buffer(DataType::I32, {3}), {2, 3});
  rope.cos = dense({50, 2});
  rope.sin = dense({50, 2});
  rope.out = dense({2, 3, 2, 4});
  expect(rope, 0, 4 * (48 + 3 + 3 * 2 + 3 * 2 + 48));

  plan::Take take;
  take.x = dense({8, 5});
  take.out = dense({1, 5});
  expect(take, 0, 4 * (5 + 5));
}

TEST_F(OpWorkTest, distinctElementsOnly) {
  plan::Operand x = dense({4, 6}), y = broadcast(e.buffer(DataType::F32, {6}), {4, 6});
  plan::Operand half = dense({4, 6}, DataType::F16);
  expect(plan::Elementwise{{x, y, x}, half, {}}, 0, 4 * (24 + 6) + 2 * 24);
  expect(plan::Elementwise{{x}, x, {}}, 0, 4 * (24 + 24));
  // Windows of 3 at steps of 1 over 6 elements.
  expect(plan::Copy{{e.buffer(DataType::F32, {6}), {}, {4, 3}, {1, 1}}, dense({4, 3})}, 0,
         4 * (6 + 12));
  // The last two of six columns; past the end, nothing.
  expect(plan::Fill{x, 0, 1, constant(4)}, 0, 4 * 8);
  expect(plan::Fill{x, 0, 1, constant(9)}, 0, 0);
  expect(plan::Fill{x, 0, -1, {}}, 0, 4 * 24);
  expect(plan::Copy{dense({0, 3}), dense({0, 3})}, 0, 0);
  expect(plan::Record{0}, 0, 0);
}

TEST_F(OpWorkTest, theBoundIsTheLongerOfArithmeticAndMemory) {
  DeviceLimits limits;
  limits.bytesPerSecond = 10;
  limits.flopsF32 = 50, limits.flopsTf32 = 250, limits.flopsBf16 = 500;
  EXPECT_EQ(boundSeconds({1000, 100}, DataType::F32, limits, false), 20);  // 1000 / 50
  EXPECT_EQ(boundSeconds({1000, 100}, DataType::F32, limits, true), 10);   // 100 / 10
  EXPECT_EQ(boundSeconds({5000, 100}, DataType::F32, limits, true), 20);   // 5000 / 250
  EXPECT_EQ(boundSeconds({10000, 100}, DataType::BF16, limits, true), 20); // 10000 / 500
  EXPECT_EQ(boundSeconds({10000, 100}, DataType::F16, limits, false), 20);
  EXPECT_EQ(boundSeconds({0, 100}, DataType::I64, limits, false), 10);
  EXPECT_EQ(boundSeconds({0, 0}, DataType::F32, limits, false), 0);
}

TEST_F(OpWorkTest, unknownLimitsGiveNoBound) {
  EXPECT_EQ(boundSeconds({1000, 100}, DataType::F32, {}, false), 0);
  DeviceLimits memory;
  memory.bytesPerSecond = 10;
  EXPECT_EQ(boundSeconds({1000, 100}, DataType::F32, memory, false), 0);
  EXPECT_EQ(boundSeconds({0, 100}, DataType::F32, memory, false), 10);
}

TEST_F(OpWorkTest, tf32IsForMatmulOnly) {
  DeviceLimits limits;
  limits.bytesPerSecond = 1e9;
  limits.flopsF32 = 16, limits.flopsTf32 = 64, limits.flopsBf16 = 128;
  plan::MatMul matmul;
  matmul.a = dense({4, 8});
  matmul.b = dense({8, 16});
  matmul.c = dense({4, 16});
  matmul.aDims = "mk", matmul.bDims = "kn", matmul.cDims = "mn";
  EXPECT_EQ(boundSeconds(e.entry, {matmul, 0, "", 0}, limits, false), 64); // 1024 / 16
  EXPECT_EQ(boundSeconds(e.entry, {matmul, 0, "", 0}, limits, true), 16);  // 1024 / 64
  plan::Attention attention;
  attention.q = attention.out = dense({1, 4, 1, 1, 8});
  attention.k = attention.v = dense({1, 2, 1, 8});
  // 8 pairs of 32 flops in f32.
  EXPECT_EQ(boundSeconds(e.entry, {attention, 0, "", 0}, limits, true), 16);
}

} // namespace
} // namespace tenon::runtime
