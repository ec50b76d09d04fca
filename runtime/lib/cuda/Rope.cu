// SPDX-License-Identifier: Apache-2.0
// Rope: rotates each row by the angles at its position; a thread takes eight elements where rows
// are aligned, else one pair. A kernel has no way to fail, so a position outside the tables reads
// nothing there and fills its row with NaN; tp-run checks positions before a step.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

enum Slot { X, Out, Positions, kSlots };

constexpr int kPack = 8;
constexpr int kThreads = 256;

struct RopeTask {
  const void *x = nullptr;
  void *out = nullptr;
  const void *positions = nullptr;
  const float *cosines = nullptr, *sines = nullptr;
  Type xType = Type::F32, outType = Type::F32, positionType = Type::I32;
  bool interleaved = false;
  long long rows = 0, n = 0, half = 0, capacity = 0;
  long long xStep = 1, outStep = 1; ///< Along a row.
  long long cosRow = 0, cosStep = 1, sinRow = 0, sinStep = 1;
  long long perRow = 0; ///< Units of work of a row: packs, pairs of packs, or pairs.
  Loops<kSlots> outer;
};

struct Angle {
  float cosine, sine;
};

/// One row of the tables.
struct Angles {
  const float *cosines, *sines;
  bool valid;
};

__device__ inline Angles anglesAt(const RopeTask &task, long long offset) {
  long long position = loadInteger(task.positionType, task.positions, offset);
  bool valid = position >= 0 && position < task.capacity;
  if (!valid)
    position = 0;
  return {task.cosines + position * task.cosRow, task.sines + position * task.sinRow, valid};
}

__device__ inline Angle angleOf(const RopeTask &task, const Angles &angles, long long pair) {
  if (!angles.valid)
    return {notANumber(), notANumber()};
  return {angles.cosines[pair * task.cosStep], angles.sines[pair * task.sinStep]};
}

__device__ inline void rotate(float &a, float &b, Angle angle) {
  float first = a * angle.cosine - b * angle.sine;
  b = b * angle.cosine + a * angle.sine;
  a = first;
}

__device__ inline void copyPack(const RopeTask &task, const Angles &angles, long long from,
                                long long to) {
  Pack8 pack = loadPack(task.xType, task.x, from);
  if (!angles.valid)
    for (int i = 0; i < kPack; ++i)
      pack.v[i] = notANumber();
  storePack(task.outType, task.out, to, pack);
}

/// Half-split pairs; rows, halves and table rows are whole aligned packs. The first units of a row
/// rotate a pack of each half, the others copy a pack.
__global__ void ropeHalves(RopeTask task) {
  const long long units = task.rows * task.perRow, halfPacks = task.half / kPack;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    long long row = quotient(unit, task.perRow), place = unit - row * task.perRow, at[kSlots];
    offsetsAt(task.outer, row, at);
    const Angles angles = anglesAt(task, at[Positions]);
    if (place >= halfPacks) {
      long long i = task.half + place * kPack;
      copyPack(task, angles, at[X] + i, at[Out] + i);
      continue;
    }
    const long long i = place * kPack;
    Pack8 a = loadPack(task.xType, task.x, at[X] + i);
    Pack8 b = loadPack(task.xType, task.x, at[X] + task.half + i);
    Pack8 cosine, sine;
    if (angles.valid) {
      cosine = loadPack(Type::F32, angles.cosines, i);
      sine = loadPack(Type::F32, angles.sines, i);
    } else {
      for (int j = 0; j < kPack; ++j)
        cosine.v[j] = sine.v[j] = notANumber();
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      rotate(a.v[j], b.v[j], {cosine.v[j], sine.v[j]});
    storePack(task.outType, task.out, at[Out] + i, a);
    storePack(task.outType, task.out, at[Out] + task.half + i, b);
  }
}

/// Interleaved pairs; rows are whole aligned packs, of which each unit takes one.
__global__ void ropeNeighbours(RopeTask task) {
  const long long units = task.rows * task.perRow;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    long long row = quotient(unit, task.perRow), place = unit - row * task.perRow, at[kSlots];
    offsetsAt(task.outer, row, at);
    const Angles angles = anglesAt(task, at[Positions]);
    const long long i = place * kPack;
    if (i >= 2 * task.half) {
      copyPack(task, angles, at[X] + i, at[Out] + i);
      continue;
    }
    Pack8 pack = loadPack(task.xType, task.x, at[X] + i);
#pragma unroll
    for (int j = 0; j < kPack; j += 2) {
      if (i + j < 2 * task.half)
        rotate(pack.v[j], pack.v[j + 1], angleOf(task, angles, (i + j) / 2));
      else if (!angles.valid)
        pack.v[j] = pack.v[j + 1] = notANumber();
    }
    storePack(task.outType, task.out, at[Out] + i, pack);
  }
}

/// Any layout. The first units of a row rotate a pair, the others copy an element.
__global__ void ropePairs(RopeTask task) {
  const long long units = task.rows * task.perRow;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    long long row = quotient(unit, task.perRow), place = unit - row * task.perRow, at[kSlots];
    offsetsAt(task.outer, row, at);
    const Angles angles = anglesAt(task, at[Positions]);
    auto load = [&](long long i) { return loadFloat(task.xType, task.x, at[X] + i * task.xStep); };
    auto store = [&](long long i, float value) {
      storeFloat(task.outType, task.out, at[Out] + i * task.outStep, value);
    };
    if (place >= task.half) {
      long long i = task.half + place;
      store(i, angles.valid ? load(i) : notANumber());
      continue;
    }
    const long long first = task.interleaved ? 2 * place : place;
    const long long second = task.interleaved ? first + 1 : first + task.half;
    float a = load(first), b = load(second);
    rotate(a, b, angleOf(task, angles, place));
    store(first, a);
    store(second, b);
  }
}

class RopeWork : public Work {
public:
  RopeWork(const plan::Rope &op, const Region &x, const Region &out, const Region &positions,
           const Region &cosines, const Region &sines, Context &context)
      : context_(context) {
    task_.x = x.data;
    task_.out = out.data;
    task_.positions = positions.data;
    task_.cosines = reinterpret_cast<const float *>(cosines.data);
    task_.sines = reinterpret_cast<const float *>(sines.data);
    task_.xType = typeOf(x);
    task_.outType = typeOf(out);
    task_.positionType = typeOf(positions);
    task_.interleaved = op.interleaved;
    task_.n = x.sizes.back();
    task_.half = cosines.sizes[1];
    task_.capacity = cosines.sizes[0];
    task_.xStep = x.strides.back();
    task_.outStep = out.strides.back();
    task_.cosRow = cosines.strides[0];
    task_.cosStep = cosines.strides[1];
    task_.sinRow = sines.strides[0];
    task_.sinStep = sines.strides[1];
    LoopNest rows;
    rows.operands = kSlots;
    for (size_t d = 0; d + 1 < x.sizes.size(); ++d)
      rows.push(x.sizes[d], {x.strides[d], out.strides[d], d < 2 ? positions.strides[d] : 0});
    rows.collapse();
    task_.rows = rows.iterations();
    task_.outer = loopsOf<kSlots>(rows);

    const bool packs = task_.n % kPack == 0 && task_.xStep == 1 && task_.outStep == 1 &&
                       isFloat(x.type) && isFloat(out.type) && rowsAligned(x, rows, X) &&
                       rowsAligned(out, rows, Out);
    auto tableAligned = [](const Region &table) {
      return reinterpret_cast<uintptr_t>(table.data) % 16 == 0 && table.strides[1] == 1 &&
             table.strides[0] % 4 == 0;
    };
    if (packs && op.interleaved) {
      kernel_ = ropeNeighbours;
      task_.perRow = task_.n / kPack;
    } else if (packs && task_.half % kPack == 0 && tableAligned(cosines) && tableAligned(sines)) {
      kernel_ = ropeHalves;
      task_.perRow = (task_.n - task_.half) / kPack;
    } else {
      kernel_ = ropePairs;
      task_.perRow = task_.n - task_.half;
    }
  }

  void enqueue(cudaStream_t stream) override {
    const int64_t units = task_.rows * task_.perRow;
    if (units > 0)
      context_.note(
          launch(kernel_, gridFor(units, kThreads), dim3(unsigned(kThreads)), 0, stream, task_),
          "rope");
  }

private:
  Context &context_;
  RopeTask task_;
  void (*kernel_)(RopeTask) = nullptr;
};

} // namespace

PreparedWork prepare(const plan::Rope &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out), positions = bind(op.positions);
  Region cosines = bind(op.cos), sines = bind(op.sin);
  bind.same(x, out, "x and out");
  bind.same(cosines, sines, "cos and sin");
  bind.require(x.rank() >= 3, "expected x of at least 3 dimensions, found " + shapeText(x.sizes));
  bind.require(positions.rank() == 2 && x.rank() >= 3 && positions.sizes[0] == x.sizes[0] &&
                   positions.sizes[1] == x.sizes[1],
               "positions " + shapeText(positions.sizes) + " do not fit x " + shapeText(x.sizes));
  bind.require(positions.type == plan::DataType::I32 || positions.type == plan::DataType::I64,
               std::string("expected positions of i32 or i64, found ") +
                   plan::name(positions.type));
  bind.require(cosines.type == plan::DataType::F32 && sines.type == plan::DataType::F32,
               "expected tables of f32");
  bind.require(cosines.rank() == 2 && x.rank() >= 3 && 2 * cosines.sizes[1] <= x.sizes.back(),
               "tables " + shapeText(cosines.sizes) + " do not fit x " + shapeText(x.sizes));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(new RopeWork(op, x, out, positions, cosines, sines, context));
}

} // namespace tenon::runtime::cuda
