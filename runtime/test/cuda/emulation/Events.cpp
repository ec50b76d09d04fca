// SPDX-License-Identifier: Apache-2.0
// Events: every recording is an object of its own, which a step of the stream completes; who waits
// holds the recording that was the last when it began to wait. In a capture an event stands for the
// nodes that the stream had come to.
#include "Emulation.h"

#include <algorithm>
#include <sched.h>
#include <unordered_set>

namespace tenon::emulation {

static std::unordered_set<void *> &events() {
  static auto *all = new std::unordered_set<void *>;
  return *all;
}

bool isEvent(cudaEvent_t handle) { return events().count(handle); }

} // namespace tenon::emulation

using namespace tenon::emulation;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!event || flags > 7 || ((flags & cudaEventInterprocess) && !(flags & cudaEventDisableTiming)))
    return fail(cudaErrorInvalidValue);
  *event = new CUevent_st;
  (*event)->flags = flags;
  std::lock_guard lock(bookkeeping());
  events().insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::lock_guard lock(bookkeeping());
  if (!events().erase(event))
    return fail(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

static Step finishing(std::shared_ptr<Record> record) {
  return [record = std::move(record)] {
    record->finish();
    return Progress::Done;
  };
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t handle, unsigned flags) {
  if (cudaError_t error = driver())
    return fail(error);
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream || !isEvent(event))
    return fail(cudaErrorInvalidResourceHandle);
  if (flags > cudaEventRecordExternal)
    return fail(cudaErrorInvalidValue);
  if (!stream->capture) {
    // External events exist only in captures.
    if (flags)
      return fail(cudaErrorInvalidValue);
    auto record = std::make_shared<Record>();
    record->timeline = stream->timeline;
    if (cudaError_t error = enqueueLocked(stream, [record] { return finishing(record); }))
      return fail(error);
    event->record = record;
    event->capture = nullptr;
    return cudaSuccess;
  }
  if (stream->capture->invalidated)
    return fail(cudaErrorStreamCaptureInvalidated);
  if (!flags) {
    event->record = nullptr;
    event->capture = stream->capture;
    event->tails = stream->tails;
    return cudaSuccess;
  }
  // From the launch of the graph until the node has run, the event is not complete.
  return fail(enqueueLocked(stream, [event, timeline = stream->timeline]() -> Step {
    auto record = std::make_shared<Record>();
    record->timeline = timeline;
    if (isEvent(event)) {
      event->record = record;
      event->capture = nullptr;
    }
    return finishing(record);
  }));
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags) {
  if (cudaError_t error = driver())
    return fail(error);
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream || !isEvent(event))
    return fail(cudaErrorInvalidResourceHandle);
  if (flags > cudaEventWaitExternal || (flags && !stream->capture))
    return fail(cudaErrorInvalidValue);
  if (flags)
    return fail(enqueueLocked(stream, [event, stream]() -> Step {
      std::shared_ptr<Record> record = isEvent(event) ? event->record : nullptr;
      return record ? waitFor(record, stream->timeline) : [] { return Progress::Done; };
    }));
  if (event->capture) {
    if (event->capture->ended)
      return fail(cudaErrorCapturedEvent);
    if (event->capture->invalidated || (stream->capture && stream->capture->invalidated))
      return fail(cudaErrorStreamCaptureInvalidated);
    if (stream->capture && stream->capture != event->capture) {
      stream->capture->invalidated = event->capture->invalidated = true;
      return fail(cudaErrorStreamCaptureMerge);
    }
    if (stream == stream->timeline->legacy.get()) {
      event->capture->invalidated = true;
      return fail(cudaErrorStreamCaptureImplicit);
    }
    if (!stream->capture)
      stream->tails.clear();
    stream->capture = event->capture;
    for (size_t tail : event->tails)
      if (std::find(stream->tails.begin(), stream->tails.end(), tail) == stream->tails.end())
        stream->tails.push_back(tail);
    return cudaSuccess;
  }
  if (stream->capture) {
    if (!stream->capture->invalidated) {
      stream->capture->invalidated = true;
      return fail(cudaErrorStreamCaptureIsolation);
    }
    return fail(cudaErrorStreamCaptureInvalidated);
  }
  if (!event->record)
    return cudaSuccess; // Never recorded: nothing to wait for.
  return fail(enqueueLocked(
      stream, [record = event->record, stream] { return waitFor(record, stream->timeline); }));
}

static cudaError_t watched(cudaEvent_t event, std::shared_ptr<Record> &record) {
  if (cudaError_t error = driver())
    return error;
  std::lock_guard lock(bookkeeping());
  if (!isEvent(event))
    return cudaErrorInvalidResourceHandle;
  if (event->capture) {
    if (!event->capture->ended)
      event->capture->invalidated = true;
    return cudaErrorCapturedEvent;
  }
  record = event->record;
  return forbidden();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  std::shared_ptr<Record> record;
  if (cudaError_t error = watched(event, record))
    return fail(error);
  if (!record || record->complete)
    return cudaSuccess;
  if (!advance(*record->timeline))
    sched_yield();
  return record->complete ? cudaSuccess : fail(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::shared_ptr<Record> record;
  if (cudaError_t error = watched(event, record))
    return fail(error);
  while (record && !record->complete)
    if (!advance(*record->timeline))
      sched_yield();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
  std::lock_guard lock(bookkeeping());
  if (!milliseconds)
    return fail(cudaErrorInvalidValue);
  for (cudaEvent_t event : {start, end})
    if (!isEvent(event) || !event->record || (event->flags & cudaEventDisableTiming))
      return fail(cudaErrorInvalidResourceHandle);
  if (!start->record->complete || !end->record->complete)
    return fail(cudaErrorNotReady);
  *milliseconds = float(double(end->record->nanoseconds - start->record->nanoseconds) * 1e-6);
  return cudaSuccess;
}
