// SPDX-License-Identifier: Apache-2.0
// Softmax along any dimension: a warp or a block per row, which keeps the row in registers unless
// it is very long; where rows lie side by side (another dimension is the fastest), a thread per
// row.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

enum Slot { X, Out, kSlots };

constexpr int kThreads = 256;
constexpr int kHeld = 8; // Elements that a thread keeps.
constexpr int64_t kMostThreads = 512;

struct SoftmaxTask {
  const void *x = nullptr;
  void *out = nullptr;
  Type xType = Type::F32, outType = Type::F32;
  long long rows = 0, n = 0, xStep = 0, outStep = 0;
  Loops<kSlots> outer;
};

/// Where one thread stands in one row.
struct Row {
  const SoftmaxTask &task;
  long long x, out;

  __device__ float load(long long i) const {
    return loadFloat(task.xType, task.x, x + i * task.xStep);
  }
  __device__ void store(long long i, float value) const {
    storeFloat(task.outType, task.out, out + i * task.outStep, value);
  }
};

/// Combines over the threads of a row.
template <typename Combine>
__device__ inline float combineRow(float value, float *parts, bool warpRows, Combine combine) {
  return warpRows ? combineWarp(value, combine) : combineBlock(value, parts, combine);
}

/// `threadsPerRow` is a warp, of which a block may have several, or the block. With `kHolds` a
/// thread has at most kHeld elements.
template <bool kHolds> __global__ void softmaxRows(SoftmaxTask task, int threadsPerRow) {
  __shared__ float parts[2][kWarp];
  const bool warpRows = threadsPerRow == kWarp;
  const int lane = int(threadIdx.x) % threadsPerRow;
  const int rowsPerBlock = int(blockDim.x) / threadsPerRow;
  const long long step = static_cast<long long>(gridDim.x) * rowsPerBlock;
  for (long long index =
           static_cast<long long>(blockIdx.x) * rowsPerBlock + int(threadIdx.x) / threadsPerRow;
       index < task.rows; index += step) {
    long long at[kSlots];
    offsetsAt(task.outer, index, at);
    const Row row{task, at[X], at[Out]};
    float held[kHeld];
    float top = -infinity(), total = 0;
    if (kHolds) {
#pragma unroll
      for (int j = 0; j < kHeld; ++j) {
        int i = j * threadsPerRow + lane;
        held[j] = i < task.n ? row.load(i) : -infinity();
      }
#pragma unroll
      for (int j = 0; j < kHeld; ++j)
        top = LargerValue()(top, held[j]);
    } else {
      for (long long i = lane; i < task.n; i += threadsPerRow)
        top = LargerValue()(top, row.load(i));
    }
    top = combineRow(top, parts[0], warpRows, LargerValue());
    if (kHolds) {
#pragma unroll
      for (int j = 0; j < kHeld; ++j)
        if (j * threadsPerRow + lane < task.n) {
          held[j] = expf(held[j] - top);
          total += held[j];
        }
    } else {
      for (long long i = lane; i < task.n; i += threadsPerRow)
        total += expf(row.load(i) - top);
    }
    const float factor = 1.0f / combineRow(total, parts[1], warpRows, AddValues());
    if (kHolds) {
#pragma unroll
      for (int j = 0; j < kHeld; ++j) {
        int i = j * threadsPerRow + lane;
        if (i < task.n)
          row.store(i, held[j] * factor);
      }
    } else {
      for (long long i = lane; i < task.n; i += threadsPerRow)
        row.store(i, expf(row.load(i) - top) * factor);
    }
    if (!warpRows)
      __syncthreads();
  }
}

/// A thread per row.
__global__ void softmaxColumns(SoftmaxTask task) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
       index < task.rows; index += step) {
    long long at[kSlots];
    offsetsAt(task.outer, index, at);
    const Row row{task, at[X], at[Out]};
    float top = -infinity(), total = 0;
    for (long long i = 0; i < task.n; ++i)
      top = LargerValue()(top, row.load(i));
    for (long long i = 0; i < task.n; ++i)
      total += expf(row.load(i) - top);
    const float factor = 1.0f / total;
    for (long long i = 0; i < task.n; ++i)
      row.store(i, expf(row.load(i) - top) * factor);
  }
}

class SoftmaxWork : public Work {
public:
  SoftmaxWork(const plan::Softmax &op, const Region &x, const Region &out, Context &context)
      : context_(context) {
    const size_t dim = size_t(op.dim);
    task_.x = x.data;
    task_.out = out.data;
    task_.xType = typeOf(x);
    task_.outType = typeOf(out);
    task_.n = x.sizes[dim];
    task_.xStep = x.strides[dim];
    task_.outStep = out.strides[dim];
    LoopNest rows;
    rows.operands = kSlots;
    for (size_t d = 0; d < x.sizes.size(); ++d)
      if (d != dim)
        rows.push(x.sizes[d], {x.strides[d], out.strides[d]});
    rows.sortBy(X);
    rows.collapse();
    task_.rows = rows.iterations();
    task_.outer = loopsOf<kSlots>(rows);
    // Too few rows would leave most of the threads idle.
    sideBySide_ = rows.depth() > 0 && rows.sizes.back() >= kWarp && rows.strides.back()[X] > 0 &&
                  rows.strides.back()[X] < task_.xStep;
  }

  void enqueue(cudaStream_t stream) override {
    if (task_.rows == 0 || task_.n == 0)
      return;
    context_.note(start(stream), "softmax");
  }

private:
  cudaError_t start(cudaStream_t stream) const {
    const dim3 block{unsigned(kThreads)};
    if (sideBySide_)
      return launch(softmaxColumns, gridFor(task_.rows, kThreads), block, 0, stream, task_);
    if (task_.n <= kHeld * kWarp)
      return launch(softmaxRows<true>, gridFor(task_.rows, kThreads / kWarp), block, 0, stream,
                    task_, kWarp);
    const int64_t threads = threadsFor((task_.n + kHeld - 1) / kHeld, kMostThreads);
    auto kernel = task_.n <= kHeld * kMostThreads ? softmaxRows<true> : softmaxRows<false>;
    return launch(kernel, gridFor(task_.rows, 1), dim3(unsigned(threads)), 0, stream, task_,
                  int(threads));
  }

  Context &context_;
  SoftmaxTask task_;
  bool sideBySide_ = false;
};

} // namespace

PreparedWork prepare(const plan::Softmax &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.same(x, out, "x and out");
  bind.require(op.dim >= 0 && op.dim < x.rank(),
               "dimension " + std::to_string(op.dim) + " of " + shapeText(x.sizes));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(new SoftmaxWork(op, x, out, context));
}

} // namespace tenon::runtime::cuda
