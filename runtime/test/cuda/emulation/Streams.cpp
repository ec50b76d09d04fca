// SPDX-License-Identifier: Apache-2.0
// Streams: queues of steps, which of them goes next, and what waits for what. With
// TENON_EMULATION_STARVE=n the n-th of a timeline's streams that exist (by order of creation)
// advances only when no other can, else streams take turns. The variable is read when a timeline
// without streams gets one.
#include "Emulation.h"

#include <algorithm>
#include <cstdlib>
#include <sched.h>
#include <unordered_set>

namespace tenon::emulation {
namespace {

struct Handles {
  std::unordered_set<void *> streams;
  std::vector<std::unique_ptr<Timeline>> timelines;
};

Handles &handles() {
  static Handles *all = new Handles; // Threads may outlive static objects.
  return *all;
}

thread_local std::vector<Timeline *> mine; ///< By GPU.

Timeline &currentTimelineLocked() {
  const size_t gpu = size_t(currentGpu());
  if (mine.size() <= gpu)
    mine.resize(gpu + 1);
  if (!mine[gpu]) {
    auto made = std::make_unique<Timeline>();
    made->gpu = int(gpu);
    made->legacy = std::make_shared<CUstream_st>();
    made->legacy->timeline = made.get();
    mine[gpu] = made.get();
    handles().timelines.push_back(std::move(made));
  }
  return *mine[gpu];
}

/// Makes `later` wait for what is on `earlier` now.
void order(CUstream_st &earlier, CUstream_st &later) {
  if (earlier.queue.empty())
    return;
  auto record = std::make_shared<Record>();
  record->timeline = earlier.timeline;
  earlier.queue.push_back([record] {
    record->finish();
    return Progress::Done;
  });
  later.queue.push_back(waitFor(record, later.timeline));
}

bool idle(Timeline &timeline) {
  std::lock_guard lock(bookkeeping());
  auto empty = [](const auto &stream) { return stream->queue.empty(); };
  return empty(timeline.legacy) &&
         std::all_of(timeline.streams.begin(), timeline.streams.end(), empty);
}

} // namespace

// Work of another timeline advances from here too: nobody
/// else may be looking at it.
Step waitFor(std::shared_ptr<Record> record, Timeline *timeline) {
  return [record = std::move(record), timeline] {
    if (!record->complete && record->timeline && record->timeline != timeline)
      (void)advance(*record->timeline);
    return record->complete ? Progress::Done : Progress::Blocked;
  };
}

void Record::finish() {
  nanoseconds = std::chrono::steady_clock::now().time_since_epoch().count();
  complete = true;
}

std::mutex &bookkeeping() {
  static std::mutex *mutex = new std::mutex;
  return *mutex;
}

Timeline &currentTimeline() {
  std::lock_guard lock(bookkeeping());
  return currentTimelineLocked();
}

std::vector<Timeline *> timelinesOf(int gpu) {
  std::lock_guard lock(bookkeeping());
  std::vector<Timeline *> found;
  for (const auto &timeline : handles().timelines)
    if (timeline->gpu == gpu)
      found.push_back(timeline.get());
  return found;
}

CUstream_st *streamOf(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy)
    return currentTimelineLocked().legacy.get();
  return handles().streams.count(handle) ? handle : nullptr;
}

bool advance(Timeline &timeline) {
  if (timeline.running.test_and_set())
    return false;
  struct Leave {
    Timeline &timeline;
    ~Leave() { timeline.running.clear(); }
  } leave{timeline};
  std::vector<std::shared_ptr<CUstream_st>> turns;
  int starved = -1;
  {
    std::lock_guard lock(bookkeeping());
    if (!timeline.legacy->queue.empty())
      turns.push_back(timeline.legacy);
    const size_t count = timeline.streams.size();
    for (size_t i = 0; i < count; ++i) {
      // A starved stream keeps the others in order of creation and comes last.
      size_t at = timeline.starved < 0 ? (timeline.turn + i) % count : i;
      if (!timeline.streams[at]->queue.empty() && int(at) != timeline.starved)
        turns.push_back(timeline.streams[at]);
    }
    if (timeline.starved >= 0 && size_t(timeline.starved) < count &&
        !timeline.streams[size_t(timeline.starved)]->queue.empty()) {
      starved = int(turns.size());
      turns.push_back(timeline.streams[size_t(timeline.starved)]);
    }
  }
  bool patient = false;
  for (size_t i = 0; i < turns.size(); ++i) {
    CUstream_st &stream = *turns[i];
    if (int(i) == starved && patient)
      break;
    Step *step = nullptr;
    {
      std::lock_guard lock(bookkeeping());
      step = &stream.queue.front(); // Stays where it is while others are added.
    }
    const Progress progress = (*step)();
    const auto now = std::chrono::steady_clock::now();
    if (progress == Progress::Waiting) {
      if (stream.waiting == std::chrono::steady_clock::time_point())
        stream.waiting = now;
      patient |= now - stream.waiting < kPatience;
      continue;
    }
    stream.waiting = {};
    if (progress == Progress::Blocked)
      continue;
    Step finished; // Destroyed without the mutex: what it holds may call back.
    std::lock_guard lock(bookkeeping());
    if (progress == Progress::Done) {
      finished = std::move(stream.queue.front());
      stream.queue.pop_front();
    }
    for (size_t at = 0; at < timeline.streams.size(); ++at)
      if (timeline.streams[at].get() == &stream)
        timeline.turn = at + 1;
    if (stream.destroyed && stream.queue.empty())
      std::erase(timeline.streams, turns[i]);
    return true;
  }
  return false;
}

cudaError_t enqueueLocked(CUstream_st *stream, MakeStep make) {
  if (stream->capture) {
    Capture &capture = *stream->capture;
    if (capture.invalidated)
      return cudaErrorStreamCaptureInvalidated;
    const auto &streams = stream->timeline->streams;
    size_t lane = 0;
    while (streams[lane].get() != stream)
      ++lane;
    capture.nodes.push_back({std::move(make), stream->tails, lane});
    stream->tails = {capture.nodes.size() - 1};
    return cudaSuccess;
  }
  if (cudaError_t error = outsideCapture(stream))
    return error;
  Timeline &timeline = *stream->timeline;
  if (stream == timeline.legacy.get()) {
    for (const auto &other : timeline.streams)
      if (other->blocking)
        order(*other, *stream);
  } else if (stream->blocking) {
    order(*timeline.legacy, *stream);
  }
  stream->queue.push_back(make());
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t handle, MakeStep make) {
  if (cudaError_t error = driver())
    return fail(error);
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  return fail(stream ? enqueueLocked(stream, std::move(make)) : cudaErrorInvalidResourceHandle);
}

cudaError_t enqueueCall(cudaStream_t stream, std::function<void()> call) {
  return enqueue(stream, [call = std::move(call)]() -> Step {
    return [call] {
      call();
      return Progress::Done;
    };
  });
}

} // namespace tenon::emulation

using namespace tenon::emulation;

//===--------------------------------------------------------------------------------------------===//
// Streams.

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!stream || flags > cudaStreamNonBlocking)
    return fail(cudaErrorInvalidValue);
  (void)priority; // Out of range is clamped, and what is in range changes nothing here.
  std::lock_guard lock(bookkeeping());
  Timeline &timeline = currentTimelineLocked();
  if (timeline.streams.empty())
    timeline.starved = int(setting("TENON_EMULATION_STARVE", -1));
  auto made = std::make_shared<CUstream_st>();
  made->timeline = &timeline;
  made->blocking = !(flags & cudaStreamNonBlocking);
  timeline.streams.push_back(made);
  handles().streams.insert(made.get());
  *stream = made.get();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  if (cudaError_t error = driver())
    return fail(error);
  if (least)
    *least = 0;
  if (greatest)
    *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  std::lock_guard lock(bookkeeping());
  if (!handles().streams.erase(handle))
    return fail(cudaErrorInvalidResourceHandle);
  if (handle->capture)
    handle->capture->invalidated = true;
  handle->destroyed = true; // What is on it still runs.
  if (handle->queue.empty())
    std::erase_if(handle->timeline->streams,
                  [handle](const auto &stream) { return stream.get() == handle; });
  return cudaSuccess;
}

/// The stream of a call that looks at it or waits for it; captures forbid these.
static cudaError_t watched(cudaStream_t handle, std::shared_ptr<CUstream_st> &found) {
  if (cudaError_t error = driver())
    return error;
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream)
    return cudaErrorInvalidResourceHandle;
  if (stream->capture) {
    stream->capture->invalidated = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  if (cudaError_t error = forbidden())
    return error;
  found = stream->timeline->legacy;
  for (const auto &other : stream->timeline->streams)
    if (other.get() == stream)
      found = other;
  return cudaSuccess;
}

static bool emptied(CUstream_st &stream) {
  std::lock_guard lock(bookkeeping());
  return stream.queue.empty();
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  std::shared_ptr<CUstream_st> stream;
  if (cudaError_t error = watched(handle, stream))
    return fail(error);
  if (emptied(*stream))
    return cudaSuccess;
  if (!advance(*stream->timeline))
    sched_yield();
  return emptied(*stream) ? cudaSuccess : fail(cudaErrorNotReady);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  std::shared_ptr<CUstream_st> stream;
  if (cudaError_t error = watched(handle, stream))
    return fail(error);
  while (!emptied(*stream))
    if (!advance(*stream->timeline))
      sched_yield();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (cudaError_t error = driver())
    return fail(error);
  const std::vector<Timeline *> timelines = timelinesOf(currentGpu());
  {
    std::lock_guard lock(bookkeeping());
    if (cudaError_t error = forbidden())
      return fail(error);
  }
  for (Timeline *timeline : timelines)
    while (!idle(*timeline))
      if (!advance(*timeline))
        sched_yield();
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *userData) {
  if (!function)
    return fail(cudaErrorInvalidValue);
  return enqueueCall(stream, [function, userData] { function(userData); });
}
