// SPDX-License-Identifier: Apache-2.0
// PlanBuilder: small hand-written plans for tests of the reader, the verifier, devices and the
// executor. Buffers are laid out one after the other, never shared.
#pragma once

#include "tenon/runtime/plan/Blocks.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tenon::plan::test {

inline std::vector<int64_t> rowMajor(const std::vector<int64_t> &sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0; stride *= sizes[i])
    strides[i] = stride;
  return strides;
}

inline int64_t product(const std::vector<int64_t> &sizes) {
  int64_t result = 1;
  for (int64_t size : sizes)
    result *= size;
  return result;
}

inline RankValue constant(int64_t value) { return {RankValue::Kind::Constant, value, 1, 0, {}}; }
inline RankValue start(int64_t n, Axes axes, int64_t stride = 1) {
  return {RankValue::Kind::Start, 0, stride, n, std::move(axes)};
}
inline RankValue length(int64_t n, Axes axes) {
  return {RankValue::Kind::Length, 0, 1, n, std::move(axes)};
}

/// The whole buffer as a dense row-major region.
inline Operand whole(int32_t buffer, const std::vector<int64_t> &sizes) {
  return {buffer, {}, sizes, rowMajor(sizes)};
}

/// A row that is repeated along all dimensions but the last ones: `sizes` with stride 0 in front.
inline Operand broadcast(int32_t buffer, const std::vector<int64_t> &sizes, size_t kept = 1) {
  Operand result = whole(buffer, sizes);
  for (size_t i = 0; i + kept < sizes.size(); ++i)
    result.strides[i] = 0;
  return result;
}

/// Builds one entry of a plan. Ops are appended in order; offsets and the arena's size are kept up.
class EntryBuilder {
public:
  EntryBuilder(Plan &plan, std::string name) : plan(plan) { entry.name = std::move(name); }

  int32_t buffer(DataType type, const std::vector<int64_t> &sizes) {
    int64_t elements = product(sizes);
    entry.buffers.push_back({Buffer::Kind::Arena, type, elements, entry.arenaBytes, -1});
    entry.arenaBytes += (elements * byteWidth(type) + 63) / 64 * 64;
    return int32_t(entry.buffers.size()) - 1;
  }

  /// A weight that is the stored tensor `key` cut over `dimAxes`: adds it to the plan and to the
  /// entry.
  int32_t weight(const std::string &key, DataType type, const std::vector<int64_t> &shape,
                 std::vector<Axes> dimAxes, Axes partialAxes = {}) {
    WeightPart part;
    part.view = {key, type, shape, 0, shape, rowMajor(shape)};
    std::vector<int64_t> blocks;
    for (size_t d = 0; d < shape.size(); ++d) {
      std::vector<int64_t> sizes;
      for (int32_t axis : dimAxes[d])
        sizes.push_back(plan.mesh[axis].size);
      blocks.push_back(blockSize(shape[d], sizes));
    }
    part.dimAxes = std::move(dimAxes);
    part.partialAxes = std::move(partialAxes);
    part.dstStrides = rowMajor(blocks);
    plan.weights.push_back({key, type, product(blocks), {part}, false});
    plan.weightsBytesUnsharded += product(shape) * byteWidth(type);
    entry.buffers.push_back(
        {Buffer::Kind::Weight, type, product(blocks), 0, int32_t(plan.weights.size()) - 1});
    return int32_t(entry.buffers.size()) - 1;
  }

  int32_t input(const std::string &name, DataType type, const std::vector<int64_t> &shape,
                int64_t low = 0, int64_t high = 0) {
    int32_t id = buffer(type, shape);
    entry.inputs.push_back(
        {name, id, type, shape, std::vector<Axes>(shape.size()), low, high, false});
    return id;
  }

  void output(const std::string &name, int32_t buffer, const std::vector<int64_t> &shape,
              std::vector<Axes> dimAxes = {}) {
    dimAxes.resize(shape.size());
    entry.outputs.push_back(
        {name, buffer, entry.buffers[buffer].type, shape, std::move(dimAxes), 0, 0, false});
  }

  void op(OpBody body, const std::string &location = "", int32_t stream = 0) {
    entry.ops.push_back({std::move(body), stream, location, 0});
  }

  /// Lets stream `to` wait for everything that stream `from` has done so far.
  void join(int32_t from, int32_t to) {
    op(Record{entry.events}, "", from);
    op(Wait{entry.events}, "", to);
    ++entry.events;
  }

  /// A collective on stream 1 between two joins.
  void collective(CollectiveKind kind, Operand x, Operand out, Axes axes,
                  const std::string &location) {
    join(0, 1);
    op(Collective{kind, ReduceKind::Sum, std::move(x), std::move(out), std::move(axes), "test"},
       location, 1);
    join(1, 0);
  }

  /// Adds the entry to the plan. All buffers live apart, so the bound is the sum of their bytes.
  void finish() {
    for (const Buffer &b : entry.buffers)
      if (b.kind == Buffer::Kind::Arena)
        entry.liveBytesBound += b.elements * byteWidth(b.type);
    plan.entries.push_back(std::move(entry));
  }

  Entry entry;

private:
  Plan &plan;
};

inline Plan emptyPlan(std::vector<MeshAxis> mesh) {
  Plan plan;
  plan.producer = "plan builder of the tests";
  plan.model = "test";
  plan.machine = "none";
  plan.mesh = std::move(mesh);
  plan.certificate = "{\"gap\": 0}";
  return plan;
}

/// x[4,8] -> matmul with w1[8,hidden] cut by columns -> gelu -> matmul with w2[hidden,8] cut by
/// rows -> all_reduce -> y[4,8], in f32 over one axis "tp". Entry "forward"; weight keys "w1",
/// "w2".
inline Plan mlpPlan(int64_t ranks, int64_t hidden = 16) {
  Plan plan = emptyPlan({{"tp", ranks, "tp"}});
  EntryBuilder e(plan, "forward");
  int64_t block = blockSize(hidden, {ranks});
  int32_t x = e.input("x", DataType::F32, {4, 8});
  int32_t w1 = e.weight("w1", DataType::F32, {8, hidden}, {{}, {0}});
  int32_t w2 = e.weight("w2", DataType::F32, {hidden, 8}, {{0}, {}});
  int32_t h = e.buffer(DataType::F32, {4, block});
  int32_t g = e.buffer(DataType::F32, {4, block});
  int32_t partial = e.buffer(DataType::F32, {4, 8});
  int32_t y = e.buffer(DataType::F32, {4, 8});

  MatMul up;
  up.a = whole(x, {4, 8});
  up.b = whole(w1, {8, block});
  up.c = whole(h, {4, block});
  up.aDims = "mk", up.bDims = "kn", up.cDims = "mn";
  e.op(up, "mlp.up");
  e.op(Elementwise{{whole(h, {4, block})},
                   whole(g, {4, block}),
                   {{ExprOp::Input, 0, 0}, {ExprOp::Gelu, 0, 0}}},
       "mlp.gelu");
  MatMul down;
  down.a = whole(g, {4, block});
  down.b = whole(w2, {block, 8});
  down.c = whole(partial, {4, 8});
  down.aDims = "mk", down.bDims = "kn", down.cDims = "mn";
  e.op(down, "mlp.down");
  e.collective(CollectiveKind::AllReduce, whole(partial, {4, 8}), whole(y, {4, 8}), {0},
               "mlp.down");
  e.output("y", y, {4, 8});
  e.finish();
  return plan;
}

/// A plan with every kind of op, collective, optional operand and rank-dependent number, over axes
/// "node" and "tp" of 1 and `ranks`. Entry "forward"; inputs "ids" I64 [2,4] in [0,10) and "mask"
/// I1 [2,4].
inline Plan allOpsPlan(int64_t ranks) {
  Plan plan = emptyPlan({{"node", 1, "node"}, {"tp", ranks, "tp"}});
  plan.packBudget = 4096;
  EntryBuilder e(plan, "forward");
  const DataType f32 = DataType::F32;
  const std::vector<int64_t> hidden = {2, 4, 8};
  const Axes tp = {1};
  int64_t vocabulary = blockSize(10, {ranks}), part = blockSize(8, {ranks});

  int32_t ids = e.input("ids", DataType::I64, {2, 4}, 0, 10);
  int32_t mask = e.input("mask", DataType::I1, {2, 4});
  e.entry.inputs.back().maskRows = true;
  int32_t table = e.weight("table", f32, {10, 8}, {{1}, {}});
  int32_t scale = e.weight("scale", f32, {8}, {{}});
  plan.weights.back().ones = true;
  int32_t bias = e.weight("bias", f32, {8}, {{}}, {1});
  int32_t cos = e.weight("cos", f32, {4, 2}, {{}, {}});
  int32_t sin = e.weight("sin", f32, {4, 2}, {{}, {}});
  int32_t w = e.weight("w", f32, {8, 8}, {{0}, {}});

  // Embedding, split by rows of the vocabulary; summed in place.
  int32_t embedded = e.buffer(f32, hidden);
  e.op(GatherRows{whole(ids, {2, 4}), whole(table, {vocabulary, 8}), whole(embedded, hidden),
                  start(10, tp), length(10, tp)},
       "embedding");
  e.collective(CollectiveKind::AllReduce, whole(embedded, hidden), whole(embedded, hidden), {0, 1},
               "embedding");

  int32_t normed = e.buffer(f32, hidden), sum = e.buffer(f32, hidden);
  Norm norm;
  norm.kind = Norm::Kind::Rms;
  norm.rounded = true;
  norm.x = whole(embedded, hidden);
  norm.out = whole(normed, hidden);
  norm.scale = {broadcast(scale, hidden)};
  norm.bias = {broadcast(bias, hidden)};
  norm.residual = {whole(embedded, hidden)};
  norm.sum = {whole(sum, hidden)};
  norm.eps = 1e-5f;
  e.op(norm, "norm");

  int32_t positions = e.buffer(DataType::I32, {4});
  e.op(Fill{whole(positions, {4}), 2, -1, {}}, "positions");
  int32_t rotated = e.buffer(f32, hidden);
  const std::vector<int64_t> heads = {2, 4, 2, 4};
  e.op(Rope{whole(normed, heads), broadcast(positions, {2, 4}), whole(cos, {4, 2}),
            whole(sin, {4, 2}), whole(rotated, heads), true},
       "attention.rope");

  int32_t scores = e.buffer(f32, {1});
  e.op(Fill{whole(scores, {1}), -0.0, -1, {}}, "attention.bias");
  int32_t attended = e.buffer(f32, hidden);
  Attention attention;
  attention.q = whole(rotated, {2, 4, 2, 1, 4});
  attention.k = attention.v = whole(rotated, heads);
  attention.out = whole(attended, {2, 4, 2, 1, 4});
  attention.mask = {{mask, {}, {2, 4, 4}, {4, 0, 1}}};
  attention.bias = {{scores, {}, {2, 2, 1, 4, 4}, {0, 0, 0, 0, 0}}};
  attention.scale = 0.5f;
  attention.causal = true;
  attention.position = start(4, {0});
  e.op(attention, "attention");

  int32_t projected = e.buffer(f32, hidden);
  MatMul matmul;
  matmul.a = whole(attended, hidden);
  matmul.b = whole(w, {8, 8});
  matmul.c = whole(projected, hidden);
  matmul.aDims = "bsk", matmul.bDims = "kn", matmul.cDims = "bsn";
  matmul.bias = {broadcast(bias, hidden)};
  matmul.residual = {whole(sum, hidden)};
  matmul.activation = Activation::Silu;
  e.op(matmul, "attention.out");

  // A slice of the last dimension of this rank's block, padded with zeros, gathered and put in
  // order.
  int32_t padded = e.buffer(f32, {8, part * ranks}), slice = e.buffer(f32, {8, part});
  e.op(Copy{whole(projected, {8, 8}), {padded, {}, {8, 8}, {part * ranks, 1}}}, "slice");
  e.op(Fill{whole(padded, {8, part * ranks}), 0, 1, constant(8)}, "slice");
  e.op(Copy{{padded, start(8, tp), {8, part}, {part * ranks, 1}}, whole(slice, {8, part})},
       "slice");
  e.op(Fill{whole(slice, {8, part}), 0, 1, length(8, tp)}, "slice");
  int32_t gathered = e.buffer(f32, {ranks, 8, part}), scattered = e.buffer(f32, {8, part});
  int32_t exchanged = e.buffer(f32, {ranks, 8, part}), sent = e.buffer(f32, {8, part});
  e.collective(CollectiveKind::AllGather, whole(slice, {8, part}),
               whole(gathered, {ranks, 8, part}), tp, "gather");
  e.collective(CollectiveKind::AllToAll, whole(gathered, {ranks, 8, part}),
               whole(exchanged, {ranks, 8, part}), tp, "exchange");
  e.collective(CollectiveKind::ReduceScatter, whole(exchanged, {ranks, 8, part}),
               whole(scattered, {8, part}), tp, "scatter");
  e.collective(CollectiveKind::Broadcast, whole(scattered, {8, part}), whole(sent, {8, part}), tp,
               "send");

  int32_t soft = e.buffer(DataType::BF16, {8, part}), most = e.buffer(f32, {8, 1});
  e.op(Softmax{whole(sent, {8, part}), whole(soft, {8, part}), 1}, "softmax");
  e.op(Reduce{ReduceKind::Max, whole(soft, {8, part}), whole(most, {8, 1}), {false, true}},
       "reduce");
  int32_t chosen = e.buffer(f32, {8, part});
  e.op(Elementwise{{whole(soft, {8, part}), {most, {}, {8, part}, {1, 0}}},
                   whole(chosen, {8, part}),
                   {{ExprOp::Input, 0, 0},
                    {ExprOp::Input, 1, 0},
                    {ExprOp::Lt, 0, 0},
                    {ExprOp::Input, 0, 0},
                    {ExprOp::Constant, 0, -0.0},
                    {ExprOp::Select, 0, 0}}},
       "select");
  int32_t last = e.buffer(f32, {1, part});
  e.op(Take{whole(chosen, {8, part}), whole(last, {1, part}), 0, 7, constant(0), constant(8)},
       "last");
  e.output("hidden", projected, hidden);
  e.output("last", last, {1, 8}, {{}, {1}});
  e.finish();
  return plan;
}

} // namespace tenon::plan::test
