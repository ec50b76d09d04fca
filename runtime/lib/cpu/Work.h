// SPDX-License-Identifier: Apache-2.0
// Work: one prepared op of the CPU device, and Context: what all of them share. One file per family
// implements `prepare`; CpuDevice.cpp queues the result.
//
// Everything here runs on the one thread that calls enqueue() or synchronize(); inside a Work,
// OpenMP threads share its rows. Scratch memory is one arena per device: ops run one after another.
#pragma once

#include "Binder.h"
#include "Isa.h"
#include "Region.h"
#include "rows/RowKernels.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime::cpu {

class MatMulPrimitives;

/// A prepared op. run() does not allocate.
class Work {
public:
  virtual ~Work() = default;
  virtual Status run() = 0;
  /// Bytes allocated for this op alone or because of it.
  int64_t workspaceBytes = 0;
};

/// Memory aligned to 64 bytes, zero-filled; null when it cannot be had.
std::byte *allocateAligned(int64_t bytes);
void releaseAligned(std::byte *memory);

/// Scratch memory that grows while ops are prepared and keeps its size while they run.
class Scratch {
public:
  ~Scratch() { releaseAligned(data_); }
  /// Makes at least `bytes` available; returns by how many it grew. Fails with Code::Memory.
  Expected<int64_t> reserve(int64_t bytes);
  std::byte *data() const { return data_; }

private:
  std::byte *data_ = nullptr;
  int64_t bytes_ = 0;
};

/// What prepared ops share. Outlives them.
struct Context {
  Isa isa = Isa::Sse2;
  const RowKernels *rows = nullptr;
  int threads = 1;
  Scratch scratch;
  std::unique_ptr<MatMulPrimitives> primitives;

  Context();
  ~Context();

  /// Reserves floats per thread, each thread's part on its own cache lines, and books the growth to
  /// `work`.
  Status reserveRows(Work &work, int64_t floatsPerThread);
  /// This thread's part of what reserveRows asked for.
  float *threadRows(int thread, int64_t floatsPerThread) const;
};

/// Rounds up to whole cache lines of floats.
inline int64_t paddedFloats(int64_t n) { return (n + 15) / 16 * 16; }

/// Calls body(thread, begin, end) on pieces of [0, n): one piece per thread, one in all when
/// n * costPerItem (elements touched) is too small to be worth a thread. Pieces depend on n and
/// threads only.
template <typename Body>
void parallelFor(const Context &context, int64_t n, int64_t costPerItem, Body body) {
  int64_t threads = context.threads;
  constexpr int64_t kElementsPerThread = 16384;
  threads = std::min(threads, n * std::max<int64_t>(costPerItem, 1) / kElementsPerThread);
  threads = std::min(threads, n);
  if (threads <= 1) {
    if (n > 0)
      body(0, int64_t(0), n);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(int(threads))
  for (int64_t t = 0; t < threads; ++t)
    body(int(t), n * t / threads, n * (t + 1) / threads);
}

using PreparedWork = Expected<std::unique_ptr<Work>>;

PreparedWork prepare(const plan::MatMul &op, const Binding &binding, Context &context);
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
PreparedWork prepare(const plan::Collective &op, const Binding &binding, Context &context);

/// A copy between two regions of equal sizes, for ops that need one inside.
std::unique_ptr<Work> makeCopy(const Region &from, const Region &to, Context &context);

} // namespace tenon::runtime::cpu
