// SPDX-License-Identifier: Apache-2.0
// Nccl: one communicator of NCCL with its owner. Communicators are non-blocking: a call that NCCL
// has not finished is waited for by polling, so that a rank whose peer has gone notices instead of
// hanging in the library. Nothing is ever aborted: a rank that fails leaves, and its peers'
// deadline ends them.
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/Status.h"

#include <cuda_runtime.h>
#include <memory>
#include <nccl.h>
#include <string>
#include <vector>

namespace tenon::runtime::cuda {

/// "what: NCCL: ..." with NCCL's last message; ok for success and for work in progress.
Status statusOf(ncclResult_t error, const std::string &what, ncclComm_t communicator = nullptr);

class NcclCommunicator {
public:
  /// Collective over `group`, whose first member makes the id. Fails with Code::Device, also when
  /// the others do not come within two minutes.
  static Expected<std::unique_ptr<NcclCommunicator>> make(Communicator &group);
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator &) = delete;

  int size() const { return size_; }
  /// Registers memory that collectives will use; deregistered by the destructor. A library that
  /// refuses costs speed only.
  void registerMemory(void *data, size_t bytes);
  void deregisterMemory();

  /// Each puts one collective on a stream. Sizes as Communicator's, `count` elements of x.
  Status allReduce(const void *x, void *out, int64_t count, ncclDataType_t type, ncclRedOp_t op,
                   cudaStream_t stream);
  Status allGather(const void *x, void *out, int64_t count, ncclDataType_t type,
                   cudaStream_t stream);
  Status reduceScatter(const void *x, void *out, int64_t count, ncclDataType_t type, ncclRedOp_t op,
                       cudaStream_t stream);
  Status allToAll(const std::byte *x, std::byte *out, int64_t count, ncclDataType_t type,
                  int64_t width, cudaStream_t stream);
  Status broadcast(const void *x, void *out, int64_t count, ncclDataType_t type,
                   cudaStream_t stream);

  /// The failure that NCCL met in the background, if any.
  Status poll();

private:
  NcclCommunicator() = default;
  /// Waits until a call that began has been taken over.
  Status finish(ncclResult_t begun, const char *what);

  ncclComm_t communicator_ = nullptr;
  int size_ = 1;
  bool failed_ = false;
  std::vector<void *> registrations_;
};

} // namespace tenon::runtime::cuda
