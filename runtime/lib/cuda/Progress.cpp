// SPDX-License-Identifier: Apache-2.0
#include "Progress.h"

namespace tenon::runtime::cuda {

Progress::~Progress() {
  for (cudaEvent_t event : events_)
    (void)cudaEventDestroy(event);
  if (stream_)
    (void)cudaStreamDestroy(stream_);
  if (words_)
    (void)cudaFreeHost(const_cast<unsigned *>(words_));
}

Status Progress::open() {
  void *words = nullptr;
  if (Status status = statusOf(cudaHostAlloc(&words, kMost * sizeof(unsigned), cudaHostAllocMapped),
                               "pinned memory for progress");
      !status)
    return status;
  words_ = static_cast<unsigned *>(words);
  return statusOf(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
}

cudaError_t Progress::mark(int op, bool begin, cudaStream_t stream) {
  const size_t index = marks_.size();
  if (index == kMost)
    return cudaSuccess;
  if (index == events_.size()) {
    cudaEvent_t event = nullptr;
    if (cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        error != cudaSuccess)
      return error;
    events_.push_back(event);
  }
  cudaError_t error = cudaEventRecord(events_[index], stream);
  if (error == cudaSuccess)
    error = cudaStreamWaitEvent(stream_, events_[index], 0);
  if (error == cudaSuccess)
    error =
        cudaMemsetAsync(const_cast<unsigned *>(words_ + index), 0xff, sizeof(unsigned), stream_);
  if (error == cudaSuccess)
    marks_.push_back({op, begin});
  return error;
}

void Progress::reset(Marks marks) {
  marks_ = std::move(marks);
  reached_ = 0;
  // The GPU is idle between steps, so nobody else writes.
  for (size_t i = 0; i < kMost; ++i)
    words_[i] = 0;
}

Status Progress::advance(const std::function<Status(int op, bool begin)> &visit) {
  for (; reached_ < marks_.size() && words_[reached_] != 0; ++reached_)
    if (visit)
      if (Status status = visit(marks_[reached_].op, marks_[reached_].begin); !status)
        return status;
  return Status();
}

} // namespace tenon::runtime::cuda
