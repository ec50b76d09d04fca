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

/// One device of one rank. Streams 0 and 1 exist from the start; events are numbered by the plan.
class Device {
public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;

  /// Allocates bytes aligned to 64, zero-filled. Fails with Code::Memory.
  virtual Expected<std::byte *> allocate(int64_t bytes) = 0;
  virtual void release(std::byte *memory) = 0;
  /// Copies between host and device memory, blocking.
  virtual Status copyIn(std::byte *device, const void *host, int64_t bytes) = 0;
  virtual Status copyOut(void *host, const std::byte *device, int64_t bytes) = 0;

  /// Checks that the device supports the op and binds it. Fails with Code::Plan (unsupported: op,
  /// layer, remedy are in the message) or Code::Memory. Records and waits go through here too.
  virtual Expected<std::unique_ptr<Kernel>> prepare(const plan::Op &op, const Binding &binding) = 0;

  /// Runs once between a kernel's enqueue and its execution per op, on the executing thread: for
  /// the watchdog's state, times and fault injection. `begin` true before, false after. Null for
  /// none. A status that is not ok stops the step and comes out of synchronize().
  virtual void setObserver(std::function<Status(int op, bool begin)> observer) = 0;
  /// Number that the observer sees for the kernels enqueued next.
  virtual void setOpIndex(int op) = 0;

  /// Waits until all streams are empty and returns the first failure since the last call.
  virtual Status synchronize() = 0;

  /// Records what is enqueued from here to endCapture() instead of running it.
  virtual void beginCapture() = 0;
  virtual Expected<std::unique_ptr<Capture>> endCapture() = 0;
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
