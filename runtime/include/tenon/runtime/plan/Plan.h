// SPDX-License-Identifier: Apache-2.0
// The plan: everything that a rank does in one step, in order, as plain structs.
//
// One plan serves all ranks (SPMD). Numbers that depend on the rank are written as `RankValue`: the
// start or the owned length of a nested block, times a constant; `resolve()` (Resolve.h) turns them
// into numbers for given mesh coordinates. A plan holds no machine code, no symbol names and no
// weights: a weight is named by checkpoint key and view.
//
// Files are FlatBuffers (schema/plan.fbs, PlanReader.h, PlanWriter.h); nothing outside those two
// sees FlatBuffers. `verify()` (Verify.h) is the only judge of whether a plan may run.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace tenon::plan {

/// Element types of buffers. I1 takes one byte per element, 0 or 1.
enum class DataType : uint8_t { F32, BF16, F16, I32, I64, I1 };
/// Returns bytes per element: 4, 2, 2, 4, 8, 1.
int64_t byteWidth(DataType type);
/// True for F32, BF16, F16.
bool isFloat(DataType type);
/// Returns "f32", "bf16", "f16", "i32", "i64", "i1".
const char *name(DataType type);

/// One axis of the device mesh. Ranks count row-major, the last axis fastest. An axis that the
/// compiler split ("tp.0", "tp.1") names the user's axis in `parent`; otherwise `parent` equals
/// `name`.
struct MeshAxis {
  std::string name;
  int64_t size = 1;
  std::string parent;
  bool operator==(const MeshAxis &) const = default;
};

/// Indices into `Plan::mesh`, major to minor.
using Axes = std::vector<int32_t>;

/// A number that may depend on the rank: base + stride * f(n, axes), where f is 0 (`Constant`), or
/// the start or the owned length of this rank's nested block of a dimension of `n` elements cut
/// over `axes` (Blocks.h). Start of 5 over {2,2} at (1,0) is 3; its owned length is 2.
struct RankValue {
  enum class Kind : uint8_t { Constant, Start, Length };
  Kind kind = Kind::Constant;
  int64_t base = 0;
  int64_t stride = 1;
  int64_t n = 0;
  Axes axes;
  bool operator==(const RankValue &) const = default;
};

/// A logical buffer: one value, live from its definition to its last use. Arena buffers share
/// memory when their lives do not overlap.
struct Buffer {
  enum class Kind : uint8_t { Arena, Weight };
  Kind kind = Kind::Arena;
  DataType type = DataType::F32;
  int64_t elements = 0;
  /// Byte offset in the arena of the entry (multiple of 64). Unused for weights.
  int64_t offset = 0;
  /// Index into `Plan::weights` for weights, -1 otherwise.
  int32_t weight = -1;
  bool operator==(const Buffer &) const = default;
};

/// A strided region inside one buffer, in elements: element (i0, i1, ..) lies at
/// offset + i0*strides[0] + i1*strides[1] + ... A stride of 0 broadcasts (reads only).
struct Operand {
  int32_t buffer = -1; ///< Index into `Entry::buffers`.
  RankValue offset;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  bool operator==(const Operand &) const = default;
};

/// A view of a stored tensor in row-major elements: offset, sizes, strides over the flat tensor.
struct View {
  std::string key; ///< Checkpoint key.
  DataType type =
      DataType::F32; ///< Type that the checkpoint must hold (or convertible: f32 <-> bf16 <-> f16).
  std::vector<int64_t> storedShape; ///< Shape of the stored tensor; checked by the loader.
  int64_t offset = 0;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  bool operator==(const View &) const = default;
};

/// One part of a weight buffer: dimension d of `view` is cut over `dimAxes[d]`; the rank's block
/// (padded with zeros to the block size) is written at `dstOffset` with `dstStrides`. A rank whose
/// coordinate on any of `partialAxes` is not 0 holds zeros (a bias that is added before an
/// all-reduce).
struct WeightPart {
  View view;
  std::vector<Axes> dimAxes;
  Axes partialAxes;
  int64_t dstOffset = 0;
  std::vector<int64_t> dstStrides;
  bool operator==(const WeightPart &) const = default;
};

/// Memory that the loader fills once per rank. Equal weights are one weight, across entries too.
struct Weight {
  std::string name;              ///< For messages: the key, or the keys joined with '+'.
  DataType type = DataType::F32; ///< Held type.
  int64_t elements = 0;          ///< Held elements per rank, padding included.
  std::vector<WeightPart> parts;
  /// Kind for --random-weights: a norm scale is made of ones, everything else is N(0, 0.02).
  bool ones = false;
  bool operator==(const Weight &) const = default;
};

enum class ReduceKind : uint8_t { Sum, Max, Min };
enum class Activation : uint8_t { None, Gelu, GeluTanh, Silu, Relu, Tanh };

/// c = act(sum over contracted labels of a * b + bias) + residual, accumulated in f32. `aDims`,
/// `bDims`, `cDims` give a label to each dimension (einsum letters): in all three = batch, in a and
/// b = contracted, in a and c = rows, in b and c = columns. `bias` and `residual` have c's sizes (a
/// stride of 0 broadcasts).
struct MatMul {
  Operand a, b, c;
  std::string aDims, bDims, cDims;
  std::vector<Operand> bias;     ///< Zero or one.
  std::vector<Operand> residual; ///< Zero or one.
  Activation activation = Activation::None;
  bool operator==(const MatMul &) const = default;
};

/// Softmax(scale * q k^T + bias, masked) v. q [b,s,g,r,d], k [b,t,g,d], v [b,t,g,e], out
/// [b,s,g,r,e]; mask I1 [b,s,t] and bias F32 [b,g,r,s,t] broadcast by stride 0; true = attend. With
/// `causal`, query i (counted from `position`) attends to keys 0..i. A row that attends to nothing
/// gives 0.
struct Attention {
  Operand q, k, v, out;
  std::vector<Operand> mask; ///< Zero or one.
  std::vector<Operand> bias; ///< Zero or one.
  float scale = 1;
  bool causal = false;
  RankValue position;
  bool operator==(const Attention &) const = default;
};

/// out[i.., :] = table[ids[i..] - base, :] where base <= ids < base + rows, and 0 elsewhere.
/// `table` is [v, row..], `out` is [i.., row..].
struct GatherRows {
  Operand ids, table, out;
  RankValue base, rows;
  bool operator==(const GatherRows &) const = default;
};

/// out = x at position index - base along dimension `dim` (kept with size 1), or 0 when
/// that lies outside [0, rows).
struct Take {
  Operand x, out;
  int32_t dim = 0;
  int64_t index = 0;
  RankValue base, rows;
  bool operator==(const Take &) const = default;
};

/// Normalises over the last `dims` dimensions, statistics in f32: layer norm subtracts the mean,
/// RMS norm does not. `scale`, `bias` have x's sizes (stride 0 broadcasts). With `residual`, x +
/// residual is normalised, and the sum is written to `sum` if given. With `rounded`, the normalised
/// value is rounded to out's type before it meets scale and bias.
struct Norm {
  enum class Kind : uint8_t { Layer, Rms };
  Kind kind = Kind::Layer;
  Operand x, out;
  std::vector<Operand> scale, bias, residual, sum; ///< Zero or one each.
  int32_t dims = 1;
  float eps = 0;
  bool rounded = false;
  bool operator==(const Norm &) const = default;
};

/// Rotates pairs of the last dimension of x by the angle at `positions`: x [b,s,..,d], positions
/// [b,s] (I32 or I64; stride 0 broadcasts b), cos, sin F32 [capacity, rot/2]. Half-split pairs (i,
/// i + rot/2), interleaved pairs (2i, 2i+1). Elements from rot on are copied.
struct Rope {
  Operand x, positions, cos, sin, out;
  bool interleaved = false;
  bool operator==(const Rope &) const = default;
};

/// Operators of an elementwise expression. A postfix program over a stack of f32 values
/// (comparisons give 0 or 1; I32 and I64 inputs are read as f32 except in `Copy`, which casts
/// exactly).
enum class ExprOp : uint8_t {
  Input,
  Constant,
  Neg,
  Exp,
  Log,
  Tanh,
  Sigmoid,
  Relu,
  Gelu,
  GeluTanh,
  Silu,
  Sqrt,
  Rsqrt,
  Sin,
  Cos,
  Abs,
  Erf,
  Not,
  Add,
  Sub,
  Mul,
  Div,
  Pow,
  Max,
  Min,
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  And,
  Or,
  Select ///< pops else, then, condition
};
struct ExprTerm {
  ExprOp op = ExprOp::Input;
  int32_t input = 0; ///< For Input.
  double value = 0;  ///< For Constant.
  bool operator==(const ExprTerm &) const = default;
};

/// out[i] = expr(inputs[i]): all inputs have out's sizes (stride 0 broadcasts). At most 16
/// operators that are not Input or Constant. When any input is I32 or I64 all inputs and `out` (or
/// its I1 comparison) are computed in int64 instead of f32; then only Add Sub Mul Max Min Neg Abs,
/// comparisons and Select are allowed.
struct Elementwise {
  std::vector<Operand> inputs;
  Operand out;
  std::vector<ExprTerm> expr;
  bool operator==(const Elementwise &) const = default;
};

/// Reduces the dimensions of x whose bit in `reduced` is set; `out` has x's sizes with 1 there.
struct Reduce {
  ReduceKind kind = ReduceKind::Sum;
  Operand x, out;
  std::vector<bool> reduced;
  bool operator==(const Reduce &) const = default;
};

/// Softmax along dimension `dim`.
struct Softmax {
  Operand x, out;
  int32_t dim = 0;
  bool operator==(const Softmax &) const = default;
};

/// out = x with the same sizes, cast to out's type (to I1: x != 0; float to integer truncates).
struct Copy {
  Operand x, out;
  bool operator==(const Copy &) const = default;
};

/// Sets to `value` the elements of `out` whose index along `dim` is >= `from` (the whole of it when
/// dim is -1). Infinities are allowed.
struct Fill {
  Operand out;
  double value = 0;
  int32_t dim = -1;
  RankValue from;
  bool operator==(const Fill &) const = default;
};

enum class CollectiveKind : uint8_t { AllReduce, AllGather, ReduceScatter, AllToAll, Broadcast };

/// A collective over the group of ranks that differ only on `axes`; its members are ordered
/// row-major by those axes in the given order. x and out are contiguous. p = group size, elements:
///   all_reduce      x n      -> out n        (kind; may be in place)
///   all_gather      x n      -> out p*n      member i's x at i*n
///   reduce_scatter  x p*n    -> out n        sum of everyone's block number `me`
///   all_to_all      x p*n    -> out p*n      out block i = block `me` of member i's x
///   broadcast       x n      -> out n        member 0's x (may be in place)
/// Sums run in rank order in f32 and round once.
struct Collective {
  CollectiveKind kind = CollectiveKind::AllReduce;
  ReduceKind reduce = ReduceKind::Sum;
  Operand x, out;
  Axes axes;
  std::string cause; ///< The choice that brought it here, for reports.
  bool operator==(const Collective &) const = default;
};

struct Record {
  int32_t event = 0;
  bool operator==(const Record &) const = default;
};
struct Wait {
  int32_t event = 0;
  bool operator==(const Wait &) const = default;
};

using OpBody = std::variant<MatMul, Attention, GatherRows, Take, Norm, Rope, Elementwise, Reduce,
                            Softmax, Copy, Fill, Collective, Record, Wait>;

/// One instruction on one stream (0 = compute, 1 = collectives).
struct Op {
  OpBody body;
  int32_t stream = 0;
  std::string location;   ///< Source layer, e.g. "encoder.layer.3.output.dense".
  double predictedUs = 0; ///< By the cost model; 0 if not priced.
  bool operator==(const Op &) const = default;
};

/// An entry input (global shape = buffer shape, every rank gets all of it) or output (this rank's
/// block).
struct IO {
  std::string name;
  int32_t buffer = -1;
  DataType type = DataType::F32;
  std::vector<int64_t> shape; ///< Global shape.
  std::vector<Axes> dimAxes;  ///< Sharding per dimension; empty axes for inputs.
  /// Range of legal values for integer inputs, checked before a step: [low, high). low == high:
  /// unchecked.
  int64_t low = 0, high = 0;
  /// A mask: every row (last dimension) must hold a value that is not 0.
  bool maskRows = false;
  bool operator==(const IO &) const = default;
};

/// One function of the model, e.g. `forward` for one sequence length.
struct Entry {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<IO> inputs, outputs;
  std::vector<Op> ops;
  int32_t events = 0;
  int64_t arenaBytes = 0;
  int64_t liveBytesBound = 0; ///< Largest sum of live bytes: lower bound of arenaBytes.
  double predictedUs = 0;
  bool operator==(const Entry &) const = default;
};

struct Plan {
  std::string producer; ///< Compiler name and version.
  std::string model;    ///< Model name, for messages.
  std::string machine;  ///< Machine model name and digest.
  std::vector<MeshAxis> mesh;
  std::vector<Weight> weights;
  std::vector<Entry> entries;
  int64_t packBudget = 0;            ///< Bytes a device may spend on repacked weights.
  int64_t weightsBytesUnsharded = 0; ///< Distinct globals in use, unpadded.
  std::string certificate;           ///< Objective, bound, gap and how proven: one line of JSON.
  /// What was chosen for each op and weight, and what the runner-up would cost: a JSON list, for
  /// people; nothing that runs reads it.
  std::string choices;
  bool operator==(const Plan &) const = default;
};

/// Number of ranks: the product of the mesh sizes.
int64_t worldSize(const Plan &plan);

} // namespace tenon::plan
