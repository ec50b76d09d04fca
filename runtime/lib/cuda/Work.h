// SPDX-License-Identifier: Apache-2.0
// Work: one prepared op of the CUDA device, and Context: what all of them share. One file per
// family implements `prepare`; CudaDevice.cpp puts the result on streams.
#pragma once

#include "Binder.h"
#include "Region.h"
#include "Values.h"

#include "tenon/runtime/Device.h"

#include <CudaPlatform.h>
#include <cstdint>
#include <memory>
#include <string>

namespace tenon::runtime::cuda {

/// "what: out of memory (cudaErrorMemoryAllocation)"; Code::Memory for exhausted memory, else
/// Code::Device.
Status statusOf(cudaError_t error, const std::string &what);

/// Device memory with an owner; allocated at once, 256-byte aligned, contents undefined.
class Allocation {
public:
  Allocation() = default;
  Allocation(Allocation &&other) noexcept { *this = std::move(other); }
  Allocation &operator=(Allocation &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Allocation() {
    if (data_)
      (void)cudaFree(data_);
  }
  /// Fails with Code::Memory.
  static Expected<Allocation> make(int64_t bytes);
  std::byte *data() const { return data_; }
  int64_t bytes() const { return bytes_; }

private:
  std::byte *data_ = nullptr;
  int64_t bytes_ = 0;
};

/// A prepared op. enqueue() does not allocate; a failing launch is kept in the context and comes
/// out of synchronize().
class Work {
public:
  virtual ~Work() = default;
  virtual void enqueue(cudaStream_t stream) = 0;
  /// Bytes allocated for this op alone or because of it.
  int64_t workspaceBytes = 0;
};

/// Scratch memory that ops on stream 0 share: they run one after another, so each may use all of
/// it. It grows while ops are prepared; read data() when enqueuing, not before.
class Scratch {
public:
  /// Makes at least `bytes` available; returns by how many it grew. Fails with Code::Memory.
  Expected<int64_t> reserve(int64_t bytes);
  std::byte *data() const { return memory_.data(); }

private:
  Allocation memory_;
};

/// What prepared ops share. Outlives them.
struct Context {
  int gpu = 0; ///< Ordinal; current on every thread that comes here.
  std::string gpuName;
  int major = 0, minor = 0;    ///< Compute capability.
  int processors = 1;          ///< Streaming multiprocessors.
  int64_t sharedBytes = 0;     ///< Most dynamic shared memory of a block.
  bool tf32 = false;           ///< f32 matmuls may round their operands to TF32.
  bool reduceF32 = false;      ///< Sums of collectives over bf16 and f16 travel as f32.
  bool plainAttention = false; ///< Leaves cuDNN's attention out, to check against it.
  std::string cacheFolder;     ///< Algorithms and compiled expressions; empty for no cache.
  Scratch scratch;
  std::shared_ptr<void> attentionLibrary;          ///< Of FusedAttention.cpp.
  std::shared_ptr<class CompiledKernels> compiled; ///< Expressions that are not compiled in.

  /// Keeps the first failure of what was enqueued.
  void note(cudaError_t error, const char *what) {
    if (error != cudaSuccess && failure.ok())
      failure = statusOf(error, what);
  }
  Status failure;
};

using PreparedWork = Expected<std::unique_ptr<Work>>;

PreparedWork prepare(const plan::Attention &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::GatherRows &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Take &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Norm &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Rope &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Elementwise &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Reduce &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Softmax &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Copy &op, const Binding &binding, Context &context);
PreparedWork prepare(const plan::Fill &op, const Binding &binding, Context &context);

/// A copy between two regions of equal sizes, with cast, for ops that need one inside.
std::unique_ptr<Work> makeCopy(const Region &from, const Region &to, Context &context);

/// A region's element type as kernels name it.
inline Type typeOf(const Region &region) { return static_cast<Type>(region.type); }

/// Loops over outer dimensions as a kernel walks them: at most kLoops of them, collapsed, and the
/// offsets in elements of up to N operands. Example: sizes {2, 3}, strides of operand 0 {12, 4}:
/// iteration 4 is (1, 1) and lies at offset 16.
inline constexpr int kLoops = int(plan::limits::dimensions);
template <int N> struct Loops {
  int depth = 0;
  long long sizes[kLoops] = {};
  long long strides[N][kLoops] = {};

  /// Fills `offsets` for one iteration.
  __device__ void at(long long iteration, long long (&offsets)[N]) const {
    for (int j = 0; j < N; ++j)
      offsets[j] = 0;
    for (int d = depth - 1; d >= 0; --d) {
      long long index = iteration % sizes[d];
      iteration /= sizes[d];
      for (int j = 0; j < N; ++j)
        offsets[j] += index * strides[j][d];
    }
  }
};

/// A nest of N operands for a kernel.
template <int N> Loops<N> loopsOf(const LoopNest &nest) {
  Loops<N> loops;
  loops.depth = int(nest.depth());
  for (int d = 0; d < loops.depth; ++d) {
    loops.sizes[d] = nest.sizes[size_t(d)];
    for (int j = 0; j < N; ++j)
      loops.strides[j][d] = nest.strides[size_t(d)][size_t(j)];
  }
  return loops;
}

} // namespace tenon::runtime::cuda
