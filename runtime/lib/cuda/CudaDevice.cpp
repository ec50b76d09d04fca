// SPDX-License-Identifier: Apache-2.0
#include "CudaDevice.h"

#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/plan/Access.h"

#include <CudaRanges.h>
#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace tenon::runtime::cuda {
namespace {

// The first with bf16 matrix units and asynchronous copies.
constexpr int kOldestMajor = 8;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class CudaCapture : public Capture {
public:
  CudaCapture(CudaDevice &device, cudaGraphExec_t graph, int firstOp, Progress::Marks marks,
              std::vector<TimedOp> timed)
      : device_(device), graph_(graph), firstOp_(firstOp), marks_(std::move(marks)),
        timed_(std::move(timed)) {}
  ~CudaCapture() override { (void)cudaGraphExecDestroy(graph_); }
  void replay() override { device_.replay(graph_, firstOp_, marks_, timed_); }

private:
  CudaDevice &device_;
  cudaGraphExec_t graph_;
  int firstOp_;
  Progress::Marks marks_;
  std::vector<TimedOp> timed_;
};

} // namespace

CudaKernel::~CudaKernel() {
  for (cudaEvent_t timer : {begin, end})
    if (timer)
      (void)cudaEventDestroy(timer);
}

void CudaKernel::enqueue(int stream) { device_.enqueue(*this, stream); }

CudaDevice::~CudaDevice() {
  for (cudaEvent_t event : events_)
    if (event)
      (void)cudaEventDestroy(event);
  for (cudaEvent_t event : {forked_, joined_, base_})
    if (event)
      (void)cudaEventDestroy(event);
  for (cudaStream_t stream : streams_)
    if (stream)
      (void)cudaStreamDestroy(stream);
}

Status CudaDevice::open() {
  if (Status status = statusOf(cudaSetDevice(options_.gpu), "cudaSetDevice"); !status)
    return status;
  cudaDeviceProp properties = {};
  if (Status status = statusOf(cudaGetDeviceProperties(&properties, options_.gpu), "GPU"); !status)
    return status;
  context.gpu = options_.gpu;
  context.gpuName = properties.name;
  context.major = properties.major;
  context.minor = properties.minor;
  context.processors = properties.multiProcessorCount;
  context.sharedBytes = int64_t(properties.sharedMemPerBlockOptin);
  context.tf32 = options_.tf32;
  context.reduceF32 = options_.reduceF32;
  context.cacheFolder = options_.cacheFolder;
  if (context.major < kOldestMajor)
    return Status(Code::Plan, "--device=cuda: expected a GPU of compute capability " +
                                  std::to_string(kOldestMajor) + ".0 or later, found " +
                                  context.gpuName + " with " + std::to_string(context.major) + "." +
                                  std::to_string(context.minor));
  readLimits();
  // Collectives first: what waits for them is more than what they wait for.
  int least = 0, greatest = 0;
  Status status = statusOf(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream");
  for (size_t i = 0; i < streams_.size() && status; ++i)
    status = statusOf(cudaStreamCreateWithPriority(&streams_[i], cudaStreamNonBlocking,
                                                   i == 0 ? least : greatest),
                      "stream");
  for (cudaEvent_t *event : {&forked_, &joined_})
    if (status)
      status = statusOf(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "event");
  if (status)
    status = statusOf(cudaEventCreateWithFlags(&base_, cudaEventDefault), "event");
  if (status)
    status = progress_.open();
  algorithms_ = std::make_unique<MatMulAlgorithms>(context);
  return status;
}

// From clocks and units: what the data sheet says, at the highest clock.
void CudaDevice::readLimits() {
  auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    return cudaDeviceGetAttribute(&value, which, context.gpu) == cudaSuccess ? double(value) : 0.0;
  };
  const double clock = attribute(cudaDevAttrClockRate) * 1e3;
  // Two transfers per clock.
  limits_.bytesPerSecond = attribute(cudaDevAttrMemoryClockRate) * 1e3 * 2 *
                           attribute(cudaDevAttrGlobalMemoryBusWidth) / 8;
  // Operations of one processor per clock: dense bf16 on matrix units, f32 on the others.
  const double matrix = context.major >= 10                        ? 8192
                        : context.major == 9                       ? 4096
                        : context.major == 8 && context.minor == 0 ? 2048
                                                                   : 1024;
  const double plain = context.major == 8 && context.minor == 0 ? 128 : 256;
  limits_.flopsBf16 = context.processors * clock * matrix;
  limits_.flopsTf32 = limits_.flopsBf16 / 2;
  limits_.flopsF32 = context.processors * clock * plain;
}

//===--------------------------------------------------------------------------------------------===//
// Memory.

Expected<std::byte *> CudaDevice::allocate(int64_t bytes, MemoryUse use) {
  std::byte *memory = nullptr;
  if (use == MemoryUse::Arena) {
    Expected<std::byte *> arena = connections_.allocateArena(bytes);
    if (!arena)
      return arena.status();
    memory = *arena;
  }
  if (!memory && bytes < 0)
    return Status(Code::Memory, "cannot allocate " + std::to_string(bytes) + " bytes");
  if (!memory) {
    void *data = nullptr;
    cudaError_t error = cudaMallocAsync(&data, size_t(bytes > 0 ? bytes : 256), streams_[0]);
    if (error != cudaSuccess) {
      (void)cudaGetLastError();
      size_t free = 0, total = 0;
      (void)cudaMemGetInfo(&free, &total);
      return Status(Code::Memory, "cannot allocate " + std::to_string(bytes) +
                                      " bytes of GPU memory, " + std::to_string(free) + " of " +
                                      std::to_string(total) + " are free");
    }
    memory = static_cast<std::byte *>(data);
  }
  if (Status status = statusOf(cudaMemsetAsync(memory, 0, size_t(bytes), streams_[0]), "memory");
      !status)
    return status;
  // Others than stream 0 may use it from now on.
  if (Status status = waitFor(streams_[0]); !status)
    return status;
  return memory;
}

void CudaDevice::release(std::byte *memory) {
  if (memory && !connections_.releaseArena(memory))
    (void)cudaFreeAsync(memory, streams_[0]);
}

Status CudaDevice::copyIn(std::byte *device, const void *host, int64_t bytes) {
  if (bytes <= 0)
    return Status();
  // Between steps nothing runs that could read the memory before the copy.
  Status status;
  if (!running_ && staging_.sendSmall(device, host, bytes, streams_[0], status))
    return status;
  status = statusOf(
      cudaMemcpyAsync(device, host, size_t(bytes), cudaMemcpyHostToDevice, streams_[0]), "copy");
  return status ? waitFor(streams_[0]) : status;
}

Status CudaDevice::copyOut(void *host, const std::byte *device, int64_t bytes) {
  if (bytes <= 0)
    return Status();
  Status status = statusOf(
      cudaMemcpyAsync(host, device, size_t(bytes), cudaMemcpyDeviceToHost, streams_[0]), "copy");
  return status ? waitFor(streams_[0]) : status;
}

Expected<std::byte *> CudaDevice::stage(std::byte *, int64_t bytes) { return staging_.take(bytes); }

Status CudaDevice::submit(std::byte *device, int64_t bytes) {
  return staging_.send(device, bytes, streams_[0]);
}

//===--------------------------------------------------------------------------------------------===//
// Preparing.

Status CudaDevice::connect(Communicator &mesh,
                           const std::map<plan::Axes, std::unique_ptr<Communicator>> &groups) {
  mesh_ = &mesh;
  return connections_.connect(options_, mesh, groups);
}

Status CudaDevice::makeEvent(int event) {
  constexpr int kMostEvents = 1 << 20;
  if (event < 0 || event >= kMostEvents)
    return Status(Code::Plan, "event " + std::to_string(event) + ", expected 0 to " +
                                  std::to_string(kMostEvents - 1));
  if (size_t(event) >= events_.size())
    events_.resize(size_t(event) + 1, nullptr);
  recorded_.resize(events_.size(), false);
  if (events_[size_t(event)])
    return Status();
  return statusOf(cudaEventCreateWithFlags(&events_[size_t(event)], cudaEventDisableTiming),
                  "event");
}

Expected<std::unique_ptr<Kernel>> CudaDevice::prepare(const plan::Op &op, const Binding &binding) {
  std::string label = plan::opName(op);
  if (!op.location.empty())
    label += " at " + op.location;
  auto failed = [&](const Status &status) {
    return Status(status.code(), label + ": " + status.message());
  };
  using Role = CudaKernel::Role;
  std::unique_ptr<CudaKernel> kernel;
  Status status = std::visit(
      [&](const auto &body) -> Status {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, plan::Record> || std::is_same_v<Body, plan::Wait>) {
          kernel = std::make_unique<CudaKernel>(
              *this, std::is_same_v<Body, plan::Record> ? Role::Record : Role::Wait);
          kernel->event = body.event;
          return makeEvent(body.event);
        } else {
          constexpr bool collective = std::is_same_v<Body, plan::Collective>;
          PreparedWork work = [&] {
            if constexpr (collective)
              return connections_.prepare(body, binding, context,
                                          [this](cudaStream_t stream) { return waitFor(stream); });
            else if constexpr (std::is_same_v<Body, plan::MatMul>)
              return cuda::prepare(body, binding, context, *algorithms_);
            else
              return cuda::prepare(body, binding, context);
          }();
          if (!work)
            return work.status();
          kernel = std::make_unique<CudaKernel>(*this, collective ? Role::Collective : Role::Run);
          kernel->work = std::move(*work);
          return Status();
        }
      },
      op.body);
  if (!status)
    return failed(status);
  kernel->label = std::move(label);
  const bool runs = kernel->role() == Role::Run || kernel->role() == Role::Collective;
  // What goes through the host has been timed there.
  const bool timed =
      kernel->role() == Role::Collective ? !connections_.blocks() : timesAll_ && runs;
  for (cudaEvent_t *event : {&kernel->begin, &kernel->end})
    if (timed && status)
      status = statusOf(cudaEventCreateWithFlags(event, cudaEventDefault), "event");
  if (!status)
    return failed(status);
  return std::unique_ptr<Kernel>(std::move(kernel));
}

Status CudaDevice::settle(Communicator &mesh) {
  if (Status status = algorithms_->settle(mesh, streams_[0]); !status)
    return status;
  return waitFor(streams_[0]);
}

//===--------------------------------------------------------------------------------------------===//
// Running.

void CudaDevice::setObserver(std::function<Status(int op, bool begin)> observer,
                             Observation observation) {
  observer_ = std::move(observer);
  observation_ = observation;
}

Status CudaDevice::observe(int op, bool begin) {
  return observer_ ? observer_(op, begin) : Status();
}

void CudaDevice::fork(int op) {
  if (running_)
    return;
  running_ = true;
  firstOp_ = op;
  timed_.clear();
  progress_.reset();
  std::fill(recorded_.begin(), recorded_.end(), false);
  if (!capturing_) {
    begun_ = seconds();
    context.note(cudaEventRecord(base_, streams_[0]), "begin of a step");
    // Marks tell of collectives; that the step has begun is known here.
    if (observation_ == Observation::Progress)
      failure_ = observe(op, true);
  }
  context.note(cudaEventRecord(forked_, streams_[0]), "begin of a step");
  context.note(cudaStreamWaitEvent(streams_[1], forked_, 0), "begin of a step");
}

void CudaDevice::join() {
  for (cudaStream_t other : {streams_[1], progress_.stream()}) {
    // The marks' stream takes part in a capture only when there are marks.
    if (other == progress_.stream() && progress_.marks().empty())
      continue;
    context.note(cudaEventRecord(joined_, other), "end of a step");
    context.note(cudaStreamWaitEvent(streams_[0], joined_, 0), "end of a step");
  }
}

void CudaDevice::enqueue(CudaKernel &kernel, int stream) {
  if (stream < 0 || stream >= int(streams_.size())) {
    failure_ = Status(Code::Device, kernel.label + ": no stream " + std::to_string(stream));
    return;
  }
  const int op = op_;
  if (failure_.ok() && context.failure.ok())
    fork(op);
  if (!failure_.ok() || !context.failure.ok())
    return;
  using Role = CudaKernel::Role;
  const bool blocks = kernel.role() == Role::Collective && connections_.blocks();
  const bool watched = !capturing_ && (observation_ == Observation::Stepwise || blocks);
  const bool marked = kernel.role() == Role::Collective && !watched;
  if (watched)
    failure_ = observe(op, true);
  if (!failure_.ok())
    return;
  cudaStream_t on = streams_[size_t(stream)];
  const unsigned external = capturing_ ? cudaEventRecordExternal : cudaEventRecordDefault;
  Range range(kernel.label.c_str());
  if (marked)
    context.note(progress_.mark(op, true, on), "progress");
  if (kernel.begin)
    context.note(cudaEventRecordWithFlags(kernel.begin, on, external), "time");
  switch (kernel.role()) {
  case Role::Run:
  case Role::Collective:
    kernel.work->enqueue(on);
    break;
  case Role::Record:
    context.note(cudaEventRecord(events_[size_t(kernel.event)], on), "record");
    recorded_[size_t(kernel.event)] = true;
    break;
  case Role::Wait:
    // CUDA would not wait at all.
    if (!recorded_[size_t(kernel.event)])
      context.failure =
          Status(Code::Device, "event " + std::to_string(kernel.event) + " was never recorded");
    else
      context.note(cudaStreamWaitEvent(on, events_[size_t(kernel.event)], 0), "wait");
    break;
  }
  if (kernel.end) {
    context.note(cudaEventRecordWithFlags(kernel.end, on, external), "time");
    timed_.push_back({op, kernel.begin, kernel.end});
  }
  if (marked)
    context.note(progress_.mark(op, false, on), "progress");
  if (!context.failure.ok()) {
    context.failure =
        Status(context.failure.code(), kernel.label + ": " + context.failure.message());
    return;
  }
  if (watched && !blocks)
    failure_ = waitFor(on);
  if (watched && failure_.ok())
    failure_ = observe(op, false);
}

Status CudaDevice::waitFor(cudaStream_t stream) {
  constexpr int kPollEvery = 256;
  for (int64_t tries = 1;; ++tries) {
    cudaError_t state = cudaStreamQuery(stream);
    if (state == cudaSuccess)
      return Status();
    if (state != cudaErrorNotReady)
      return statusOf(state, "GPU");
    if (tries % 16 == 0 && observation_ == Observation::Progress && running_)
      if (Status status = progress_.advance(observer_); !status)
        return status;
    if (tries % kPollEvery == 0) {
      if (Status status = connections_.poll(); !status)
        return status;
      if (Status status = mesh_ ? mesh_->cancelled() : Status(); !status)
        return status;
    }
    std::this_thread::yield();
  }
}

Status CudaDevice::firstFailure() {
  Status first = std::exchange(context.failure, Status());
  Status observed = std::exchange(failure_, Status());
  return observed ? first : observed;
}

Status CudaDevice::synchronize() {
  Status status = firstFailure();
  for (cudaStream_t stream : {streams_[1], streams_[0], progress_.stream()})
    if (status)
      status = waitFor(stream);
  if (status && running_ && observation_ == Observation::Progress)
    status = progress_.advance(observer_);
  running_ = false;
  staging_.reuse();
  return status;
}

//===--------------------------------------------------------------------------------------------===//
// Captured steps.

Status CudaDevice::beginCapture() {
  if (observation_ == Observation::Stepwise)
    return Status(Code::Device, "ops are watched one by one");
  if (Status status = synchronize(); !status)
    return status;
  // Thread-local: ranks that are threads, and NCCL's own threads, go on as they like.
  if (Status status = statusOf(
          cudaStreamBeginCapture(streams_[0], cudaStreamCaptureModeThreadLocal), "capture");
      !status)
    return status;
  capturing_ = true;
  return Status();
}

Expected<std::unique_ptr<Capture>> CudaDevice::endCapture() {
  if (!capturing_)
    return Status(Code::Device, "end of a capture that never began");
  if (running_)
    join();
  capturing_ = false;
  running_ = false;
  cudaGraph_t graph = nullptr;
  Status ended = statusOf(cudaStreamEndCapture(streams_[0], &graph), "capture");
  Status status = firstFailure();
  if (status)
    status = ended;
  cudaGraphExec_t executable = nullptr;
  if (status)
    status = statusOf(cudaGraphInstantiate(&executable, graph, 0), "instantiating the graph");
  if (graph)
    (void)cudaGraphDestroy(graph);
  (void)cudaGetLastError();
  if (!status)
    return status;
  auto capture =
      std::make_unique<CudaCapture>(*this, executable, firstOp_, progress_.marks(), timed_);
  // The first replay then costs what the others do.
  status = statusOf(cudaGraphUpload(executable, streams_[0]), "uploading the graph");
  if (status)
    status = waitFor(streams_[0]);
  if (!status)
    return status;
  return std::unique_ptr<Capture>(std::move(capture));
}

void CudaDevice::replay(cudaGraphExec_t graph, int firstOp, const Progress::Marks &marks,
                        const std::vector<TimedOp> &timed) {
  running_ = true;
  timed_ = timed;
  progress_.reset(marks);
  failure_ = observe(firstOp, true);
  if (!failure_.ok())
    return;
  begun_ = seconds();
  context.note(cudaEventRecord(base_, streams_[0]), "begin of a step");
  context.note(cudaGraphLaunch(graph, streams_[0]), "launching the graph");
}

void CudaDevice::readTimes(const std::function<void(int op, double begin, double end)> &visit) {
  for (const TimedOp &op : timed_) {
    float begin = 0, end = 0;
    if (cudaEventElapsedTime(&begin, base_, op.begin) == cudaSuccess &&
        cudaEventElapsedTime(&end, base_, op.end) == cudaSuccess)
      visit(op.op, begun_ + double(begin) * 1e-3, begun_ + double(end) * 1e-3);
  }
  (void)cudaGetLastError();
}

} // namespace tenon::runtime::cuda
