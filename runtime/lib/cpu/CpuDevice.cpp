// SPDX-License-Identifier: Apache-2.0
// The CPU device: memory, two streams and their policies, capture and replay. All work runs on the
// calling thread, so a schedule is a plain list and a missing event is an order, not a race.
#include "MatMulPrimitive.h"
#include "Work.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <new>
#include <sys/mman.h>

namespace tenon::runtime {
namespace cpu {

// Large pieces come from mmap: zero pages cost nothing until they are touched, and a size that the
// machine cannot back is refused at once instead of killing the process later.
static constexpr int64_t kHeader = 64;

std::byte *allocateAligned(int64_t bytes) {
  if (bytes < 0 || bytes > (int64_t(1) << 46))
    return nullptr;
  int64_t total = bytes + kHeader;
  void *memory =
      mmap(nullptr, size_t(total), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  // Fewer page faults in the first step; a kernel without huge pages refuses and loses nothing.
  if (total >= (int64_t(4) << 20))
    (void)madvise(memory, size_t(total), MADV_HUGEPAGE);
  std::memcpy(memory, &total, sizeof(total));
  return static_cast<std::byte *>(memory) + kHeader;
}

void releaseAligned(std::byte *memory) {
  if (!memory)
    return;
  std::byte *start = memory - kHeader;
  int64_t total;
  std::memcpy(&total, start, sizeof(total));
  munmap(start, size_t(total));
}

Expected<int64_t> Scratch::reserve(int64_t bytes) {
  if (bytes <= bytes_)
    return int64_t(0);
  std::byte *grown = allocateAligned(bytes);
  if (!grown)
    return Status(Code::Memory, "cannot allocate " + std::to_string(bytes) + " bytes of workspace");
  releaseAligned(data_);
  data_ = grown;
  int64_t growth = bytes - bytes_;
  bytes_ = bytes;
  return growth;
}

Context::Context() = default;
Context::~Context() = default;

Status Context::reserveRows(Work &work, int64_t floatsPerThread) {
  Expected<int64_t> grown = scratch.reserve(paddedFloats(floatsPerThread) * 4 * threads);
  if (!grown)
    return grown.status();
  work.workspaceBytes += *grown;
  return Status();
}

float *Context::threadRows(int thread, int64_t floatsPerThread) const {
  return reinterpret_cast<float *>(scratch.data()) + thread * paddedFloats(floatsPerThread);
}

namespace {

enum class Role : uint8_t { Run, Record, Wait };

/// A prepared op as the queues hold it.
struct Task {
  Role role = Role::Run;
  int event = -1;
  std::unique_ptr<Work> work;
  std::string label; ///< Op and layer, for messages.
};

/// A task in its place in a queue. A wait waits for the number of records of its event that had
/// been enqueued before it.
struct Item {
  Task *task = nullptr;
  int op = 0;
  int64_t target = 0;
};

class CpuDevice;

class CpuKernel : public Kernel {
public:
  CpuKernel(CpuDevice &device, Task task) : device_(device), task_(std::move(task)) {}
  void enqueue(int stream) override;
  int64_t workspaceBytes() const override { return task_.work ? task_.work->workspaceBytes : 0; }

private:
  CpuDevice &device_;
  Task task_;
};

struct Recorded {
  Task *task;
  int stream;
  int op;
};

class CpuCapture : public Capture {
public:
  CpuCapture(CpuDevice &device, std::vector<Recorded> list)
      : device_(device), list_(std::move(list)) {}
  void replay() override;

private:
  CpuDevice &device_;
  std::vector<Recorded> list_;
};

class CpuDevice : public Device {
public:
  explicit CpuDevice(StreamPolicy policy) : policy_(policy) {}

  std::string name() const override { return std::string("cpu-") + cpu::name(context.isa); }

  Expected<std::byte *> allocate(int64_t bytes, MemoryUse) override {
    if (std::byte *memory = allocateAligned(bytes))
      return memory;
    return Status(Code::Memory, "cannot allocate " + std::to_string(bytes) + " bytes");
  }
  void release(std::byte *memory) override { releaseAligned(memory); }
  Status copyIn(std::byte *device, const void *host, int64_t bytes) override {
    if (bytes > 0)
      std::memcpy(device, host, size_t(bytes));
    return Status();
  }
  Status copyOut(void *host, const std::byte *device, int64_t bytes) override {
    if (bytes > 0)
      std::memcpy(host, device, size_t(bytes));
    return Status();
  }

  // Fresh memory is zero, so it is its own stage.
  Expected<std::byte *> stage(std::byte *device, int64_t) override { return device; }
  Status submit(std::byte *, int64_t) override { return Status(); }

  Status connect(Communicator &,
                 const std::map<plan::Axes, std::unique_ptr<Communicator>> &) override {
    return Status();
  }
  Status settle(Communicator &) override { return Status(); }

  Expected<std::unique_ptr<Kernel>> prepare(const plan::Op &op, const Binding &binding) override {
    std::string label = plan::opName(op);
    if (!op.location.empty())
      label += " at " + op.location;
    try {
      Expected<Task> task = std::visit(
          [&](const auto &body) -> Expected<Task> {
            using Body = std::decay_t<decltype(body)>;
            Task made;
            if constexpr (std::is_same_v<Body, plan::Record>) {
              made.role = Role::Record;
              made.event = body.event;
            } else if constexpr (std::is_same_v<Body, plan::Wait>) {
              made.role = Role::Wait;
              made.event = body.event;
            } else {
              PreparedWork work = cpu::prepare(body, binding, context);
              if (!work)
                return work.status();
              made.work = std::move(*work);
            }
            return made;
          },
          op.body);
      if (!task)
        return Status(task.status().code(), label + ": " + task.status().message());
      if (task->role != Role::Run)
        if (Status status = reserveEvent(task->event); !status)
          return Status(status.code(), label + ": " + status.message());
      task->label = std::move(label);
      return std::unique_ptr<Kernel>(new CpuKernel(*this, std::move(*task)));
    } catch (const std::bad_alloc &) {
      return Status(Code::Memory, label + ": out of memory while preparing");
    }
  }

  void setObserver(std::function<Status(int op, bool begin)> observer, Observation) override {
    observer_ = std::move(observer);
  }
  void setOpIndex(int op) override { op_ = op; }

  Status synchronize() override {
    drain();
    std::fill(recorded_.begin(), recorded_.end(), 0);
    std::fill(done_.begin(), done_.end(), 0);
    return std::exchange(failure_, Status());
  }

  Status beginCapture() override {
    capturing_ = true;
    captured_.clear();
    return Status();
  }
  Expected<std::unique_ptr<Capture>> endCapture() override {
    if (!capturing_)
      return Status(Code::Device, "end of a capture that never began");
    capturing_ = false;
    return std::unique_ptr<Capture>(new CpuCapture(*this, std::move(captured_)));
  }

  void enqueue(Task &task, int stream) {
    if (capturing_)
      captured_.push_back({&task, stream, op_});
    else
      submit(task, stream, op_);
  }

  void submit(Task &task, int stream, int op) {
    if (!failure_.ok())
      return;
    if (stream < 0 || stream >= int(queues_.size())) {
      failure_ = Status(Code::Device, task.label + ": no stream " + std::to_string(stream));
      return;
    }
    Item item{&task, op, 0};
    if (task.role == Role::Record)
      ++recorded_[task.event];
    if (task.role == Role::Wait)
      item.target = recorded_[task.event];
    if (policy_ == StreamPolicy::Inline)
      runItem(item);
    else
      queues_[stream].push_back(item);
  }

  Context context;

private:
  Status reserveEvent(int event) {
    constexpr int kMaxEvents = 1 << 20;
    if (event < 0 || event >= kMaxEvents)
      return Status(Code::Plan, "event " + std::to_string(event) + ", expected 0 to " +
                                    std::to_string(kMaxEvents - 1));
    if (size_t(event) >= recorded_.size()) {
      recorded_.resize(event + 1, 0);
      done_.resize(event + 1, 0);
    }
    return Status();
  }

  bool isReady(const Item &item) const {
    return item.task->role != Role::Wait || done_[item.task->event] >= item.target;
  }

  void runItem(const Item &item) {
    Status status = observer_ ? observer_(item.op, true) : Status();
    if (status.ok()) {
      const Task &task = *item.task;
      switch (task.role) {
      case Role::Run:
        status = task.work->run();
        if (!status)
          status = Status(status.code(), task.label + ": " + status.message());
        break;
      case Role::Record:
        ++done_[task.event];
        break;
      case Role::Wait:
        if (item.target == 0)
          status = Status(Code::Device, task.label + ": event " + std::to_string(task.event) +
                                            " was never recorded");
        break;
      }
    }
    if (status.ok() && observer_)
      status = observer_(item.op, false);
    if (!status)
      failure_ = std::move(status);
  }

  // Runs the favoured stream as far as it goes and the starved one only when the other cannot
  // advance. A wait's record was enqueued before the wait, so some stream can always advance.
  void drain() {
    int favoured = policy_ == StreamPolicy::Starve0 ? 1 : 0;
    while (failure_.ok()) {
      std::deque<Item> *next = nullptr;
      for (int stream : {favoured, 1 - favoured})
        if (!queues_[stream].empty() && isReady(queues_[stream].front())) {
          next = &queues_[stream];
          break;
        }
      if (!next)
        break;
      Item item = next->front();
      next->pop_front();
      runItem(item);
    }
    if (failure_.ok())
      for (const std::deque<Item> &queue : queues_)
        if (!queue.empty())
          failure_ = Status(Code::Device, queue.front().task->label + ": the streams wait for each "
                                                                      "other");
    for (std::deque<Item> &queue : queues_)
      queue.clear();
  }

  StreamPolicy policy_;
  std::function<Status(int, bool)> observer_;
  int op_ = 0;
  Status failure_;
  std::array<std::deque<Item>, 2> queues_;
  /// Per event, records enqueued and records run since the last synchronize().
  std::vector<int64_t> recorded_, done_;
  bool capturing_ = false;
  std::vector<Recorded> captured_;
};

void CpuKernel::enqueue(int stream) { device_.enqueue(task_, stream); }

void CpuCapture::replay() {
  for (const Recorded &recorded : list_)
    device_.submit(*recorded.task, recorded.stream, recorded.op);
}

} // namespace
} // namespace cpu

Expected<std::unique_ptr<Device>> makeCpuDevice(const CpuOptions &options) {
  if (options.threads < 1 || options.threads > 4096)
    return Status(Code::Usage,
                  "threads per rank: expected 1 to 4096, found " + std::to_string(options.threads));
  Expected<cpu::Isa> isa = cpu::chooseIsa(options.isa);
  if (!isa)
    return isa.status();
  auto device = std::make_unique<cpu::CpuDevice>(options.policy);
  device->context.isa = *isa;
  device->context.rows = &cpu::rowKernels(*isa);
  device->context.threads = options.threads;
  device->context.primitives = std::make_unique<cpu::MatMulPrimitives>(*isa, options.threads);
  return std::unique_ptr<Device>(std::move(device));
}

std::string cpuIsa(const CpuOptions &options) {
  Expected<cpu::Isa> isa = cpu::chooseIsa(options.isa);
  return isa ? cpu::name(*isa) : options.isa;
}

} // namespace tenon::runtime
