// SPDX-License-Identifier: Apache-2.0
// Nccl: communicators and calls over NcclSegment. The first collective of a non-blocking
// communicator, and its first send or receive, return ncclInProgress and reach the stream only when
// ncclCommGetAsyncError has been asked twice, as where NCCL connects the ranks in the background.
// Operations of one communicator run in the order of their calls, on whatever streams they are.
#include "Emulation.h"
#include "NcclSegment.h"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <sched.h>
#include <set>
#include <unistd.h>
#include <utility>

using namespace tenon::emulation;

namespace {

enum class Stage { Joining, Ready, Finalizing, Finalized, Failed };

struct Issue {
  cudaStream_t stream;
  std::vector<NcclCall> calls;
};

} // namespace

struct ncclComm {
  int rank = 0, ranks = 1, gpu = 0;
  bool blocking = true;
  std::unique_ptr<Segment> segment;
  Stage stage = Stage::Joining;
  ncclResult_t failure = ncclSuccess;
  std::atomic<bool> aborted = false;
  /// What has been called and not reached its stream, and how often it was asked for.
  std::vector<Issue> deferred;
  int asked = 0;
  bool connected = false, connectedPeers = false, left = false;
  /// Tickets of operations: the next to give out, and the one that may run.
  std::atomic<uint64_t> next = 0, turn = 0;
  Timeline *timeline = nullptr;
  std::set<void *> registered;
};

namespace {

/// Communicators that exist. Steps on streams hold them too.
struct Communicators {
  std::mutex mutex;
  std::vector<std::shared_ptr<ncclComm>> all;
};

Communicators &communicators() {
  static auto *all = new Communicators;
  return *all;
}

std::shared_ptr<ncclComm> shared(ncclComm_t comm) {
  std::lock_guard lock(communicators().mutex);
  for (const auto &known : communicators().all)
    if (known.get() == comm)
      return known;
  return nullptr;
}

thread_local std::string lastMessage;
thread_local int depth = 0;
thread_local ncclResult_t groupError = ncclSuccess;
thread_local std::vector<std::pair<ncclComm_t, Issue>> grouped;
thread_local std::vector<ncclComm_t> joining;

ncclResult_t complain(ncclResult_t result, std::string message) {
  lastMessage = std::move(message);
  if (depth > 0 && groupError == ncclSuccess)
    groupError = result;
  return result;
}

ncclResult_t put(const std::shared_ptr<ncclComm> &comm, const Issue &issue) {
  {
    std::lock_guard lock(bookkeeping());
    CUstream_st *stream = streamOf(issue.stream);
    if (!stream)
      return complain(ncclInvalidArgument, "no such stream");
    comm->timeline = stream->timeline;
  }
  cudaError_t error = enqueue(issue.stream, [comm, calls = issue.calls]() -> Step {
    const uint64_t ticket = comm->next++;
    auto run = std::make_shared<NcclRun>(*comm->segment, comm->rank, calls);
    return [comm, ticket, run] {
      if (comm->aborted)
        return Progress::Done;
      if (comm->turn != ticket)
        return Progress::Blocked;
      if (!run->poll())
        return Progress::Waiting;
      ++comm->turn;
      return Progress::Done;
    };
  });
  return error ? complain(ncclUnhandledCudaError, cudaGetErrorString(error)) : ncclSuccess;
}

/// Two ranks on one GPU of one host.
ncclResult_t compareGpus(ncclComm &comm) {
  for (int a = 0; a < comm.ranks; ++a)
    for (int b = a + 1; b < comm.ranks; ++b) {
      const Member &x = comm.segment->member(a), &y = comm.segment->member(b);
      if (std::memcmp(x.host, y.host, sizeof(x.host)) == 0 &&
          std::memcmp(x.uuid, y.uuid, sizeof(x.uuid)) == 0)
        return complain(ncclInvalidUsage, "Duplicate GPU detected : rank " + std::to_string(a) +
                                              " and rank " + std::to_string(b) +
                                              " both on CUDA device " + std::to_string(comm.gpu));
    }
  return ncclSuccess;
}

/// What a communicator is doing; gets on with it.
ncclResult_t poll(const std::shared_ptr<ncclComm> &comm) {
  switch (comm->stage) {
  case Stage::Joining:
    if (!comm->segment->all())
      return ncclInProgress;
    comm->segment->unlink();
    comm->failure = compareGpus(*comm);
    comm->stage = comm->failure ? Stage::Failed : Stage::Ready;
    return comm->failure;
  case Stage::Ready:
    if (comm->deferred.empty())
      return ncclSuccess;
    if (++comm->asked < 2)
      return ncclInProgress;
    for (const Issue &issue : std::exchange(comm->deferred, {}))
      if (ncclResult_t error = put(comm, issue)) {
        comm->failure = error;
        comm->stage = Stage::Failed;
        return error;
      }
    return ncclSuccess;
  case Stage::Finalizing:
    if (comm->next != comm->turn) {
      if (comm->timeline)
        (void)advance(*comm->timeline);
      return ncclInProgress;
    }
    if (!std::exchange(comm->left, true))
      ++comm->segment->finalized();
    if (comm->segment->finalized() < comm->ranks)
      return ncclInProgress;
    comm->stage = Stage::Finalized;
    return ncclSuccess;
  case Stage::Finalized:
    return ncclSuccess;
  case Stage::Failed:
    return comm->failure;
  }
  return ncclInternalError;
}

ncclResult_t finish(const std::shared_ptr<ncclComm> &comm) {
  ncclResult_t result;
  while ((result = poll(comm)) == ncclInProgress)
    sched_yield();
  return result;
}

/// Puts what was called on the stream, or keeps it until the communicator has connected.
ncclResult_t issue(ncclComm_t handle, Issue made) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  const bool peers = made.calls[0].kind >= NcclKind::Send;
  bool &connected = peers ? comm->connectedPeers : comm->connected;
  if (comm->deferred.empty() && (comm->blocking || connected)) {
    connected = true;
    return put(comm, made);
  }
  connected = true;
  comm->asked = 0;
  comm->deferred.push_back(std::move(made));
  return ncclInProgress;
}

ncclResult_t call(NcclCall made, ncclComm_t handle, cudaStream_t stream) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm)
    return complain(ncclInvalidArgument, "no such communicator");
  if (comm->stage != Stage::Ready || !comm->deferred.empty())
    return complain(ncclInvalidArgument, "Attempt to use communicator before the previous "
                                         "operation returned ncclSuccess");
  if (widthOf(made.type) == 0 || unsigned(made.op) > ncclMin)
    return complain(ncclInvalidArgument, "type or reduction is not known");
  if (made.peer < 0 || made.peer >= comm->ranks)
    return complain(ncclInvalidArgument, "invalid peer or root");
  if (made.count == 0)
    return ncclSuccess;
  const bool sends = made.kind != NcclKind::Receive &&
                     (made.kind != NcclKind::Broadcast || made.peer == comm->rank);
  if ((sends && !made.send) || (made.kind != NcclKind::Send && !made.receive))
    return complain(ncclInvalidArgument, "buffer is null");
  if (depth == 0)
    return issue(handle, {stream, {made}});
  // Sends and receives of a group run at the same time.
  if (made.kind >= NcclKind::Send)
    for (auto &[other, issued] : grouped)
      if (other == handle && issued.stream == stream && issued.calls[0].kind >= NcclKind::Send) {
        issued.calls.push_back(made);
        return ncclSuccess;
      }
  grouped.push_back({handle, {stream, {made}}});
  return ncclSuccess;
}

} // namespace

ncclResult_t ncclGetVersion(int *version) {
  if (!version)
    return ncclInvalidArgument;
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
  switch (result) {
  case ncclSuccess:
    return "no error";
  case ncclUnhandledCudaError:
    return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
  case ncclSystemError:
    return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
  case ncclInternalError:
    return "internal error - please report this issue to the NCCL developers";
  case ncclInvalidArgument:
    return "invalid argument (run with NCCL_DEBUG=WARN for details)";
  case ncclInvalidUsage:
    return "invalid usage (run with NCCL_DEBUG=WARN for details)";
  case ncclRemoteError:
    return "remote process exited or there was a network error";
  case ncclInProgress:
    return "NCCL operation in progress";
  default:
    return "unknown result code";
  }
}

const char *ncclGetLastError(ncclComm_t) { return lastMessage.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  if (!id)
    return complain(ncclInvalidArgument, "id is null");
  std::random_device random;
  std::memset(id, 0, sizeof(*id));
  std::snprintf(id->internal, sizeof(id->internal), "/tenon-nccl-%08x%08x%08x%08x", random(),
                random(), random(), unsigned(getpid()));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *handle, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
  if (!handle)
    return complain(ncclInvalidArgument, "comm is null");
  *handle = nullptr;
  if (driver())
    return complain(ncclUnhandledCudaError, cudaGetErrorString(driver()));
  if (ranks < 1 || rank < 0 || rank >= ranks)
    return complain(ncclInvalidArgument, "invalid rank requested");
  if (config && (config->magic != 0xcafebeef || (config->blocking != NCCL_CONFIG_UNDEF_INT &&
                                                 config->blocking != 0 && config->blocking != 1)))
    return complain(ncclInvalidArgument, "invalid configuration");
  if (std::strncmp(id.internal, "/tenon-nccl-", 12) != 0)
    return complain(ncclInvalidArgument, "not an id");
  auto comm = std::make_shared<ncclComm>();
  comm->rank = rank;
  comm->ranks = ranks;
  comm->gpu = currentGpu();
  comm->blocking = !config || config->blocking != 0;
  comm->segment = Segment::open(std::string(id.internal), ranks);
  if (!comm->segment)
    return complain(ncclSystemError, "no shared memory");
  char host[256] = {};
  (void)gethostname(host, sizeof(host) - 1);
  const char *named = std::getenv("NCCL_HOSTID");
  comm->segment->join(rank, named && *named ? named : host, uuidOf(comm->gpu));
  {
    std::lock_guard lock(communicators().mutex);
    communicators().all.push_back(comm);
  }
  *handle = comm.get();
  if (depth > 0) {
    joining.push_back(comm.get());
    return ncclSuccess;
  }
  if (!comm->blocking)
    return ncclInProgress;
  ncclResult_t result = finish(comm);
  if (result != ncclSuccess) {
    (void)ncclCommAbort(comm.get());
    *handle = nullptr;
  }
  return result;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(comm, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t *error) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm || !error)
    return complain(ncclInvalidArgument, "no such communicator");
  *error = poll(comm);
  if (*error == ncclInProgress)
    sched_yield();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm || comm->stage != Stage::Ready || !comm->deferred.empty())
    return complain(ncclInvalidArgument, "communicator cannot be finalized now");
  comm->stage = Stage::Finalizing;
  return comm->blocking ? finish(comm) : ncclInProgress;
}

static ncclResult_t forget(const std::shared_ptr<ncclComm> &comm) {
  std::lock_guard lock(communicators().mutex);
  std::erase(communicators().all, comm);
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm)
    return complain(ncclInvalidArgument, "no such communicator");
  while (comm->stage == Stage::Ready && comm->next != comm->turn)
    if (!comm->timeline || !advance(*comm->timeline))
      sched_yield();
  return forget(comm);
}

ncclResult_t ncclCommAbort(ncclComm_t handle) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm)
    return complain(ncclInvalidArgument, "no such communicator");
  comm->aborted = true;
  return forget(comm);
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count) {
  return comm && count ? (*count = comm->ranks, ncclSuccess) : ncclInvalidArgument;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device) {
  return comm && device ? (*device = comm->gpu, ncclSuccess) : ncclInvalidArgument;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank) {
  return comm && rank ? (*rank = comm->rank, ncclSuccess) : ncclInvalidArgument;
}

ncclResult_t ncclMemAlloc(void **pointer, size_t bytes) {
  if (!pointer)
    return complain(ncclInvalidArgument, "pointer is null");
  cudaError_t error = cudaMalloc(pointer, bytes);
  return error ? complain(ncclUnhandledCudaError, cudaGetErrorString(error)) : ncclSuccess;
}

ncclResult_t ncclMemFree(void *pointer) {
  cudaError_t error = cudaFree(pointer);
  return error ? complain(ncclUnhandledCudaError, cudaGetErrorString(error)) : ncclSuccess;
}

ncclResult_t ncclCommRegister(const ncclComm_t handle, void *buffer, size_t bytes, void **out) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm || !buffer || !bytes || !out)
    return complain(ncclInvalidArgument, "nothing to register");
  comm->registered.insert(buffer);
  *out = buffer;
  return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t handle, void *registered) {
  std::shared_ptr<ncclComm> comm = shared(handle);
  if (!comm || !comm->registered.erase(registered))
    return complain(ncclInvalidArgument, "not registered");
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (depth == 0)
    return complain(ncclInvalidUsage, "ncclGroupEnd: not in a group call");
  if (--depth > 0)
    return ncclSuccess;
  ncclResult_t result = std::exchange(groupError, ncclSuccess);
  auto calls = std::exchange(grouped, {});
  for (ncclComm_t handle : std::exchange(joining, {}))
    if (auto comm = shared(handle)) {
      ncclResult_t joined = comm->blocking ? finish(comm) : ncclInProgress;
      if (result == ncclSuccess)
        result = joined;
    }
  if (result != ncclSuccess && result != ncclInProgress)
    return result;
  for (auto &[comm, made] : calls) {
    ncclResult_t issued = issue(comm, std::move(made));
    if (issued != ncclSuccess && issued != ncclInProgress)
      return issued;
    if (issued == ncclInProgress)
      result = issued;
  }
  return result;
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::AllReduce, send, receive, count, type, op, 0}, comm, stream);
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::AllGather, send, receive, count, type, ncclSum, 0}, comm, stream);
}

ncclResult_t ncclReduceScatter(const void *send, void *receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::ReduceScatter, send, receive, count, type, op, 0}, comm, stream);
}

ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::Broadcast, send, receive, count, type, ncclSum, root}, comm, stream);
}

ncclResult_t ncclSend(const void *send, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::Send, send, nullptr, count, type, ncclSum, peer}, comm, stream);
}

ncclResult_t ncclRecv(void *receive, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call({NcclKind::Receive, nullptr, receive, count, type, ncclSum, peer}, comm, stream);
}
