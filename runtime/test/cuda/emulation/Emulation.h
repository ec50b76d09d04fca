// SPDX-License-Identifier: Apache-2.0
// Emulation: what the parts of the emulation share. A timeline is the streams that one host thread
// created on one GPU; only calls about a timeline's streams and events make its work advance, so
// ranks that are threads of one process do not run each other's work, even on the same GPU. One
// mutex guards all bookkeeping; work runs without it, and a timeline runs one step at a time.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tenon::emulation {

/// What a step of a stream says: it is finished; it did a part; it cannot run before other work of
/// this GPU; it waits for another rank.
enum class Progress { Done, Advanced, Blocked, Waiting };

/// Work at the head of a stream; called again until Done.
using Step = std::function<Progress()>;
/// Makes a step: once when it is enqueued, or once per launch of the graph it was captured into.
using MakeStep = std::function<Step()>;

struct Timeline {
  int gpu = 0;
  std::atomic_flag running;
  /// The stream that waits for all others to be stuck; -1 for turns.
  int starved = -1;
  size_t turn = 0;
  /// In order of creation; the default stream is apart.
  std::vector<std::shared_ptr<CUstream_st>> streams;
  std::shared_ptr<CUstream_st> legacy;
};

/// One recording of an event.
struct Record {
  std::atomic<bool> complete = false;
  std::atomic<int64_t> nanoseconds = 0;
  Timeline *timeline = nullptr;
  void finish();
};

struct Node {
  MakeStep make;
  std::vector<size_t> after; ///< Indices of nodes.
  size_t lane = 0;           ///< Index of the stream it was captured from.
};

/// A capture that has begun and not ended.
struct Capture {
  CUstream_st *origin = nullptr;
  std::thread::id owner;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalidated = false, ended = false;
  std::vector<Node> nodes;
};

/// How long a stream that waits for another rank keeps the starved stream from advancing. Longer
/// than ranks are apart, so that the order does not depend on time; finite, so that ranks whose
/// streams are crossed still get on.
inline constexpr std::chrono::milliseconds kPatience(50);

/// Guards handles, queues and captures. Never held while a step runs.
std::mutex &bookkeeping();

/// Remembers an error for cudaGetLastError() and returns it.
cudaError_t fail(cudaError_t error);

/// The calling thread's timeline on its current GPU. Takes the mutex.
Timeline &currentTimeline();
std::vector<Timeline *> timelinesOf(int gpu);

/// The stream behind a handle, the calling thread's default stream for null; null when there is no
/// such stream. The mutex must be held.
CUstream_st *streamOf(cudaStream_t handle);
bool isEvent(cudaEvent_t handle);

/// A step that is done when `record` is complete.
Step waitFor(std::shared_ptr<Record> record, Timeline *timeline);

/// Puts work on a stream, or into the capture that the stream takes part in.
cudaError_t enqueue(cudaStream_t stream, MakeStep make);
cudaError_t enqueueCall(cudaStream_t stream, std::function<void()> call);
/// The same, with the mutex held and no error remembered.
cudaError_t enqueueLocked(CUstream_st *stream, MakeStep make);

/// Lets a timeline make one step; false when nothing could be done. Steps of another rank's
/// timeline that runs at this moment count as nothing.
bool advance(Timeline &timeline);

/// The error of a call that captures forbid, after invalidating these. The mutex must be held.
cudaError_t forbidden();
/// The error of putting work on a stream outside a capture that is under way in its timeline.
cudaError_t outsideCapture(CUstream_st *stream);

/// Environment variable as a number.
int64_t setting(const char *name, int64_t otherwise);
/// cudaErrorInsufficientDriver, cudaErrorNoDevice or success.
cudaError_t driver();
int gpuCount();
size_t memoryOfGpu();
int currentGpu();
/// The GPU's identity: the same in every process of the machine.
cudaUUID_t uuidOf(int gpu);

/// Runs a kernel; Fibers.cpp.
void runGrid(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()> &thread);

} // namespace tenon::emulation

struct CUstream_st {
  tenon::emulation::Timeline *timeline = nullptr;
  bool blocking = true; ///< Ordered against the default stream.
  bool destroyed = false;
  std::deque<tenon::emulation::Step> queue;
  /// Since when the head waits for another rank; zero while it does not.
  std::chrono::steady_clock::time_point waiting{};
  std::shared_ptr<tenon::emulation::Capture> capture;
  std::vector<size_t> tails; ///< What the next captured node comes after.
};

struct CUevent_st {
  unsigned flags = 0;
  std::shared_ptr<tenon::emulation::Record> record;
  /// The capture that the event was last recorded in, if it was.
  std::shared_ptr<tenon::emulation::Capture> capture;
  std::vector<size_t> tails;
};

struct CUgraph_st {
  std::vector<tenon::emulation::Node> nodes;
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<tenon::emulation::Node>> nodes;
  std::shared_ptr<tenon::emulation::Record> last;
};
