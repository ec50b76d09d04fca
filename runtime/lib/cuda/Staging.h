// SPDX-License-Identifier: Apache-2.0
// Staging: pinned host memory on the way to the GPU. Two pieces take turns for weights, so that one
// is copied while the next is filled; a third is for a step's inputs.
#pragma once

#include "Work.h"

#include <array>

namespace tenon::runtime::cuda {

class Staging {
public:
  ~Staging();

  /// Zero-filled memory of `bytes`, once the copy from it before has ended. Fails with
  /// Code::Memory.
  Expected<std::byte *> take(int64_t bytes);
  /// Copies what take() gave to `device`.
  Status send(std::byte *device, int64_t bytes, cudaStream_t stream);

  /// Copies a small value through memory that is free again after reuse(); false when it is too
  /// large for what is left.
  bool sendSmall(std::byte *device, const void *host, int64_t bytes, cudaStream_t stream,
                 Status &status);
  void reuse() { smallUsed_ = 0; }

private:
  struct Piece {
    std::byte *memory = nullptr;
    int64_t bytes = 0;
    cudaEvent_t copied = nullptr;
  };
  std::array<Piece, 2> pieces_;
  size_t current_ = 0;
  std::byte *small_ = nullptr;
  int64_t smallUsed_ = 0;
};

} // namespace tenon::runtime::cuda
