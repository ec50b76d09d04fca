// SPDX-License-Identifier: Apache-2.0
// Device: memory, streams, events and kernels. The executor knows no device beyond this interface.
// A kernel is prepared once (everything that is expensive or can fail) and enqueued every step
// (nothing that allocates).
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Resolve.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime {

/// A prepared op, bound to its addresses. `enqueue` appends it to a stream; it never allocates and
/// never fails: failures while running surface at synchronize().
class Kernel {
public:
  virtual ~Kernel() = default;
  virtual void enqueue(int stream) = 0;
  /// Bytes that prepare() allocated for this kernel (scratch, packed weights).
  virtual int64_t workspaceBytes() const { return 0; }
};

/// Where an op's buffers and groups live: filled by the executor before prepare().
struct Binding {
  /// Base address per entry buffer (arena offset applied).
  std::vector<std::byte *> buffers;
  std::vector<plan::DataType> types;
  /// Communicator per list of mesh axes that the plan names.
  std::map<plan::Axes, Communicator *> groups;
  /// Where a running collective writes its times; null when not wanted.
  CollectiveTime *time = nullptr;
};

/// A recorded list of enqueued work that can be replayed without the host visiting each op.
class Capture {
public:
  virtual ~Capture() = default;
  virtual void replay() = 0;
};

/// What memory is for: GPUs take the arena from where collectives can reach it.
enum class MemoryUse { Data, Arena };

/// How the observer of a step is called. `Progress`: as far as the device knows, while
/// synchronize() waits, and only where an op begins or ends that others wait for. `Stepwise`: for
/// every op, each finished before the next is enqueued, so that memory may be looked at and changed
/// in between. Devices that run on the calling thread are always stepwise.
enum class Observation { Progress, Stepwise };

/// What the hardware could do at best, for the distance to it; 0 where unknown.
struct DeviceLimits {
  double bytesPerSecond = 0;                         ///< Memory, read and written together.
  double flopsF32 = 0, flopsTf32 = 0, flopsBf16 = 0; ///< Matmul; f16 is as bf16.
};

/// One device of one rank. Streams 0 and 1 exist from the start; events are numbered by the plan.
class Device {
public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual DeviceLimits limits() const { return {}; }

  /// Allocates bytes aligned to 64, zero-filled. Fails with Code::Memory.
  virtual Expected<std::byte *> allocate(int64_t bytes, MemoryUse use = MemoryUse::Data) = 0;
  virtual void release(std::byte *memory) = 0;
  /// Copies between host and device memory, blocking.
  virtual Status copyIn(std::byte *device, const void *host, int64_t bytes) = 0;
  virtual Status copyOut(void *host, const std::byte *device, int64_t bytes) = 0;

  /// Zero-filled host memory whose contents are to become those of [device, device + bytes), which
  /// nobody has written since allocate(). Fill it, then submit() it; the copy may still run while
  /// the next piece is filled, and is done when synchronize() returns.
  virtual Expected<std::byte *> stage(std::byte *device, int64_t bytes) = 0;
  virtual Status submit(std::byte *device, int64_t bytes) = 0;

  /// Collective over `mesh`, once, before prepare(): makes what collectives of these groups need.
  virtual Status connect(Communicator &mesh,
                         const std::map<plan::Axes, std::unique_ptr<Communicator>> &groups) = 0;

  /// Checks that the device supports the op and binds it. Fails with Code::Plan (unsupported: op,
  /// layer, remedy are in the message) or Code::Memory. Records and waits go through here too.
  virtual Expected<std::unique_ptr<Kernel>> prepare(const plan::Op &op, const Binding &binding) = 0;

  /// Collective over `mesh`, once, when every rank has prepared all its ops: decides what all ranks
  /// must do alike. May overwrite the arena.
  virtual Status settle(Communicator &mesh) = 0;

  /// Runs once between a kernel's enqueue and its execution per op: for the watchdog's state, times
  /// and fault injection. `begin` true before, false after. Null for none. A status that is not ok
  /// stops the step and comes out of synchronize().
  virtual void setObserver(std::function<Status(int op, bool begin)> observer,
                           Observation observation) = 0;
  /// Number that the observer sees for the kernels enqueued next.
  virtual void setOpIndex(int op) = 0;

  /// Waits until all streams are empty and returns the first failure since the last call.
  virtual Status synchronize() = 0;

  /// Records what is enqueued from here to endCapture() instead of running it.
  virtual Status beginCapture() = 0;
  virtual Expected<std::unique_ptr<Capture>> endCapture() = 0;

  /// Whether readTimes() is to know all ops, not only collectives. Before prepare().
  virtual void timeAllOps(bool /*on*/) {}
  /// Calls visit(op, begin, end) for the ops of the last step that the device has timed itself, in
  /// seconds of the monotonic clock. Devices that run ops on the calling thread have none: the
  /// observer sees their times.
  virtual void readTimes(const std::function<void(int op, double begin, double end)> & /*visit*/) {}
};

/// How the CPU device orders two streams: `Inline` runs each op when it is enqueued; `Starve0` and
/// `Starve1` queue everything and advance the starved stream only when no other can. The starving
/// schedules find missing events.
enum class StreamPolicy { Inline, Starve0, Starve1 };

struct CpuOptions {
  int threads = 1; ///< Threads per rank.
  StreamPolicy policy = StreamPolicy::Inline;
  /// Highest instruction set to use: "" for the best of this machine, else "sse2"/"avx2"/"avx512".
  /// Part of the handshake.
  std::string isa;
};

/// Makes the CPU device: oneDNN for matmul, our own kernels for the rest.
Expected<std::unique_ptr<Device>> makeCpuDevice(const CpuOptions &options);
/// The instruction set that makeCpuDevice would use: "avx512", "avx2" or "sse2".
std::string cpuIsa(const CpuOptions &options);

} // namespace tenon::runtime
