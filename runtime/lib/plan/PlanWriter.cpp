// SPDX-License-Identifier: Apache-2.0
// PlanWriter: struct by struct into FlatBuffers, children first. Equal strings and equal index
// lists are stored once: most operands of a model share a handful of shapes.
#include "tenon/runtime/plan/PlanWriter.h"

#include "tenon/runtime/AtomicFile.h"

#include "Sha256.h"
#include "plan_generated.h"
#include "tenon/runtime/plan/Limits.h"

#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <unistd.h>

namespace tenon::plan {
namespace {

static_assert(std::endian::native == std::endian::little, "plan files are little-endian");

template <typename To, typename From> To code(From value) { return static_cast<To>(value); }
// The enums of the schema have the order of those in Plan.h: their last values coincide.
static_assert(int(fb::DataType::MAX) == int(DataType::I1));
static_assert(int(fb::RankValueKind::MAX) == int(RankValue::Kind::Length));
static_assert(int(fb::BufferKind::MAX) == int(Buffer::Kind::Weight));
static_assert(int(fb::ReduceKind::MAX) == int(ReduceKind::Min));
static_assert(int(fb::Activation::MAX) == int(Activation::Tanh));
static_assert(int(fb::NormKind::MAX) == int(Norm::Kind::Rms));
static_assert(int(fb::CollectiveKind::MAX) == int(CollectiveKind::Broadcast));
static_assert(int(fb::ExprOp::MAX) == int(ExprOp::Select));
static_assert(int(fb::OpBody::MAX) == int(std::variant_size_v<OpBody>));

class Packer {
public:
  std::vector<std::byte> finish(const Plan &plan) {
    b.Finish(pack(plan), fb::PlanIdentifier());
    std::vector<std::byte> file(headerBytes + b.GetSize());
    std::memcpy(file.data() + headerBytes, b.GetBufferPointer(), b.GetSize());
    return file;
  }

private:
  template <typename T> using Ref = flatbuffers::Offset<T>;
  template <typename T> using Vector = Ref<flatbuffers::Vector<T>>;
  using Text = Ref<flatbuffers::String>;

  flatbuffers::FlatBufferBuilder b{1 << 16};
  std::map<std::vector<int64_t>, Vector<int64_t>> longs;
  std::map<std::vector<int32_t>, Vector<int32_t>> ints;

  Text text(const std::string &s) { return s.empty() ? Text(0) : b.CreateSharedString(s); }

  template <typename T>
  Vector<T> shared(std::map<std::vector<T>, Vector<T>> &known, const std::vector<T> &v) {
    if (v.empty())
      return 0;
    auto [place, isNew] = known.try_emplace(v, 0);
    if (isNew)
      place->second = b.CreateVector(v);
    return place->second;
  }
  Vector<int64_t> list(const std::vector<int64_t> &v) { return shared(longs, v); }
  Vector<int32_t> list(const std::vector<int32_t> &v) { return shared(ints, v); }

  /// Packs each element with `pack` into a vector of tables.
  template <typename T> auto tables(const std::vector<T> &values) {
    std::vector<decltype(pack(values[0]))> offsets;
    offsets.reserve(values.size());
    for (const T &value : values)
      offsets.push_back(pack(value));
    using Result = decltype(b.CreateVector(offsets));
    return offsets.empty() ? Result(0) : b.CreateVector(offsets);
  }

  Ref<fb::Axes> pack(const Axes &axes) { return fb::CreateAxes(b, list(axes)); }

  Ref<fb::MeshAxis> pack(const MeshAxis &axis) {
    auto name = text(axis.name), parent = text(axis.parent);
    return fb::CreateMeshAxis(b, name, axis.size, parent);
  }

  Ref<fb::RankValue> pack(const RankValue &value) {
    if (value == RankValue{})
      return 0;
    return fb::CreateRankValue(b, code<fb::RankValueKind>(value.kind), value.base, value.stride,
                               value.n, list(value.axes));
  }

  Ref<fb::Buffer> pack(const Buffer &buffer) {
    return fb::CreateBuffer(b, code<fb::BufferKind>(buffer.kind), code<fb::DataType>(buffer.type),
                            buffer.elements, buffer.offset, buffer.weight);
  }

  Ref<fb::Operand> pack(const Operand &operand) {
    auto offset = pack(operand.offset);
    auto sizes = list(operand.sizes), strides = list(operand.strides);
    return fb::CreateOperand(b, operand.buffer, offset, sizes, strides);
  }

  Ref<fb::View> pack(const View &view) {
    auto key = text(view.key);
    auto stored = list(view.storedShape), sizes = list(view.sizes), strides = list(view.strides);
    return fb::CreateView(b, key, code<fb::DataType>(view.type), stored, view.offset, sizes,
                          strides);
  }

  Ref<fb::WeightPart> pack(const WeightPart &part) {
    auto view = pack(part.view);
    auto dimAxes = tables(part.dimAxes);
    auto partial = list(part.partialAxes);
    auto strides = list(part.dstStrides);
    return fb::CreateWeightPart(b, view, dimAxes, partial, part.dstOffset, strides);
  }

  Ref<fb::Weight> pack(const Weight &weight) {
    auto name = text(weight.name);
    auto parts = tables(weight.parts);
    return fb::CreateWeight(b, name, code<fb::DataType>(weight.type), weight.elements, parts,
                            weight.ones);
  }

  Ref<fb::MatMul> pack(const MatMul &op) {
    auto a = pack(op.a), bOperand = pack(op.b), c = pack(op.c);
    auto aDims = text(op.aDims), bDims = text(op.bDims), cDims = text(op.cDims);
    auto bias = tables(op.bias), residual = tables(op.residual);
    return fb::CreateMatMul(b, a, bOperand, c, aDims, bDims, cDims, bias, residual,
                            code<fb::Activation>(op.activation));
  }

  Ref<fb::Attention> pack(const Attention &op) {
    auto q = pack(op.q), k = pack(op.k), v = pack(op.v), out = pack(op.out);
    auto mask = tables(op.mask), bias = tables(op.bias);
    auto position = pack(op.position);
    return fb::CreateAttention(b, q, k, v, out, mask, bias, op.scale, op.causal, position);
  }

  Ref<fb::GatherRows> pack(const GatherRows &op) {
    auto ids = pack(op.ids), table = pack(op.table), out = pack(op.out);
    auto base = pack(op.base), rows = pack(op.rows);
    return fb::CreateGatherRows(b, ids, table, out, base, rows);
  }

  Ref<fb::Take> pack(const Take &op) {
    auto x = pack(op.x), out = pack(op.out);
    auto base = pack(op.base), rows = pack(op.rows);
    return fb::CreateTake(b, x, out, op.dim, op.index, base, rows);
  }

  Ref<fb::Norm> pack(const Norm &op) {
    auto x = pack(op.x), out = pack(op.out);
    auto scale = tables(op.scale), bias = tables(op.bias);
    auto residual = tables(op.residual), sum = tables(op.sum);
    return fb::CreateNorm(b, code<fb::NormKind>(op.kind), x, out, scale, bias, residual, sum,
                          op.dims, op.eps, op.rounded);
  }

  Ref<fb::Rope> pack(const Rope &op) {
    auto x = pack(op.x), positions = pack(op.positions);
    auto cos = pack(op.cos), sin = pack(op.sin), out = pack(op.out);
    return fb::CreateRope(b, x, positions, cos, sin, out, op.interleaved);
  }

  Ref<fb::Elementwise> pack(const Elementwise &op) {
    auto inputs = tables(op.inputs);
    auto out = pack(op.out);
    std::vector<fb::ExprTerm> terms;
    for (const ExprTerm &term : op.expr)
      terms.emplace_back(term.value, term.input, code<fb::ExprOp>(term.op));
    return fb::CreateElementwise(b, inputs, out, b.CreateVectorOfStructs(terms));
  }

  Ref<fb::Reduce> pack(const Reduce &op) {
    auto x = pack(op.x), out = pack(op.out);
    std::vector<uint8_t> reduced(op.reduced.begin(), op.reduced.end());
    return fb::CreateReduce(b, code<fb::ReduceKind>(op.kind), x, out, b.CreateVector(reduced));
  }

  Ref<fb::Softmax> pack(const Softmax &op) {
    auto x = pack(op.x), out = pack(op.out);
    return fb::CreateSoftmax(b, x, out, op.dim);
  }

  Ref<fb::Copy> pack(const Copy &op) {
    auto x = pack(op.x), out = pack(op.out);
    return fb::CreateCopy(b, x, out);
  }

  Ref<fb::Fill> pack(const Fill &op) {
    auto out = pack(op.out);
    return fb::CreateFill(b, out, op.value, op.dim, pack(op.from));
  }

  Ref<fb::Collective> pack(const Collective &op) {
    auto x = pack(op.x), out = pack(op.out);
    auto axes = list(op.axes);
    return fb::CreateCollective(b, code<fb::CollectiveKind>(op.kind),
                                code<fb::ReduceKind>(op.reduce), x, out, axes, text(op.cause));
  }

  Ref<fb::Record> pack(const Record &op) { return fb::CreateRecord(b, op.event); }
  Ref<fb::Wait> pack(const Wait &op) { return fb::CreateWait(b, op.event); }

  Ref<fb::Op> pack(const Op &op) {
    Ref<void> body = std::visit([this](const auto &body) { return pack(body).Union(); }, op.body);
    // Union values of the schema count from 1 (0 is NONE) in the variant's order.
    return fb::CreateOp(b, fb::OpBody(op.body.index() + 1), body, op.stream, text(op.location),
                        op.predictedUs);
  }

  Ref<fb::IO> pack(const IO &io) {
    auto name = text(io.name);
    auto shape = list(io.shape);
    auto dimAxes = tables(io.dimAxes);
    return fb::CreateIO(b, name, io.buffer, code<fb::DataType>(io.type), shape, dimAxes, io.low,
                        io.high, io.maskRows);
  }

  Ref<fb::Entry> pack(const Entry &entry) {
    auto name = text(entry.name);
    auto buffers = tables(entry.buffers);
    auto inputs = tables(entry.inputs), outputs = tables(entry.outputs);
    auto ops = tables(entry.ops);
    return fb::CreateEntry(b, name, buffers, inputs, outputs, ops, entry.events, entry.arenaBytes,
                           entry.liveBytesBound, entry.predictedUs);
  }

  Ref<fb::Plan> pack(const Plan &plan) {
    auto producer = text(plan.producer), model = text(plan.model), machine = text(plan.machine);
    auto mesh = tables(plan.mesh);
    auto weights = tables(plan.weights);
    auto entries = tables(plan.entries);
    return fb::CreatePlan(b, producer, model, machine, mesh, weights, entries, plan.packBudget,
                          plan.weightsBytesUnsharded, text(plan.certificate), text(plan.choices));
  }
};

/// Bounds the file from above before building it: FlatBuffers aborts beyond 2 GiB instead of
/// failing. Per op: its table and operands, all index lists new.
bool fits(const Plan &plan) {
  size_t bytes = plan.certificate.size() + plan.choices.size() + plan.weights.size() * 256;
  for (const Weight &weight : plan.weights) {
    bytes += weight.name.size();
    for (const WeightPart &part : weight.parts)
      bytes += 256 + part.view.key.size() + 64 * part.dimAxes.size() + 32 * part.view.sizes.size() +
               8 * part.view.storedShape.size();
  }
  for (const Entry &entry : plan.entries) {
    bytes += 64 * entry.buffers.size();
    for (const Op &op : entry.ops)
      bytes += 2048 + op.location.size();
  }
  return bytes <= limits::fileBytes;
}

void putLittleEndian(std::span<std::byte> to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    to[i] = std::byte(value >> (8 * i));
}

} // namespace

void sealHeader(std::span<std::byte> file) {
  assert(file.size() >= headerBytes);
  auto payload = file.subspan(headerBytes);
  std::memset(file.data(), 0, headerBytes);
  std::memcpy(file.data(), fileMagic, 8);
  putLittleEndian(file.subspan(8), formatNumber, 4);
  putLittleEndian(file.subspan(16), payload.size(), 8);
  auto sum = sha256(payload);
  std::memcpy(file.data() + 24, sum.data(), sum.size());
}

Expected<std::vector<std::byte>> write(const Plan &plan) {
  if (!fits(plan))
    return Status(Code::Plan, "plan is too large for a file, expected at most " +
                                  std::to_string(limits::fileBytes) + " bytes");
  std::vector<std::byte> file = Packer().finish(plan);
  sealHeader(file);
  return file;
}

std::string digest(std::span<const std::byte> file) {
  if (file.size() < headerBytes)
    return "";
  static const char digits[] = "0123456789abcdef";
  std::string result;
  for (std::byte b : file.subspan(24, 32)) {
    result += digits[int(b) >> 4];
    result += digits[int(b) & 15];
  }
  return result;
}

Status writeFile(const Plan &plan, const std::string &path) {
  auto bytes = write(plan);
  if (!bytes)
    return Status(bytes.status().code(), path + ": " + bytes.status().message());
  Status status = writeFileAtomically(path, bytes->data(), bytes->size(), nullptr, 0);
  // Whoever writes plans names the place on a command line.
  return status ? status : Status(Code::Usage, status.message());
}

} // namespace tenon::plan
