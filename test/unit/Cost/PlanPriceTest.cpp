// SPDX-License-Identifier: Apache-2.0
// Instructions of a hand-made entry, against what the cost model says of their shapes.
#include "tenon/Cost/PlanPrice.h"

#include <gtest/gtest.h>

using namespace tenon;
using namespace tenon::cost;
using plan::Buffer;
using plan::DataType;
using plan::Operand;

namespace {

CostModel model() {
  MachineModel machine;
  machine.name = "box";
  machine.peakFlops = {{"f32", 1e10}};
  machine.memoryBandwidth = 1e9;
  machine.memoryBytes = 1e12;
  machine.launch = 1e-6;
  machine.links = {{1e-5, 2e-6, 5e8}};
  return CostModel(machine);
}

const sharding::Mesh kMesh{{{"tp", 4, "tp"}}};

/// Buffers 0 to 3 in the arena, 4 a weight of f32, 5 ids of i64.
plan::Entry entry() {
  plan::Entry entry;
  for (int i = 0; i < 4; ++i)
    entry.buffers.push_back({Buffer::Kind::Arena, DataType::F32, 1 << 20, 0, -1});
  entry.buffers.push_back({Buffer::Kind::Weight, DataType::F32, 1 << 20, 0, 0});
  entry.buffers.push_back({Buffer::Kind::Arena, DataType::I64, 1 << 10, 0, -1});
  return entry;
}

/// A dense operand.
Operand dense(int32_t buffer, std::vector<int64_t> sizes) {
  Operand operand{buffer, {}, sizes, std::vector<int64_t>(sizes.size(), 1)};
  for (size_t d = sizes.size(); d-- > 1;)
    operand.strides[d - 1] = operand.strides[d] * sizes[d];
  return operand;
}

double price(plan::OpBody body) {
  plan::Op op;
  op.body = std::move(body);
  return instructionSeconds(op, entry(), kMesh, model());
}

TEST(PlanPrice, MatMulByItsLetters) {
  plan::MatMul matmul;
  matmul.a = dense(0, {2, 8, 32});
  matmul.b = dense(4, {16, 32});
  matmul.c = dense(1, {2, 8, 16});
  matmul.aDims = "bsk";
  matmul.bDims = "nk";
  matmul.cDims = "bsn";
  const double bytes = 4.0 * (2 * 8 * 32 + 16 * 32 + 2 * 8 * 16);
  EXPECT_DOUBLE_EQ(price(matmul), model().matmulSeconds({1, 16, 16, 32}, bytes, DataType::F32));
  // A letter in all three is a batch.
  matmul.b = dense(4, {2, 16, 32});
  matmul.bDims = "bnk";
  EXPECT_DOUBLE_EQ(price(matmul),
                   model().matmulSeconds({2, 8, 16, 32}, bytes + 4 * 16 * 32, DataType::F32));
}

TEST(PlanPrice, LookupsReadWhatTheyAreAskedFor) {
  plan::GatherRows gather;
  gather.ids = dense(5, {6});
  gather.table = dense(4, {1000, 64});
  gather.out = dense(0, {6, 64});
  EXPECT_DOUBLE_EQ(price(gather), model().rowSeconds(6 * 8 + 6 * 64 * 4, 0, 6 * 64 * 4));
  // A small table is read once.
  gather.table = dense(4, {2, 64});
  EXPECT_DOUBLE_EQ(price(gather), model().rowSeconds(6 * 8 + 6 * 64 * 4, 0, 2 * 64 * 4));
}

TEST(PlanPrice, BroadcastOperandsAreReadOnce) {
  plan::Elementwise add;
  add.inputs = {dense(0, {8, 64}), dense(1, {8, 64})};
  add.out = dense(2, {8, 64});
  add.expr = {{plan::ExprOp::Input, 0, 0}, {plan::ExprOp::Input, 1, 0}, {plan::ExprOp::Add, 0, 0}};
  const double whole = price(add);
  EXPECT_DOUBLE_EQ(whole, model().rowSeconds(3 * 8 * 64 * 4, 0, 0));
  add.inputs[1].strides[0] = 0;
  EXPECT_DOUBLE_EQ(whole - price(add), 7 * 64 * 4 / 1e9);
}

TEST(PlanPrice, CollectivesByBytesOfTheFullTensor) {
  plan::Collective collective;
  collective.axes = {0};
  collective.x = dense(0, {1024});
  collective.out = dense(1, {1024});
  auto expected = [](sharding::StepKind kind, double bytes) {
    return model().collectiveSeconds(kind, bytes, sharding::AxisList{0}, kMesh) + 1e-6;
  };
  EXPECT_DOUBLE_EQ(price(collective), expected(sharding::StepKind::AllReduce, 4096));
  collective.kind = plan::CollectiveKind::AllToAll;
  EXPECT_DOUBLE_EQ(price(collective), expected(sharding::StepKind::AllToAll, 4096));
  collective.kind = plan::CollectiveKind::AllGather;
  collective.out = dense(1, {4096});
  EXPECT_DOUBLE_EQ(price(collective), expected(sharding::StepKind::AllGather, 16384));
  collective.kind = plan::CollectiveKind::ReduceScatter;
  std::swap(collective.x, collective.out);
  EXPECT_DOUBLE_EQ(price(collective), expected(sharding::StepKind::ReduceScatter, 16384));
}

TEST(PlanPrice, EventsCostNothing) {
  EXPECT_EQ(price(plan::Record{0}), 0);
  EXPECT_EQ(price(plan::Wait{0}), 0);
}

} // namespace
