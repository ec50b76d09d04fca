// SPDX-License-Identifier: Apache-2.0
#include "Staging.h"

#include <cstring>

namespace tenon::runtime::cuda {

static constexpr int64_t kSmallBytes = int64_t(4) << 20;

Staging::~Staging() {
  for (Piece &piece : pieces_) {
    if (piece.copied) {
      (void)cudaEventSynchronize(piece.copied);
      (void)cudaEventDestroy(piece.copied);
    }
    if (piece.memory)
      (void)cudaFreeHost(piece.memory);
  }
  if (small_)
    (void)cudaFreeHost(small_);
}

Expected<std::byte *> Staging::take(int64_t bytes) {
  current_ = 1 - current_;
  Piece &piece = pieces_[current_];
  if (!piece.copied) {
    if (Status status =
            statusOf(cudaEventCreateWithFlags(&piece.copied, cudaEventDisableTiming), "event");
        !status)
      return status;
  } else if (Status status = statusOf(cudaEventSynchronize(piece.copied), "copy of weights");
             !status) {
    return status;
  }
  if (piece.bytes < bytes) {
    if (piece.memory)
      (void)cudaFreeHost(piece.memory);
    piece = {nullptr, 0, piece.copied};
    void *memory = nullptr;
    if (cudaError_t error = cudaHostAlloc(&memory, size_t(bytes), cudaHostAllocDefault);
        error != cudaSuccess) {
      (void)cudaGetLastError();
      return Status(Code::Memory,
                    statusOf(error, "cannot pin " + std::to_string(bytes) + " bytes of host memory")
                        .message());
    }
    piece.memory = static_cast<std::byte *>(memory);
    piece.bytes = bytes;
  }
  std::memset(piece.memory, 0, size_t(bytes));
  return piece.memory;
}

Status Staging::send(std::byte *device, int64_t bytes, cudaStream_t stream) {
  Piece &piece = pieces_[current_];
  Status status =
      statusOf(cudaMemcpyAsync(device, piece.memory, size_t(bytes), cudaMemcpyHostToDevice, stream),
               "copy of weights");
  return status ? statusOf(cudaEventRecord(piece.copied, stream), "copy of weights") : status;
}

bool Staging::sendSmall(std::byte *device, const void *host, int64_t bytes, cudaStream_t stream,
                        Status &status) {
  if (bytes > kSmallBytes - smallUsed_)
    return false;
  if (!small_) {
    void *memory = nullptr;
    if (cudaHostAlloc(&memory, size_t(kSmallBytes), cudaHostAllocDefault) != cudaSuccess) {
      (void)cudaGetLastError();
      return false;
    }
    small_ = static_cast<std::byte *>(memory);
  }
  std::memcpy(small_ + smallUsed_, host, size_t(bytes));
  status = statusOf(
      cudaMemcpyAsync(device, small_ + smallUsed_, size_t(bytes), cudaMemcpyHostToDevice, stream),
      "copy of an input");
  smallUsed_ += (bytes + 255) / 256 * 256;
  return true;
}

} // namespace tenon::runtime::cuda
