// SPDX-License-Identifier: Apache-2.0
// Norm: layer and RMS normalisation, a block per row (a warp for short ones). Rows that are one
// aligned run are read once and stay in registers; all others, and very long ones, are read again
// in each of the three passes: mean, squared deviations, result.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

enum Slot { X, Out, Scale, Bias, Residual, Sum, kSlots };

constexpr int kPack = 8;
// Threads of a block at most, by the packs that each holds: as many as registers allow.
constexpr int threadsWith(int packs) { return packs <= 2 ? 256 : packs == 4 ? 512 : 384; }
constexpr int64_t kMostPacks = 8 * threadsWith(8);
constexpr int kRowsOfWarps = 8;

struct NormTask {
  void *data[kSlots] = {}; ///< Null for absent operands.
  Type types[kSlots] = {};
  long long rows = 0, n = 0;
  float eps = 0;
  bool rms = false;
  bool rounded = false;
  bool scalePerRow = false, biasPerRow = false; ///< One value for the whole row: stride 0.
  Loops<kSlots> outer, row;
};

/// Where a row of one operand begins. Found anew for each access: offsets of all operands at once
/// would take registers from the row.
__device__ inline long long rowBegin(const Loops<kSlots> &outer, long long row, int slot) {
  if (outer.depth <= 1)
    return outer.depth == 0 ? 0 : row * outer.strides[slot][0];
  long long at[kSlots];
  offsetsAt(outer, row, at);
  return at[slot];
}

/// Sums over the threads of one row: a warp of a block with several rows, or the whole block.
__device__ inline float sumOfRow(float value, float *parts, bool warpRows) {
  return warpRows ? combineWarp(value, AddValues()) : combineBlock(value, parts, AddValues());
}

__device__ inline Pack8 loadWeights(Type type, const void *data, long long offset, long long at,
                                    bool perRow) {
  if (!perRow)
    return loadPack(type, data, offset + at);
  Pack8 pack;
  float value = loadFloat(type, data, offset);
#pragma unroll
  for (int i = 0; i < kPack; ++i)
    pack.v[i] = value;
  return pack;
}

/// `kUniform`: all operands have type kType, which lets the loads of a thread go out together.
template <Type kType, bool kUniform, int kPacks>
__global__ void __launch_bounds__(threadsWith(kPacks), kPacks <= 2 ? 4 : 1)
    normPacks(NormTask task, int threadsPerRow) {
  __shared__ float parts[2][kWarp];
  auto typeAt = [&](int slot) { return kUniform ? kType : task.types[slot]; };
  auto begin = [&](int slot, long long row) { return rowBegin(task.outer, row, slot); };
  const bool warpRows = threadsPerRow < int(blockDim.x);
  const int n = int(task.n), lane = int(threadIdx.x) % threadsPerRow;
  const int rowsPerBlock = int(blockDim.x) / threadsPerRow;
  const long long first =
      static_cast<long long>(blockIdx.x) * rowsPerBlock + int(threadIdx.x) / threadsPerRow;
  const long long step = static_cast<long long>(gridDim.x) * rowsPerBlock;
  for (long long row = first; row < task.rows; row += step) {
    Pack8 values[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      int i = (p * threadsPerRow + lane) * kPack;
      if (i < n)
        values[p] = loadPack(typeAt(X), task.data[X], begin(X, row) + i);
    }
    if (task.data[Residual]) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        int i = (p * threadsPerRow + lane) * kPack;
        if (i >= n)
          continue;
        Pack8 other = loadPack(typeAt(Residual), task.data[Residual], begin(Residual, row) + i);
#pragma unroll
        for (int j = 0; j < kPack; ++j)
          values[p].v[j] += other.v[j];
      }
    }
    if (task.data[Sum]) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        int i = (p * threadsPerRow + lane) * kPack;
        if (i < n)
          storePack(typeAt(Sum), task.data[Sum], begin(Sum, row) + i, values[p]);
      }
    }
    float mean = 0;
    if (!task.rms) {
      float sum = 0;
#pragma unroll
      for (int p = 0; p < kPacks; ++p)
        if ((p * threadsPerRow + lane) * kPack < n)
#pragma unroll
          for (int j = 0; j < kPack; ++j)
            sum += values[p].v[j];
      mean = sumOfRow(sum, parts[0], warpRows) / float(n);
    }
    float square = 0;
#pragma unroll
    for (int p = 0; p < kPacks; ++p)
      if ((p * threadsPerRow + lane) * kPack < n)
#pragma unroll
        for (int j = 0; j < kPack; ++j)
          square += (values[p].v[j] - mean) * (values[p].v[j] - mean);
    square = sumOfRow(square, parts[1], warpRows);
    const float inverse = 1.0f / sqrtf(square / float(n) + task.eps);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      int i = (p * threadsPerRow + lane) * kPack;
      if (i >= n)
        continue;
      Pack8 &pack = values[p];
#pragma unroll
      for (int j = 0; j < kPack; ++j)
        pack.v[j] = (pack.v[j] - mean) * inverse;
      if (task.rounded)
#pragma unroll
        for (int j = 0; j < kPack; ++j)
          pack.v[j] = roundTo(typeAt(Out), pack.v[j]);
      if (task.data[Scale]) {
        Pack8 scale =
            loadWeights(typeAt(Scale), task.data[Scale], begin(Scale, row), i, task.scalePerRow);
#pragma unroll
        for (int j = 0; j < kPack; ++j)
          pack.v[j] *= scale.v[j];
      }
      if (task.data[Bias]) {
        Pack8 bias =
            loadWeights(typeAt(Bias), task.data[Bias], begin(Bias, row), i, task.biasPerRow);
#pragma unroll
        for (int j = 0; j < kPack; ++j)
          pack.v[j] += bias.v[j];
      }
      storePack(typeAt(Out), task.data[Out], begin(Out, row) + i, pack);
    }
    if (!warpRows)
      __syncthreads();
  }
}

/// Any strides and types, any length.
__global__ void normElements(NormTask task) {
  __shared__ float parts[2][kWarp];
  for (long long row = blockIdx.x; row < task.rows; row += gridDim.x) {
    long long begin[kSlots], at[kSlots];
    offsetsAt(task.outer, row, begin);
    // Moves to element i of the row.
    auto value = [&](long long i) {
      offsetsAt(task.row, i, at);
      float x = loadFloat(task.types[X], task.data[X], begin[X] + at[X]);
      if (task.data[Residual])
        x += loadFloat(task.types[Residual], task.data[Residual], begin[Residual] + at[Residual]);
      return x;
    };
    float mean = 0;
    if (!task.rms) {
      float sum = 0;
      for (long long i = threadIdx.x; i < task.n; i += blockDim.x) {
        sum += value(i);
      }
      mean = combineBlock(sum, parts[0], AddValues()) / float(task.n);
    }
    float square = 0;
    for (long long i = threadIdx.x; i < task.n; i += blockDim.x) {
      float x = value(i) - mean;
      square += x * x;
    }
    square = combineBlock(square, parts[1], AddValues());
    const float inverse = 1.0f / sqrtf(square / float(task.n) + task.eps);
    for (long long i = threadIdx.x; i < task.n; i += blockDim.x) {
      float x = value(i);
      float result = (x - mean) * inverse;
      if (task.rounded)
        result = roundTo(task.types[Out], result);
      if (task.data[Scale])
        result *= loadFloat(task.types[Scale], task.data[Scale], begin[Scale] + at[Scale]);
      if (task.data[Bias])
        result += loadFloat(task.types[Bias], task.data[Bias], begin[Bias] + at[Bias]);
      if (task.data[Sum])
        storeFloat(task.types[Sum], task.data[Sum], begin[Sum] + at[Sum], x);
      storeFloat(task.types[Out], task.data[Out], begin[Out] + at[Out], result);
    }
    __syncthreads();
  }
}

using PacksKernel = void (*)(NormTask, int);

template <Type kType, bool kUniform> PacksKernel packsKernel(int packs) {
  return packs == 1   ? normPacks<kType, kUniform, 1>
         : packs == 2 ? normPacks<kType, kUniform, 2>
         : packs == 4 ? normPacks<kType, kUniform, 4>
                      : normPacks<kType, kUniform, 8>;
}

class NormWork : public Work {
public:
  NormWork(const plan::Norm &op, const std::vector<Region> &regions, Context &context)
      : context_(context) {
    // Absent operands walk along with x and are never touched.
    std::vector<const Region *> pointers;
    for (int slot = 0; slot < kSlots; ++slot) {
      const Region &region = regions[size_t(slot)];
      pointers.push_back(region.data ? &region : &regions[X]);
      task_.data[slot] = region.data;
      task_.types[slot] = typeOf(*pointers.back());
    }
    const int64_t rank = regions[X].rank(), split = rank - op.dims;
    LoopNest outer = nestOf(pointers, 0, split), row = nestOf(pointers, split, rank);
    outer.collapse();
    task_.rows = outer.iterations();
    task_.n = row.iterations();
    row.collapse();
    task_.outer = loopsOf<kSlots>(outer);
    task_.row = loopsOf<kSlots>(row);
    task_.eps = op.eps;
    task_.rms = op.kind == plan::Norm::Kind::Rms;
    task_.rounded = op.rounded;
    if (task_.n % kPack == 0 && task_.n / kPack <= kMostPacks && takesPacks(regions, outer, row))
      choosePacks();
  }

  void enqueue(cudaStream_t stream) override {
    if (task_.rows == 0 || task_.n == 0)
      return;
    if (kernel_) {
      int rowsPerBlock = threads_ == kWarp ? kRowsOfWarps : 1;
      context_.note(launch(kernel_, gridFor(task_.rows, rowsPerBlock),
                           dim3(unsigned(threads_ * rowsPerBlock)), 0, stream, task_, threads_),
                    "norm");
      return;
    }
    context_.note(launch(normElements, gridFor(task_.rows, 1),
                         dim3(unsigned(threadsFor(task_.n / 4, 512))), 0, stream, task_),
                  "norm");
  }

private:
  // Whether each operand's row is one aligned run of floats; scale and bias may repeat one value.
  bool takesPacks(const std::vector<Region> &regions, const LoopNest &outer, const LoopNest &row) {
    if (row.depth() != 1)
      return false;
    for (int slot = 0; slot < kSlots; ++slot) {
      const Region &region = regions[size_t(slot)];
      if (!region.data)
        continue;
      const int64_t step = row.strides[0][size_t(slot)];
      const bool repeats = step == 0 && (slot == Scale || slot == Bias);
      (slot == Scale ? task_.scalePerRow : task_.biasPerRow) |= repeats;
      if (!isFloat(region.type) || (step != 1 && !repeats) ||
          (!repeats && !rowsAligned(region, outer, slot)))
        return false;
    }
    return true;
  }

  void choosePacks() {
    const int64_t packs = task_.n / kPack;
    const int perThread = packs <= 128 ? 1 : packs <= 512 ? 2 : packs <= 2048 ? 4 : 8;
    threads_ = int(threadsFor((packs + perThread - 1) / perThread, threadsWith(perThread)));
    bool uniform = true;
    for (int slot = 0; slot < kSlots; ++slot)
      uniform = uniform && (!task_.data[slot] || task_.types[slot] == task_.types[X]);
    if (!uniform)
      kernel_ = packsKernel<Type::F32, false>(perThread);
    else if (task_.types[X] == Type::F32)
      kernel_ = packsKernel<Type::F32, true>(perThread);
    else if (task_.types[X] == Type::BF16)
      kernel_ = packsKernel<Type::BF16, true>(perThread);
    else
      kernel_ = packsKernel<Type::F16, true>(perThread);
  }

  Context &context_;
  NormTask task_;
  PacksKernel kernel_ = nullptr;
  int threads_ = 0; ///< Per row, where packs are taken.
};

} // namespace

PreparedWork prepare(const plan::Norm &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.x),
                                 bind(op.out),
                                 bind.optional(op.scale),
                                 bind.optional(op.bias),
                                 bind.optional(op.residual),
                                 bind.optional(op.sum)};
  for (const Region &region : regions)
    if (region.data)
      bind.same(regions[X], region, "x and another operand");
  bind.require(op.dims >= 1 && op.dims <= regions[X].rank(),
               "cannot normalise " + std::to_string(op.dims) + " dimensions of " +
                   shapeText(regions[X].sizes));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(new NormWork(op, regions, context));
}

} // namespace tenon::runtime::cuda
