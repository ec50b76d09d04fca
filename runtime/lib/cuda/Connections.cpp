// SPDX-License-Identifier: Apache-2.0
#include "Connections.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace tenon::runtime::cuda {
namespace {

/// Adds 1, 2, .. p over the members of a group and looks at every element.
Status probe(NcclCommunicator &nccl, const Communicator &group) {
  constexpr int64_t kCount = 4096;
  Expected<Allocation> memory = Allocation::make(kCount * 4);
  if (!memory)
    return memory.status();
  std::vector<float> values(kCount, float(group.rank() + 1));
  cudaStream_t stream = nullptr;
  if (Status status =
          statusOf(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "probe of NCCL");
      !status)
    return status;
  auto run = [&]() -> Status {
    if (Status status = statusOf(cudaMemcpyAsync(memory->data(), values.data(), kCount * 4,
                                                 cudaMemcpyHostToDevice, stream),
                                 "probe of NCCL");
        !status)
      return status;
    if (Status status =
            nccl.allReduce(memory->data(), memory->data(), kCount, ncclFloat32, ncclSum, stream);
        !status)
      return status;
    if (Status status = statusOf(cudaMemcpyAsync(values.data(), memory->data(), kCount * 4,
                                                 cudaMemcpyDeviceToHost, stream),
                                 "probe of NCCL");
        !status)
      return status;
    cudaError_t error = cudaErrorNotReady;
    while ((error = cudaStreamQuery(stream)) == cudaErrorNotReady)
      if (Status status = nccl.poll(); !status)
        return status;
    return statusOf(error, "probe of NCCL");
  };
  Status status = run();
  (void)cudaStreamDestroy(stream);
  if (!status)
    return status;
  const int p = group.size();
  for (float value : values)
    if (value != float(p * (p + 1) / 2))
      return Status(Code::Device, "probe of NCCL: expected " + std::to_string(p * (p + 1) / 2) +
                                      ", found " + std::to_string(value));
  return Status();
}

} // namespace

void setOversubscribedEnvironment(int rank) {
  // Ranks of one host may not share a GPU; ranks of different hosts are not compared.
  setenv("NCCL_HOSTID", ("tenon-" + std::to_string(rank)).c_str(), 1);
  // What is left between "hosts" of one machine; the rest would look for hardware.
  for (auto [name, value] : {std::pair("NCCL_SOCKET_IFNAME", "lo"),
                             {"NCCL_IB_DISABLE", "1"},
                             {"NCCL_NVLS_ENABLE", "0"},
                             {"NCCL_CUMEM_ENABLE", "0"},
                             {"NCCL_P2P_DISABLE", "1"},
                             {"NCCL_SHM_DISABLE", "1"},
                             // Kernels of both ranks must fit on the GPU at the same time.
                             {"NCCL_MAX_NCHANNELS", "4"},
                             {"NCCL_PROTO", "Simple"}})
    setenv(name, value, 1);
}

const char *Connections::name() const {
  return way_ == Way::Nccl ? "nccl" : way_ == Way::Host ? "host" : "none";
}

Status Connections::connectNccl(const Groups &groups) {
  for (const auto &[axes, group] : groups) {
    // One rank alone needs no library to keep its data.
    if (group->size() == 1)
      continue;
    Expected<std::unique_ptr<NcclCommunicator>> made = NcclCommunicator::make(*group);
    if (!made)
      return made.status();
    if (Status status = probe(**made, *group); !status)
      return status;
    nccl_[axes] = std::move(*made);
  }
  return Status();
}

Status Connections::connect(const CudaOptions &options, Communicator &mesh, const Groups &groups) {
  if (options.lone)
    return Status();
  if (options.oversubscribed)
    setOversubscribedEnvironment(mesh.rank());
  registers_ = !options.oversubscribed;
  way_ = options.collectives == GpuCollectives::Host ? Way::Host : Way::Nccl;
  if (way_ == Way::Host)
    return Status();
  Status mine = connectNccl(groups);
  Expected<std::vector<std::string>> all = mesh.gatherStrings(mine ? "" : "x" + mine.message());
  if (!all)
    return all.status();
  for (size_t rank = 0; rank < all->size(); ++rank) {
    if ((*all)[rank].empty())
      continue;
    if (options.collectives == GpuCollectives::Nccl)
      return int(rank) == mesh.rank() ? mine : Status(Code::Device, peerFailed);
    way_ = Way::Host;
    nccl_.clear();
    if (mesh.rank() == 0)
      std::fprintf(
          stderr,
          "tp-run: NCCL cannot connect the ranks; collectives go through host memory, which "
          "is slow: rank %zu: %s\n",
          rank, (*all)[rank].substr(1).c_str());
    return Status();
  }
  return Status();
}

Expected<std::byte *> Connections::allocateArena(int64_t bytes) {
  void *memory = nullptr;
  if (way_ != Way::Nccl || !registers_ || nccl_.empty() || arena_ ||
      ncclMemAlloc(&memory, size_t(bytes)) != ncclSuccess)
    return static_cast<std::byte *>(nullptr);
  arena_ = static_cast<std::byte *>(memory);
  for (auto &[axes, nccl] : nccl_)
    nccl->registerMemory(memory, size_t(bytes));
  return arena_;
}

bool Connections::releaseArena(std::byte *memory) {
  if (!memory || memory != arena_)
    return false;
  for (auto &[axes, nccl] : nccl_)
    nccl->deregisterMemory();
  (void)ncclMemFree(memory);
  arena_ = nullptr;
  return true;
}

Status Connections::poll() {
  for (auto &[axes, nccl] : nccl_)
    if (Status status = nccl->poll(); !status)
      return status;
  return Status();
}

//===--------------------------------------------------------------------------------------------===//
// The three ways to run a collective.

namespace {

using plan::CollectiveKind;
using plan::DataType;

/// A bound collective; contiguous operands.
struct Bound {
  CollectiveKind kind;
  plan::ReduceKind reduce;
  Region x, out;
  int64_t count; ///< Elements of x.
  int size;      ///< Of the group.

  int64_t bytes() const { return count * x.width(); }
  bool sums() const {
    return kind == CollectiveKind::AllReduce || kind == CollectiveKind::ReduceScatter;
  }
};

/// One rank without peers: everyone's data is its own.
class AloneWork : public Work {
public:
  AloneWork(Bound bound, Context &context) : bound_(std::move(bound)), context_(context) {}
  void enqueue(cudaStream_t stream) override {
    const int64_t out = bound_.out.elements() * bound_.out.width();
    int64_t piece = std::min(bound_.bytes(), out);
    for (int64_t at = 0; at < out && piece > 0; at += piece)
      if (bound_.out.data + at != bound_.x.data)
        context_.note(cudaMemcpyAsync(bound_.out.data + at, bound_.x.data,
                                      size_t(std::min(piece, out - at)), cudaMemcpyDeviceToDevice,
                                      stream),
                      "collective of one rank");
  }

private:
  Bound bound_;
  Context &context_;
};

ncclDataType_t ncclType(DataType type) {
  switch (type) {
  case DataType::F32:
    return ncclFloat32;
  case DataType::BF16:
    return ncclBfloat16;
  case DataType::F16:
    return ncclFloat16;
  case DataType::I32:
    return ncclInt32;
  case DataType::I64:
    return ncclInt64;
  case DataType::I1:
    return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t ncclOp(plan::ReduceKind kind) {
  return kind == plan::ReduceKind::Sum   ? ncclSum
         : kind == plan::ReduceKind::Max ? ncclMax
                                         : ncclMin;
}

class NcclWork : public Work {
public:
  NcclWork(Bound bound, NcclCommunicator &nccl, Context &context)
      : bound_(std::move(bound)), nccl_(nccl), context_(context) {}

  /// Lets a sum travel as f32 through `scratch`.
  Status widen(Scratch &scratch) {
    const int64_t out = bound_.out.elements();
    outAt_ = (bound_.count * 4 + 255) / 256 * 256;
    Expected<int64_t> grown = scratch.reserve(outAt_ + out * 4);
    if (!grown)
      return grown.status();
    workspaceBytes += *grown;
    scratch_ = &scratch;
    return Status();
  }

  void enqueue(cudaStream_t stream) override {
    if (bound_.count == 0)
      return;
    if (!scratch_) {
      start(bound_.x.data, bound_.out.data, ncclType(bound_.x.type), bound_.x.width(), stream);
      return;
    }
    std::byte *x = scratch_->data(), *out = x + outAt_;
    // The scratch grows while ops are prepared and lies still from then on.
    if (!widen_) {
      widen_ = makeCopy(bound_.x, dense(bound_.x, x), context_);
      narrow_ = makeCopy(dense(bound_.out, out), bound_.out, context_);
    }
    widen_->enqueue(stream);
    start(x, out, ncclFloat32, 4, stream);
    narrow_->enqueue(stream);
  }

private:
  static Region dense(const Region &like, std::byte *data) {
    Region region;
    region.data = data;
    region.type = DataType::F32;
    region.sizes = {like.elements()};
    region.strides = {1};
    return region;
  }

  void start(const std::byte *x, std::byte *out, ncclDataType_t type, int64_t width,
             cudaStream_t stream) {
    Status status;
    switch (bound_.kind) {
    case CollectiveKind::AllReduce:
      status = nccl_.allReduce(x, out, bound_.count, type, ncclOp(bound_.reduce), stream);
      break;
    case CollectiveKind::AllGather:
      status = nccl_.allGather(x, out, bound_.count, type, stream);
      break;
    case CollectiveKind::ReduceScatter:
      status = nccl_.reduceScatter(x, out, bound_.count, type, ncclOp(bound_.reduce), stream);
      break;
    case CollectiveKind::AllToAll:
      status = nccl_.allToAll(x, out, bound_.count, type, width, stream);
      break;
    case CollectiveKind::Broadcast:
      status = nccl_.broadcast(x, out, bound_.count, type, stream);
      break;
    }
    if (!status && context_.failure.ok())
      context_.failure = status;
  }

  Bound bound_;
  NcclCommunicator &nccl_;
  Context &context_;
  Scratch *scratch_ = nullptr;
  int64_t outAt_ = 0;
  std::unique_ptr<Work> widen_, narrow_;
};

/// Through pinned host memory and the group's own communicator. Blocks.
class HostWork : public Work {
public:
  HostWork(Bound bound, Communicator &group, CollectiveTime *time, WaitForStream wait,
           Context &context)
      : bound_(std::move(bound)), group_(group), time_(time), wait_(std::move(wait)),
        context_(context) {}
  ~HostWork() override {
    if (host_)
      (void)cudaFreeHost(host_);
  }

  Status allocate() {
    outAt_ = (bound_.bytes() + 63) / 64 * 64;
    int64_t bytes = outAt_ + bound_.out.elements() * bound_.out.width();
    void *memory = nullptr;
    cudaError_t error =
        cudaHostAlloc(&memory, size_t(std::max<int64_t>(bytes, 64)), cudaHostAllocDefault);
    host_ = static_cast<std::byte *>(memory);
    return statusOf(error, "pinned memory for a collective");
  }

  void enqueue(cudaStream_t stream) override {
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    context_.note(cudaStreamIsCapturing(stream, &capturing), "collective through host memory");
    if (capturing != cudaStreamCaptureStatusNone && context_.failure.ok())
      context_.failure = Status(Code::Device, "collectives through host memory cannot be captured");
    if (!context_.failure.ok())
      return;
    std::byte *out = host_ + outAt_;
    context_.note(cudaMemcpyAsync(host_, bound_.x.data, size_t(bound_.bytes()),
                                  cudaMemcpyDeviceToHost, stream),
                  "collective through host memory");
    Status status = wait_(stream);
    if (status)
      status = exchange(out);
    if (status)
      context_.note(cudaMemcpyAsync(bound_.out.data, out,
                                    size_t(bound_.out.elements() * bound_.out.width()),
                                    cudaMemcpyHostToDevice, stream),
                    "collective through host memory");
    // The next step writes the pinned memory again.
    if (status)
      status = wait_(stream);
    if (!status && context_.failure.ok())
      context_.failure = status;
  }

private:
  Status exchange(std::byte *out) {
    const DataType type = bound_.x.type;
    switch (bound_.kind) {
    case CollectiveKind::AllReduce:
      return group_.allReduce(host_, out, bound_.count, type, bound_.reduce, time_);
    case CollectiveKind::AllGather:
      return group_.allGather(host_, out, bound_.count, type, time_);
    case CollectiveKind::ReduceScatter:
      return group_.reduceScatter(host_, out, bound_.count, type, bound_.reduce, time_);
    case CollectiveKind::AllToAll:
      return group_.allToAll(host_, out, bound_.count, type, time_);
    case CollectiveKind::Broadcast:
      return group_.broadcast(host_, out, bound_.count, type, time_);
    }
    return Status(Code::Plan, "unknown collective");
  }

  Bound bound_;
  Communicator &group_;
  CollectiveTime *time_;
  WaitForStream wait_;
  Context &context_;
  std::byte *host_ = nullptr;
  int64_t outAt_ = 0;
};

} // namespace

PreparedWork Connections::prepare(const plan::Collective &op, const Binding &binding,
                                  Context &context, WaitForStream wait) {
  Binder bind(binding);
  Bound bound{op.kind, op.reduce, bind(op.x), bind(op.out), 0, 1};
  auto group = binding.groups.find(op.axes);
  bind.require(group != binding.groups.end() && group->second, "no communicator for its axes");
  bind.require(bound.x.isContiguous() && bound.out.isContiguous(), "expected contiguous operands");
  if (!bind.status().ok())
    return bind.status();
  bound.count = bound.x.elements();
  bound.size = group->second->size();
  if (way_ == Way::Alone || bound.size == 1)
    return std::unique_ptr<Work>(new AloneWork(std::move(bound), context));
  if (way_ == Way::Host) {
    auto work = std::make_unique<HostWork>(std::move(bound), *group->second, binding.time,
                                           std::move(wait), context);
    if (Status status = work->allocate(); !status)
      return status;
    return std::unique_ptr<Work>(std::move(work));
  }
  auto nccl = nccl_.find(op.axes);
  if (nccl == nccl_.end())
    return Status(Code::Device, "no NCCL communicator for its axes");
  const bool widens = context.reduceF32 && bound.sums() && bound.reduce == plan::ReduceKind::Sum &&
                      (bound.x.type == DataType::BF16 || bound.x.type == DataType::F16);
  auto work = std::make_unique<NcclWork>(std::move(bound), *nccl->second, context);
  if (widens)
    if (Status status = work->widen(scratch_); !status)
      return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cuda
