// SPDX-License-Identifier: Apache-2.0
// Capture: records what is enqueued as a graph of nodes, and replays it. A replay keeps no order
// but the dependencies: where two nodes are ready, the same policy decides as for streams. What
// captures forbid fails and spoils the capture, as on the GPU; stricter than there, work for a
// stream that does not take part fails too while its timeline captures: it would run once instead
// of at every replay.
#include "Emulation.h"

#include <algorithm>

namespace tenon::emulation {
namespace {

std::vector<std::weak_ptr<Capture>> &captures() {
  static auto *all = new std::vector<std::weak_ptr<Capture>>;
  return *all;
}

thread_local cudaStreamCaptureMode threadMode = cudaStreamCaptureModeGlobal;

/// Every capture under way.
std::vector<std::shared_ptr<Capture>> active() {
  std::vector<std::shared_ptr<Capture>> found;
  std::erase_if(captures(), [](const auto &weak) { return weak.expired(); });
  for (const auto &weak : captures())
    if (auto capture = weak.lock(); capture && !capture->ended)
      found.push_back(capture);
  return found;
}

/// Whether node `from` comes before or is one of `tails`.
bool reaches(const std::vector<Node> &nodes, const std::vector<size_t> &tails, size_t from) {
  std::vector<char> seen(nodes.size(), 0);
  std::vector<size_t> open = tails;
  while (!open.empty()) {
    size_t at = open.back();
    open.pop_back();
    if (at == from)
      return true;
    if (seen[at])
      continue;
    seen[at] = 1;
    open.insert(open.end(), nodes[at].after.begin(), nodes[at].after.end());
  }
  return false;
}

/// One launch of a graph. The nodes of one stream run in order, so only the first that is left of
/// each can be next.
class Replay {
public:
  Replay(std::shared_ptr<const std::vector<Node>> nodes, Timeline *timeline)
      : nodes_(std::move(nodes)), done_(nodes_->size(), 0), left_(nodes_->size()),
        starved_(timeline->starved) {
    for (size_t i = 0; i < nodes_->size(); ++i) {
      const Node &node = (*nodes_)[i];
      steps_.push_back(node.make());
      if (node.lane >= lanes_.size())
        lanes_.resize(node.lane + 1);
      lanes_[node.lane].push_back(i);
    }
  }

  Progress advance() {
    if (left_ == 0)
      return Progress::Done;
    bool waiting = false;
    for (size_t i = 0; i < lanes_.size(); ++i) {
      size_t lane = starved_ < 0 ? (turn_ + i) % lanes_.size() : i;
      if (int(lane) == starved_)
        continue;
      Progress progress = advanceLane(lanes_[lane]);
      if (progress == Progress::Done || progress == Progress::Advanced) {
        turn_ = lane + 1;
        return progress;
      }
      waiting |= progress == Progress::Waiting;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!waiting)
      since_ = {};
    else if (since_ == std::chrono::steady_clock::time_point())
      since_ = now;
    if (starved_ >= 0 && size_t(starved_) < lanes_.size() &&
        (!waiting || now - since_ > kPatience)) {
      Progress progress = advanceLane(lanes_[size_t(starved_)]);
      if (progress != Progress::Blocked)
        return progress;
    }
    return waiting ? Progress::Waiting : Progress::Blocked;
  }

private:
  /// Done when this was the graph's last node.
  Progress advanceLane(std::deque<size_t> &lane) {
    if (lane.empty())
      return Progress::Blocked;
    const size_t at = lane.front();
    for (size_t before : (*nodes_)[at].after)
      if (!done_[before])
        return Progress::Blocked;
    Progress progress = steps_[at]();
    if (progress != Progress::Done)
      return progress;
    done_[at] = 1;
    steps_[at] = nullptr;
    lane.pop_front();
    return --left_ == 0 ? Progress::Done : Progress::Advanced;
  }

  std::shared_ptr<const std::vector<Node>> nodes_;
  std::vector<Step> steps_;
  std::vector<char> done_;
  size_t left_;
  std::vector<std::deque<size_t>> lanes_;
  size_t turn_ = 0;
  int starved_;
  std::chrono::steady_clock::time_point since_{};
};

} // namespace

cudaError_t forbidden() {
  if (threadMode == cudaStreamCaptureModeRelaxed)
    return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const auto &capture : active()) {
    bool own = capture->owner == std::this_thread::get_id();
    bool forbids = own ? capture->mode != cudaStreamCaptureModeRelaxed
                       : capture->mode == cudaStreamCaptureModeGlobal &&
                             threadMode == cudaStreamCaptureModeGlobal;
    if (!forbids)
      continue;
    capture->invalidated = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t outsideCapture(CUstream_st *stream) {
  for (const auto &capture : active()) {
    if (capture->origin->timeline != stream->timeline)
      continue;
    bool legacy = stream == stream->timeline->legacy.get();
    if (capture->mode == cudaStreamCaptureModeRelaxed && !(legacy && capture->origin->blocking))
      continue;
    capture->invalidated = true;
    return legacy ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

} // namespace tenon::emulation

using namespace tenon::emulation;

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
  if (!mode || *mode > cudaStreamCaptureModeRelaxed)
    return fail(cudaErrorInvalidValue);
  std::swap(*mode, threadMode);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  if (cudaError_t error = driver())
    return fail(error);
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream)
    return fail(cudaErrorInvalidResourceHandle);
  if (stream == stream->timeline->legacy.get())
    return fail(cudaErrorStreamCaptureUnsupported);
  if (stream->capture)
    return fail(cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->owner = std::this_thread::get_id();
  capture->mode = mode;
  captures().push_back(capture);
  stream->capture = std::move(capture);
  stream->tails.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph) {
  if (graph)
    *graph = nullptr;
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream || !graph)
    return fail(stream ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
  std::shared_ptr<Capture> capture = stream->capture;
  if (!capture)
    return fail(cudaErrorIllegalState);
  if (capture->origin != stream)
    return fail(cudaErrorStreamCaptureUnmatched);
  cudaError_t error = capture->invalidated ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->owner != std::this_thread::get_id()) {
    capture->invalidated = true;
    return fail(cudaErrorStreamCaptureWrongThread);
  }
  for (const auto &other : stream->timeline->streams) {
    if (other->capture != capture)
      continue;
    for (size_t tail : other->tails)
      if (!error && !reaches(capture->nodes, stream->tails, tail))
        error = cudaErrorStreamCaptureUnjoined;
  }
  capture->ended = true;
  for (const auto &other : stream->timeline->streams)
    if (other->capture == capture) {
      other->capture = nullptr;
      if (other.get() != stream)
        other->tails.clear();
    }
  stream->capture = nullptr;
  stream->tails.clear();
  if (error)
    return fail(error);
  *graph = new CUgraph_st{std::move(capture->nodes)};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status) {
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream || !status)
    return fail(stream ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
  *status = !stream->capture               ? cudaStreamCaptureStatusNone
            : stream->capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  if (!exec || !graph)
    return fail(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{std::make_shared<const std::vector<Node>>(graph->nodes), nullptr};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags) {
  return cudaGraphInstantiate(exec, graph, flags);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return exec ? enqueueCall(stream, [] {}) : fail(cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  if (!exec)
    return fail(cudaErrorInvalidValue);
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream)
    return fail(cudaErrorInvalidResourceHandle);
  if (stream->capture) {
    stream->capture->invalidated = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  auto record = std::make_shared<Record>();
  record->timeline = stream->timeline;
  // Launches of one graph do not overlap.
  cudaError_t error =
      enqueueLocked(stream, [exec, stream, record, previous = exec->last]() -> Step {
        auto replay = std::make_shared<Replay>(exec->nodes, stream->timeline);
        return [replay, record, previous] {
          if (previous && !previous->complete)
            return Progress::Blocked;
          Progress progress = replay->advance();
          if (progress == Progress::Done)
            record->finish();
          return progress;
        };
      });
  if (!error)
    exec->last = record;
  return fail(error);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
  // Only how many there are; nodes have no handles here.
  if (!graph || !count || nodes)
    return fail(nodes ? cudaErrorNotSupported : cudaErrorInvalidValue);
  *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (!graph)
    return fail(cudaErrorInvalidValue);
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  if (!exec)
    return fail(cudaErrorInvalidValue);
  delete exec; // A launch that is under way keeps what it needs.
  return cudaSuccess;
}
