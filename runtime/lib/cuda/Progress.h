// SPDX-License-Identifier: Apache-2.0
// Progress: how far the GPU has come in a step. Marks are words of pinned host memory that the GPU
// sets, on a stream of their own so that no op waits for them; they work inside a captured graph,
// where an event cannot be asked.
#pragma once

#include "Work.h"

#include <functional>
#include <vector>

namespace tenon::runtime::cuda {

class Progress {
public:
  /// Which ops a step marks, in the order in which the GPU comes to them.
  struct Mark {
    int op;
    bool begin;
  };
  using Marks = std::vector<Mark>;

  ~Progress();
  Status open();
  cudaStream_t stream() const { return stream_; }

  /// Marks a place of `stream`. Does nothing beyond the room for marks.
  cudaError_t mark(int op, bool begin, cudaStream_t stream);

  /// Begins a step: nothing has been reached. `marks` are those of a replayed step, else empty.
  void reset(Marks marks = {});
  /// Calls visit(op, begin) for the marks that have been reached since the last call; stops at the
  /// first failure.
  Status advance(const std::function<Status(int op, bool begin)> &visit);
  const Marks &marks() const { return marks_; }

private:
  // A step of 96 layers has about 800 marks.
  static constexpr size_t kMost = 1 << 14;

  cudaStream_t stream_ = nullptr;
  volatile unsigned *words_ = nullptr; ///< Pinned; not 0 once reached.
  std::vector<cudaEvent_t> events_;
  Marks marks_;
  size_t reached_ = 0;
};

} // namespace tenon::runtime::cuda
