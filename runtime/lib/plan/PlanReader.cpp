// SPDX-License-Identifier: Apache-2.0
// PlanReader: header, then the FlatBuffers verifier (memory safety), then unpacking with the checks
// that it lacks: enum values, unions without value, counts, and what sharing inside the file would
// blow up to.
#include "tenon/runtime/plan/PlanReader.h"

#include "Checked.h"
#include "Sha256.h"
#include "plan_generated.h"
#include "tenon/runtime/plan/PlanWriter.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

namespace tenon::plan {
namespace {

Status refuse(std::string message) { return Status(Code::Plan, std::move(message)); }

/// Unpacks verified FlatBuffers. The first failure is kept and stops every loop; the values read
/// after it are dropped with the plan.
class Unpacker {
public:
  explicit Unpacker(size_t payloadBytes)
      : budget(limits::unpackedBytes + limits::unpackedPerByte * payloadBytes) {}

  Expected<Plan> run(const fb::Plan &from) {
    Plan to;
    get(from, to);
    if (!failure.ok())
      return failure;
    return to;
  }

private:
  size_t budget;
  Status failure;
  /// Where in the plan the unpacker stands, for messages.
  const char *section = "plan";
  size_t item = 0;

  void fail(const std::string &message) {
    if (failure.ok())
      failure = refuse(std::string(section) + " " + std::to_string(item) + ": " + message);
  }

  bool spend(size_t bytes) {
    if (bytes > budget) {
      fail("unpacks to more bytes than a plan of its size may");
      return false;
    }
    budget -= bytes;
    return failure.ok();
  }

  void get(const flatbuffers::String *from, std::string &to, const char *what,
           size_t limit = limits::stringBytes) {
    if (!from)
      return;
    if (from->size() > limit)
      return fail(std::string(what) + " has " + std::to_string(from->size()) +
                  " bytes, expected at most " + std::to_string(limit));
    if (spend(from->size()))
      to.assign(from->c_str(), from->size());
  }

  /// The FlatBuffers verifier does not check the alignment of a vector's elements, so they are
  /// moved as bytes.
  template <typename From, typename T>
  static void copyOut(const flatbuffers::Vector<From> &from, std::vector<T> &to) {
    to.resize(from.size());
    if (!to.empty())
      std::memcpy(static_cast<void *>(to.data()), from.Data(), to.size() * sizeof(T));
  }

  template <typename T>
  bool countFits(const T *from, size_t limit, size_t elementBytes, const char *what) {
    if (from->size() > limit) {
      fail(std::string(what) + " has " + std::to_string(from->size()) +
           " elements, expected at most " + std::to_string(limit));
      return false;
    }
    return spend(from->size() * elementBytes);
  }

  template <typename T>
  void get(const flatbuffers::Vector<T> *from, std::vector<T> &to, const char *what,
           size_t limit = limits::dimensions) {
    if (from && countFits(from, limit, sizeof(T), what))
      copyOut(*from, to);
  }

  template <typename From, typename To>
  void get(const flatbuffers::Vector<flatbuffers::Offset<From>> *from, std::vector<To> &to,
           const char *what, size_t limit, bool numbered = false) {
    if (!from || !countFits(from, limit, sizeof(To), what))
      return;
    to.resize(from->size());
    for (size_t i = 0; i < to.size() && failure.ok(); ++i) {
      if (numbered) {
        section = what;
        item = i;
      }
      get(*from->Get(i), to[i]);
    }
  }

  template <typename To, typename From> void getEnum(From from, To &to, const char *what) {
    if (from > From::MAX)
      return fail(std::string("unknown ") + what + " " + std::to_string(int(from)) +
                  ", expected at most " + std::to_string(int(From::MAX)));
    to = static_cast<To>(from);
  }

  void checkRegion(const std::vector<int64_t> &sizes, const std::vector<int64_t> &strides,
                   int64_t offset, const char *what) {
    if (sizes.size() != strides.size())
      return fail(std::string(what) + " has " + std::to_string(sizes.size()) + " sizes and " +
                  std::to_string(strides.size()) + " strides");
    if (!checked::product(sizes) || !checked::reach(sizes, strides) || offset < -limits::elements ||
        offset > limits::elements)
      fail(std::string(what) + " has an offset, size or stride that is negative or too large");
  }

  void get(const fb::Axes &from, Axes &to) { get(from.indices(), to, "axes", limits::meshAxes); }

  void get(const fb::MeshAxis &from, MeshAxis &to) {
    get(from.name(), to.name, "axis name");
    to.size = from.size();
    get(from.parent(), to.parent, "axis parent");
  }

  void get(const fb::RankValue *from, RankValue &to) {
    if (!from)
      return;
    getEnum(from->kind(), to.kind, "kind of a rank-dependent number");
    to.base = from->base();
    to.stride = from->stride();
    to.n = from->n();
    get(from->axes(), to.axes, "axes", limits::meshAxes);
    if (!checked::fits(to))
      fail("rank-dependent number is too large");
  }

  void get(const fb::Buffer &from, Buffer &to) {
    getEnum(from.kind(), to.kind, "buffer kind");
    getEnum(from.type(), to.type, "data type");
    to.elements = from.elements();
    to.offset = from.offset();
    to.weight = from.weight();
    if (to.elements < 0 || to.elements > limits::elements)
      fail("has " + std::to_string(to.elements) + " elements, expected 0 to " +
           std::to_string(limits::elements));
    if (to.offset < 0 || to.offset > limits::arenaBytes)
      fail("lies at offset " + std::to_string(to.offset) + ", expected 0 to " +
           std::to_string(limits::arenaBytes));
  }

  void get(const fb::Operand &from, Operand &to) {
    to.buffer = from.buffer();
    get(from.offset(), to.offset);
    get(from.sizes(), to.sizes, "operand sizes");
    get(from.strides(), to.strides, "operand strides");
    checkRegion(to.sizes, to.strides, to.offset.base, "operand");
  }

  void get(const fb::View &from, View &to) {
    get(from.key(), to.key, "weight key");
    getEnum(from.type(), to.type, "data type");
    get(from.stored_shape(), to.storedShape, "stored shape");
    to.offset = from.offset();
    get(from.sizes(), to.sizes, "view sizes");
    get(from.strides(), to.strides, "view strides");
    checkRegion(to.sizes, to.strides, to.offset, "view");
    if (!checked::product(to.storedShape))
      fail("stored shape is negative or too large");
  }

  void get(const fb::WeightPart &from, WeightPart &to) {
    get(*from.view(), to.view);
    get(from.dim_axes(), to.dimAxes, "axes of dimensions", limits::dimensions);
    get(from.partial_axes(), to.partialAxes, "partial axes", limits::meshAxes);
    to.dstOffset = from.dst_offset();
    get(from.dst_strides(), to.dstStrides, "part strides");
    checkRegion(to.view.sizes, to.dstStrides, to.dstOffset, "weight part");
  }

  void get(const fb::Weight &from, Weight &to) {
    get(from.name(), to.name, "weight name");
    getEnum(from.type(), to.type, "data type");
    to.elements = from.elements();
    get(from.parts(), to.parts, "parts", limits::weightParts);
    to.ones = from.ones();
    if (to.elements < 0 || to.elements > limits::elements)
      fail("has " + std::to_string(to.elements) + " elements, expected 0 to " +
           std::to_string(limits::elements));
  }

  void getOptional(const flatbuffers::Vector<flatbuffers::Offset<fb::Operand>> *from,
                   std::vector<Operand> &to, const char *what) {
    get(from, to, what, 1);
  }

  void get(const fb::MatMul &from, MatMul &to) {
    get(*from.a(), to.a);
    get(*from.b(), to.b);
    get(*from.c(), to.c);
    get(from.a_dims(), to.aDims, "labels", limits::dimensions);
    get(from.b_dims(), to.bDims, "labels", limits::dimensions);
    get(from.c_dims(), to.cDims, "labels", limits::dimensions);
    getOptional(from.bias(), to.bias, "bias");
    getOptional(from.residual(), to.residual, "residual");
    getEnum(from.activation(), to.activation, "activation");
  }

  void get(const fb::Attention &from, Attention &to) {
    get(*from.q(), to.q);
    get(*from.k(), to.k);
    get(*from.v(), to.v);
    get(*from.out(), to.out);
    getOptional(from.mask(), to.mask, "mask");
    getOptional(from.bias(), to.bias, "bias");
    to.scale = from.scale();
    to.causal = from.causal();
    get(from.position(), to.position);
  }

  void get(const fb::GatherRows &from, GatherRows &to) {
    get(*from.ids(), to.ids);
    get(*from.table_operand(), to.table);
    get(*from.out(), to.out);
    get(from.base(), to.base);
    get(from.rows(), to.rows);
  }

  void get(const fb::Take &from, Take &to) {
    get(*from.x(), to.x);
    get(*from.out(), to.out);
    to.dim = from.dim();
    to.index = from.index();
    get(from.base(), to.base);
    get(from.rows(), to.rows);
  }

  void get(const fb::Norm &from, Norm &to) {
    getEnum(from.kind(), to.kind, "norm kind");
    get(*from.x(), to.x);
    get(*from.out(), to.out);
    getOptional(from.scale(), to.scale, "scale");
    getOptional(from.bias(), to.bias, "bias");
    getOptional(from.residual(), to.residual, "residual");
    getOptional(from.sum(), to.sum, "sum");
    to.dims = from.dims();
    to.eps = from.eps();
    to.rounded = from.rounded();
  }

  void get(const fb::Rope &from, Rope &to) {
    get(*from.x(), to.x);
    get(*from.positions(), to.positions);
    get(*from.cos(), to.cos);
    get(*from.sin(), to.sin);
    get(*from.out(), to.out);
    to.interleaved = from.interleaved();
  }

  void get(const fb::Elementwise &from, Elementwise &to) {
    get(from.inputs(), to.inputs, "inputs", limits::exprInputs);
    get(*from.out(), to.out);
    if (!from.expr() || !countFits(from.expr(), limits::exprTerms, sizeof(ExprTerm), "expression"))
      return;
    std::vector<fb::ExprTerm> terms;
    copyOut(*from.expr(), terms);
    for (const fb::ExprTerm &term : terms) {
      ExprTerm &last = to.expr.emplace_back();
      getEnum(term.op(), last.op, "operator of an expression");
      // What a term does not use is nothing that a verifier looks at.
      last.input = last.op == ExprOp::Input ? term.input() : 0;
      last.value = last.op == ExprOp::Constant ? term.value() : 0;
    }
  }

  void get(const fb::Reduce &from, Reduce &to) {
    getEnum(from.kind(), to.kind, "reduction");
    get(*from.x(), to.x);
    get(*from.out(), to.out);
    if (!from.reduced() || !countFits(from.reduced(), limits::dimensions, 1, "reduced dimensions"))
      return;
    for (uint8_t bit : *from.reduced())
      to.reduced.push_back(bit != 0);
  }

  void get(const fb::Softmax &from, Softmax &to) {
    get(*from.x(), to.x);
    get(*from.out(), to.out);
    to.dim = from.dim();
  }

  void get(const fb::Copy &from, Copy &to) {
    get(*from.x(), to.x);
    get(*from.out(), to.out);
  }

  void get(const fb::Fill &from, Fill &to) {
    get(*from.out(), to.out);
    to.value = from.value();
    to.dim = from.dim();
    get(from.from_index(), to.from);
  }

  void get(const fb::Collective &from, Collective &to) {
    getEnum(from.kind(), to.kind, "collective");
    getEnum(from.reduce(), to.reduce, "reduction");
    get(*from.x(), to.x);
    get(*from.out(), to.out);
    get(from.axes(), to.axes, "axes", limits::meshAxes);
    get(from.cause(), to.cause, "cause");
  }

  void get(const fb::Record &from, Record &to) { to.event = from.event(); }
  void get(const fb::Wait &from, Wait &to) { to.event = from.event(); }

  /// Unpacks the alternative number `kind` (from 1) of the union into the same one of the variant.
  template <size_t I = 0> void getBody(size_t kind, const void *from, OpBody &to) {
    if constexpr (I < std::variant_size_v<OpBody>) {
      if (kind != I + 1)
        return getBody<I + 1>(kind, from, to);
      using Tables = std::tuple<fb::MatMul, fb::Attention, fb::GatherRows, fb::Take, fb::Norm,
                                fb::Rope, fb::Elementwise, fb::Reduce, fb::Softmax, fb::Copy,
                                fb::Fill, fb::Collective, fb::Record, fb::Wait>;
      static_assert(std::tuple_size_v<Tables> == std::variant_size_v<OpBody>);
      get(*static_cast<const std::tuple_element_t<I, Tables> *>(from), to.template emplace<I>());
    }
  }

  void get(const fb::Op &from, Op &to) {
    size_t kind = size_t(from.body_type());
    if (kind == 0 || kind > size_t(fb::OpBody::MAX))
      return fail("unknown kind of op " + std::to_string(kind) + ", expected 1 to " +
                  std::to_string(int(fb::OpBody::MAX)));
    if (!from.body())
      return fail("op has no body");
    getBody(kind, from.body(), to.body);
    to.stream = from.stream();
    get(from.location(), to.location, "location");
    to.predictedUs = from.predicted_us();
  }

  void get(const fb::IO &from, IO &to) {
    get(from.name(), to.name, "name");
    to.buffer = from.buffer();
    getEnum(from.type(), to.type, "data type");
    get(from.shape(), to.shape, "shape");
    get(from.dim_axes(), to.dimAxes, "axes of dimensions", limits::dimensions);
    to.low = from.low();
    to.high = from.high();
    to.maskRows = from.mask_rows();
    if (!checked::product(to.shape))
      fail("shape is negative or too large");
  }

  void get(const fb::Entry &from, Entry &to) {
    get(from.name(), to.name, "entry name");
    get(from.buffers(), to.buffers, "buffer", limits::buffers, true);
    get(from.inputs(), to.inputs, "input", limits::ios, true);
    get(from.outputs(), to.outputs, "output", limits::ios, true);
    get(from.ops(), to.ops, "op", limits::ops, true);
    to.events = from.events();
    to.arenaBytes = from.arena_bytes();
    to.liveBytesBound = from.live_bytes_bound();
    to.predictedUs = from.predicted_us();
    if (to.events < 0 || to.events > limits::events)
      fail("entry has " + std::to_string(to.events) + " events, expected 0 to " +
           std::to_string(limits::events));
    if (to.arenaBytes < 0 || to.arenaBytes > limits::arenaBytes)
      fail("entry has an arena of " + std::to_string(to.arenaBytes) + " bytes, expected 0 to " +
           std::to_string(limits::arenaBytes));
  }

  void get(const fb::Plan &from, Plan &to) {
    get(from.producer(), to.producer, "producer");
    get(from.model(), to.model, "model");
    get(from.machine(), to.machine, "machine");
    get(from.mesh(), to.mesh, "mesh axis", limits::meshAxes, true);
    get(from.weights(), to.weights, "weight", limits::weights, true);
    get(from.entries(), to.entries, "entry", limits::entries, true);
    to.packBudget = from.pack_budget();
    to.weightsBytesUnsharded = from.weights_bytes_unsharded();
    section = "plan";
    get(from.certificate(), to.certificate, "certificate", limits::certificateBytes);
    get(from.choices(), to.choices, "choices", limits::choicesBytes);
  }
};

uint64_t littleEndian(std::span<const std::byte> from, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i)
    value |= uint64_t(from[i]) << (8 * i);
  return value;
}

Status checkHeader(std::span<const std::byte> file) {
  if (file.size() < headerBytes)
    return refuse("not a plan: expected a header of 64 bytes, found a file of " +
                  std::to_string(file.size()));
  if (std::memcmp(file.data(), fileMagic, 8) != 0)
    return refuse("not a plan: expected it to begin with TENONPLN");
  uint64_t format = littleEndian(file.subspan(8), 4);
  if (format != formatNumber)
    return refuse("plan has format " + std::to_string(format) + ", this program reads format " +
                  std::to_string(formatNumber) + "; compile the model again");
  uint64_t size = littleEndian(file.subspan(16), 8);
  if (size != file.size() - headerBytes)
    return refuse("plan is damaged: header promises a payload of " + std::to_string(size) +
                  " bytes, found " + std::to_string(file.size() - headerBytes));
  if (file.size() > limits::fileBytes)
    return refuse("plan has " + std::to_string(file.size()) + " bytes, expected at most " +
                  std::to_string(limits::fileBytes));
  auto isZero = [](std::byte b) { return b == std::byte(0); };
  auto reserved1 = file.subspan(12, 4), reserved2 = file.subspan(56, 8);
  if (!std::all_of(reserved1.begin(), reserved1.end(), isZero) ||
      !std::all_of(reserved2.begin(), reserved2.end(), isZero))
    return refuse("plan is damaged: reserved bytes of the header are not zero");
  auto sum = sha256(file.subspan(headerBytes));
  if (std::memcmp(sum.data(), file.data() + 24, sum.size()) != 0)
    return refuse("plan is damaged: SHA-256 of the payload differs from the header's");
  return {};
}

} // namespace

Expected<Plan> read(std::span<const std::byte> file) {
  if (Status status = checkHeader(file); !status.ok())
    return status;
  // FlatBuffers reads numbers in place, up to eight bytes wide; operator new aligns to 16.
  auto payload = file.subspan(headerBytes);
  auto aligned = std::make_unique_for_overwrite<uint8_t[]>(payload.size() + 1);
  static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= 8);
  if (!payload.empty())
    std::memcpy(aligned.get(), payload.data(), payload.size());
  // A table takes at least 4 bytes of offset where it is used, so sharing alone can exceed this.
  constexpr flatbuffers::uoffset_t maxDepth = 16, maxTables = 1 << 24;
  flatbuffers::Verifier verifier(aligned.get(), payload.size(), maxDepth, maxTables);
  if (!fb::VerifyPlanBuffer(verifier))
    return refuse("plan is damaged: its FlatBuffers structure is not valid");
  try {
    return Unpacker(payload.size()).run(*fb::GetPlan(aligned.get()));
  } catch (const std::bad_alloc &) {
    return Status(Code::Memory, "not enough memory to read the plan");
  }
}

Expected<std::vector<std::byte>> readBytes(const std::string &path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                        std::fclose);
  if (!file)
    return Status(Code::Usage, path + ": cannot open: " + std::strerror(errno));
  std::vector<std::byte> bytes;
  std::vector<std::byte> chunk(size_t(1) << 20);
  while (size_t got = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
    if (bytes.size() > limits::fileBytes)
      return refuse(path + ": has more than " + std::to_string(limits::fileBytes) +
                    " bytes, too large for a plan");
  }
  if (std::ferror(file.get()))
    return Status(Code::Usage, path + ": cannot read: " + std::strerror(errno));
  return bytes;
}

Expected<Plan> readFile(const std::string &path) {
  auto bytes = readBytes(path);
  if (!bytes)
    return bytes.status();
  auto plan = read(*bytes);
  if (!plan)
    return Status(plan.status().code(), path + ": " + plan.status().message());
  return plan;
}

} // namespace tenon::plan
