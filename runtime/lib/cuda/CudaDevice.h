// SPDX-License-Identifier: Apache-2.0
// CudaDevice: streams, events, memory and captured graphs of one GPU, and the prepared ops on them.
// Nothing waits inside CUDA: the rank polls, so that it can tell how far it is and notices what
// NCCL met in the background.
#pragma once

#include "Connections.h"
#include "MatMul.h"
#include "Progress.h"
#include "Staging.h"

#include "tenon/runtime/CudaDevice.h"

#include <array>
#include <memory>
#include <vector>

namespace tenon::runtime::cuda {

class CudaDevice;

/// A prepared op with the events around it.
class CudaKernel : public Kernel {
public:
  enum class Role { Run, Collective, Record, Wait };
  CudaKernel(CudaDevice &device, Role role) : device_(device), role_(role) {}
  ~CudaKernel() override;
  void enqueue(int stream) override;
  int64_t workspaceBytes() const override { return work ? work->workspaceBytes : 0; }
  Role role() const { return role_; }

  std::unique_ptr<Work> work;
  int event = -1;                             ///< Of records and waits.
  std::string label;                          ///< Op and layer.
  cudaEvent_t begin = nullptr, end = nullptr; ///< Null when not timed.

private:
  CudaDevice &device_;
  Role role_;
};

/// An op of the last step with its times.
struct TimedOp {
  int op;
  cudaEvent_t begin, end;
};

class CudaDevice : public Device {
public:
  explicit CudaDevice(const CudaOptions &options) : options_(options) {}
  ~CudaDevice() override;
  /// Fails with Code::Plan for a GPU that is too old.
  Status open();

  std::string name() const override { return "cuda " + context.gpuName; }
  DeviceLimits limits() const override { return limits_; }
  Expected<std::byte *> allocate(int64_t bytes, MemoryUse use) override;
  void release(std::byte *memory) override;
  Status copyIn(std::byte *device, const void *host, int64_t bytes) override;
  Status copyOut(void *host, const std::byte *device, int64_t bytes) override;
  Expected<std::byte *> stage(std::byte *device, int64_t bytes) override;
  Status submit(std::byte *device, int64_t bytes) override;
  Status connect(Communicator &mesh,
                 const std::map<plan::Axes, std::unique_ptr<Communicator>> &groups) override;
  Expected<std::unique_ptr<Kernel>> prepare(const plan::Op &op, const Binding &binding) override;
  Status settle(Communicator &mesh) override;
  void setObserver(std::function<Status(int op, bool begin)> observer,
                   Observation observation) override;
  void setOpIndex(int op) override { op_ = op; }
  Status synchronize() override;
  Status beginCapture() override;
  Expected<std::unique_ptr<Capture>> endCapture() override;
  void timeAllOps(bool on) override { timesAll_ = on; }
  void readTimes(const std::function<void(int op, double begin, double end)> &visit) override;

  void enqueue(CudaKernel &kernel, int stream);
  void replay(cudaGraphExec_t graph, int firstOp, const Progress::Marks &marks,
              const std::vector<TimedOp> &timed);

  Context context;

private:
  void readLimits();
  /// Begins a step: other streams wait for stream 0.
  void fork(int op);
  /// Ends one: stream 0 waits for the others.
  void join();
  Status waitFor(cudaStream_t stream);
  Status observe(int op, bool begin);
  Status makeEvent(int event);
  Status firstFailure();

  CudaOptions options_;
  Communicator *mesh_ = nullptr; ///< After connect(): to notice that a peer has failed.
  DeviceLimits limits_;
  Connections connections_;
  std::unique_ptr<MatMulAlgorithms> algorithms_;
  Progress progress_;
  Staging staging_;
  std::array<cudaStream_t, 2> streams_{};
  std::vector<cudaEvent_t> events_; ///< By the plan's numbers; null where the plan has none.
  std::vector<bool> recorded_;      ///< In this step, by the plan's numbers.
  cudaEvent_t forked_ = nullptr, joined_ = nullptr, base_ = nullptr;

  std::function<Status(int, bool)> observer_;
  Observation observation_ = Observation::Progress;
  int op_ = 0;
  Status failure_; ///< Of an observer.
  bool running_ = false, capturing_ = false, timesAll_ = false;
  int firstOp_ = 0;
  double begun_ = 0; ///< When base_ was recorded, on the monotonic clock.
  std::vector<TimedOp> timed_;
};

} // namespace tenon::runtime::cuda
