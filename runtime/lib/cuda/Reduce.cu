// SPDX-License-Identifier: Apache-2.0
// Reduce: sums and extremes over a set of dimensions, floats in f32, integers in int64. Where x's
// fastest dimension is reduced, a warp or a block goes over the elements of one output; where it is
// kept, neighbouring threads have neighbouring outputs and eight of them share one. The order of
// additions depends on sizes alone.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

enum Slot { X, Out, kSlots };

constexpr int kThreads = 256;
constexpr int kShare = kThreads / kWarp; // Threads of one output where outputs are neighbours.
constexpr int64_t kWarpElements = 1024;  // A warp suffices for up to so many.

struct ReduceTask {
  const void *x = nullptr;
  void *out = nullptr;
  Type xType = Type::F32, outType = Type::F32;
  plan::ReduceKind kind = plan::ReduceKind::Sum;
  long long outputs = 0, count = 0;
  Loops<kSlots> kept, reduced;
};

/// `T` is float or long long. NaN stays.
template <typename T> struct Combination {
  plan::ReduceKind kind;

  __device__ T operator()(T a, T b) const {
    if (kind == plan::ReduceKind::Sum)
      return add(a, b);
    bool first = kind == plan::ReduceKind::Max ? a > b : a < b;
    return first || a != a ? a : b;
  }
  __device__ static float add(float a, float b) { return a + b; }
  // Wraps around.
  __device__ static long long add(long long a, long long b) {
    return static_cast<long long>(static_cast<unsigned long long>(a) +
                                  static_cast<unsigned long long>(b));
  }
};

__device__ inline void setIdentity(plan::ReduceKind kind, float &value) {
  value = kind == plan::ReduceKind::Sum   ? 0
          : kind == plan::ReduceKind::Max ? -infinity()
                                          : infinity();
}
__device__ inline void setIdentity(plan::ReduceKind kind, long long &value) {
  constexpr long long largest = 0x7fffffffffffffffLL;
  value = kind == plan::ReduceKind::Sum   ? 0
          : kind == plan::ReduceKind::Max ? -largest - 1
                                          : largest;
}

__device__ inline void load(const ReduceTask &task, long long at, float &value) {
  value = loadFloat(task.xType, task.x, at);
}
__device__ inline void load(const ReduceTask &task, long long at, long long &value) {
  value = loadInteger(task.xType, task.x, at);
}
__device__ inline void store(const ReduceTask &task, long long at, float value) {
  storeFloat(task.outType, task.out, at, value);
}
__device__ inline void store(const ReduceTask &task, long long at, long long value) {
  storeInteger(task.outType, task.out, at, value);
}

/// Elements first, first + step, .. of the output at `begin`.
template <typename T>
__device__ inline T combineElements(const ReduceTask &task, long long begin, long long first,
                                    long long step, Combination<T> combine) {
  T total;
  setIdentity(task.kind, total);
  for (long long i = first; i < task.count; i += step) {
    long long at[kSlots];
    offsetsAt(task.reduced, i, at);
    T value;
    load(task, begin + at[X], value);
    total = combine(total, value);
  }
  return total;
}

/// A block per output.
template <typename T> __global__ void reduceByBlock(ReduceTask task) {
  __shared__ T parts[kWarp];
  const Combination<T> combine{task.kind};
  for (long long output = blockIdx.x; output < task.outputs; output += gridDim.x) {
    long long at[kSlots];
    offsetsAt(task.kept, output, at);
    T total = combineElements<T>(task, at[X], threadIdx.x, blockDim.x, combine);
    total = combineBlock(total, parts, combine);
    if (threadIdx.x == 0)
      store(task, at[Out], total);
    __syncthreads();
  }
}

/// A warp per output.
template <typename T> __global__ void reduceByWarp(ReduceTask task) {
  const Combination<T> combine{task.kind};
  const long long warps = blockDim.x / kWarp, step = gridDim.x * warps;
  for (long long output = blockIdx.x * warps + threadIdx.x / kWarp; output < task.outputs;
       output += step) {
    long long at[kSlots];
    offsetsAt(task.kept, output, at);
    T total = combineElements<T>(task, at[X], threadIdx.x % kWarp, kWarp, combine);
    total = combineWarp(total, combine);
    if (threadIdx.x % kWarp == 0)
      store(task, at[Out], total);
  }
}

/// A column of kShare threads per output.
template <typename T> __global__ void reduceColumns(ReduceTask task) {
  __shared__ T parts[kShare][kWarp];
  const Combination<T> combine{task.kind};
  const int lane = int(threadIdx.x) % kWarp, share = int(threadIdx.x) / kWarp;
  const long long tiles = (task.outputs + kWarp - 1) / kWarp;
  for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const long long output = tile * kWarp + lane;
    long long at[kSlots] = {};
    if (output < task.outputs) {
      offsetsAt(task.kept, output, at);
      parts[share][lane] = combineElements<T>(task, at[X], share, kShare, combine);
    }
    __syncthreads();
    if (share == 0 && output < task.outputs) {
      T total = parts[0][lane];
      for (int i = 1; i < kShare; ++i)
        total = combine(total, parts[i][lane]);
      store(task, at[Out], total);
    }
    __syncthreads();
  }
}

class ReduceWork : public Work {
public:
  ReduceWork(const plan::Reduce &op, const Region &x, const Region &out, Context &context)
      : context_(context), integers_(!isFloat(x.type)) {
    task_.x = x.data;
    task_.out = out.data;
    task_.xType = typeOf(x);
    task_.outType = typeOf(out);
    task_.kind = op.kind;
    LoopNest kept, reduced;
    kept.operands = reduced.operands = kSlots;
    for (size_t d = 0; d < x.sizes.size(); ++d) {
      if (op.reduced[d])
        reduced.push(x.sizes[d], {x.strides[d], 0});
      else
        kept.push(x.sizes[d], {x.strides[d], out.strides[d]});
    }
    kept.sortBy(X);
    reduced.sortBy(X);
    kept.collapse();
    reduced.collapse();
    task_.outputs = kept.iterations();
    task_.count = reduced.iterations();
    task_.kept = loopsOf<kSlots>(kept);
    task_.reduced = loopsOf<kSlots>(reduced);
    byRuns_ = kept.sizes.empty() ||
              (!reduced.sizes.empty() && reduced.strides.back()[X] <= kept.strides.back()[X]);
  }

  void enqueue(cudaStream_t stream) override {
    if (task_.outputs == 0)
      return;
    context_.note(integers_ ? start<long long>(stream) : start<float>(stream), "reduce");
  }

private:
  template <typename T> cudaError_t start(cudaStream_t stream) const {
    const dim3 block{unsigned(kThreads)};
    if (!byRuns_)
      return launch(reduceColumns<T>, gridFor(task_.outputs, kWarp), block, 0, stream, task_);
    if (task_.count <= kWarpElements)
      return launch(reduceByWarp<T>, gridFor(task_.outputs, kThreads / kWarp), block, 0, stream,
                    task_);
    return launch(reduceByBlock<T>, gridFor(task_.outputs, 1),
                  dim3(unsigned(threadsFor(task_.count / 8, 512))), 0, stream, task_);
  }

  Context &context_;
  ReduceTask task_;
  bool integers_ = false, byRuns_ = true;
};

} // namespace

PreparedWork prepare(const plan::Reduce &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.require(op.reduced.size() == x.sizes.size(), "expected one bit per dimension");
  if (!bind.status().ok())
    return bind.status();
  std::vector<int64_t> expected = x.sizes;
  for (size_t d = 0; d < expected.size(); ++d)
    if (op.reduced[d])
      expected[d] = 1;
  bind.require(out.sizes == expected,
               "expected out of " + shapeText(expected) + ", found " + shapeText(out.sizes));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(new ReduceWork(op, x, out, context));
}

} // namespace tenon::runtime::cuda
