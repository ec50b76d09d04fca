// SPDX-License-Identifier: Apache-2.0
// Errors: what CUDA, cuBLASLt and NCCL return, as a status; and memory with an owner.
#include "Nccl.h"
#include "Work.h"

namespace tenon::runtime::cuda {

Status statusOf(cudaError_t error, const std::string &what) {
  if (error == cudaSuccess)
    return Status();
  return Status(error == cudaErrorMemoryAllocation ? Code::Memory : Code::Device,
                what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

Status statusOf(ncclResult_t error, const std::string &what, ncclComm_t communicator) {
  if (error == ncclSuccess || error == ncclInProgress)
    return Status();
  std::string text = what + ": NCCL: " + ncclGetErrorString(error);
  const char *last = ncclGetLastError(communicator);
  if (last && *last)
    text += std::string(": ") + last;
  return Status(Code::Device, std::move(text));
}

Expected<Allocation> Allocation::make(int64_t bytes) {
  Allocation allocation;
  void *data = nullptr;
  cudaError_t error = cudaMalloc(&data, size_t(bytes > 0 ? bytes : 256));
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return statusOf(error, "cannot allocate " + std::to_string(bytes) + " bytes of workspace");
  }
  allocation.data_ = static_cast<std::byte *>(data);
  allocation.bytes_ = bytes;
  return allocation;
}

Expected<int64_t> Scratch::reserve(int64_t bytes) {
  if (bytes <= memory_.bytes())
    return int64_t(0);
  int64_t before = memory_.bytes();
  memory_ = Allocation();
  Expected<Allocation> grown = Allocation::make(bytes);
  if (!grown)
    return grown.status();
  memory_ = std::move(*grown);
  return bytes - before;
}

} // namespace tenon::runtime::cuda
