// SPDX-License-Identifier: Apache-2.0
#include "Nccl.h"

#include <chrono>
#include <cstring>
#include <thread>

namespace tenon::runtime::cuda {

// Long for a fabric that comes up slowly, short against the ten minutes of a start-up phase.
static constexpr std::chrono::seconds kConnect(120);

Expected<std::unique_ptr<NcclCommunicator>> NcclCommunicator::make(Communicator &group) {
  ncclUniqueId id = {};
  Status mine;
  if (group.rank() == 0)
    mine = statusOf(ncclGetUniqueId(&id), "ncclGetUniqueId");
  // The first byte tells whether there is an id.
  std::string text = mine ? "+" + std::string(id.internal, sizeof(id.internal)) : mine.message();
  Expected<std::vector<std::string>> all = group.gatherStrings(group.rank() == 0 ? text : "");
  if (!all)
    return all.status();
  if ((*all)[0].size() != sizeof(id.internal) + 1 || (*all)[0][0] != '+')
    return Status(Code::Device, (*all)[0]);
  std::memcpy(id.internal, (*all)[0].data() + 1, sizeof(id.internal));

  std::unique_ptr<NcclCommunicator> made(new NcclCommunicator());
  made->size_ = group.size();
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclResult_t begun =
      ncclCommInitRankConfig(&made->communicator_, group.size(), id, group.rank(), &config);
  if (Status status = made->finish(begun, "ncclCommInitRankConfig"); !status)
    return status;
  return made;
}

NcclCommunicator::~NcclCommunicator() {
  if (!communicator_ || failed_)
    return;
  deregisterMemory();
  // Finalising is collective; a peer that has gone must not keep this rank.
  if (finish(ncclCommFinalize(communicator_), "ncclCommFinalize"))
    (void)ncclCommDestroy(communicator_);
}

Status NcclCommunicator::finish(ncclResult_t begun, const char *what) {
  const auto end = std::chrono::steady_clock::now() + kConnect;
  ncclResult_t result = begun;
  while (result == ncclInProgress) {
    if (ncclResult_t error = ncclCommGetAsyncError(communicator_, &result); error != ncclSuccess)
      result = error;
    if (result != ncclInProgress)
      break;
    if (std::chrono::steady_clock::now() > end) {
      failed_ = true;
      return Status(Code::Device, std::string(what) +
                                      ": NCCL: the other ranks did not come within " +
                                      std::to_string(kConnect.count()) + " s");
    }
    std::this_thread::yield();
  }
  failed_ |= result != ncclSuccess;
  return statusOf(result, what, communicator_);
}

Status NcclCommunicator::poll() {
  ncclResult_t result = ncclSuccess;
  if (ncclResult_t error = ncclCommGetAsyncError(communicator_, &result); error != ncclSuccess)
    result = error;
  if (result != ncclSuccess && result != ncclInProgress)
    failed_ = true;
  return statusOf(result, "collective", communicator_);
}

void NcclCommunicator::registerMemory(void *data, size_t bytes) {
  void *handle = nullptr;
  if (ncclCommRegister(communicator_, data, bytes, &handle) == ncclSuccess && handle)
    registrations_.push_back(handle);
}

void NcclCommunicator::deregisterMemory() {
  for (void *handle : registrations_)
    (void)ncclCommDeregister(communicator_, handle);
  registrations_.clear();
}

Status NcclCommunicator::allReduce(const void *x, void *out, int64_t count, ncclDataType_t type,
                                   ncclRedOp_t op, cudaStream_t stream) {
  return finish(ncclAllReduce(x, out, size_t(count), type, op, communicator_, stream),
                "ncclAllReduce");
}

Status NcclCommunicator::allGather(const void *x, void *out, int64_t count, ncclDataType_t type,
                                   cudaStream_t stream) {
  return finish(ncclAllGather(x, out, size_t(count), type, communicator_, stream), "ncclAllGather");
}

Status NcclCommunicator::reduceScatter(const void *x, void *out, int64_t count, ncclDataType_t type,
                                       ncclRedOp_t op, cudaStream_t stream) {
  return finish(ncclReduceScatter(x, out, size_t(count / size_), type, op, communicator_, stream),
                "ncclReduceScatter");
}

Status NcclCommunicator::allToAll(const std::byte *x, std::byte *out, int64_t count,
                                  ncclDataType_t type, int64_t width, cudaStream_t stream) {
  const int64_t block = count / size_;
  ncclResult_t result = ncclGroupStart();
  for (int peer = 0; peer < size_ && result == ncclSuccess; ++peer) {
    result = ncclSend(x + peer * block * width, size_t(block), type, peer, communicator_, stream);
    if (result == ncclSuccess)
      result =
          ncclRecv(out + peer * block * width, size_t(block), type, peer, communicator_, stream);
  }
  ncclResult_t ended = ncclGroupEnd();
  return finish(result == ncclSuccess ? ended : result, "all_to_all");
}

Status NcclCommunicator::broadcast(const void *x, void *out, int64_t count, ncclDataType_t type,
                                   cudaStream_t stream) {
  return finish(ncclBroadcast(x, out, size_t(count), type, 0, communicator_, stream),
                "ncclBroadcast");
}

} // namespace tenon::runtime::cuda
