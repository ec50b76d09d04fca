// SPDX-License-Identifier: Apache-2.0
// Executor: one rank of a plan on a device: weights held, one arena, every op prepared once, steps run in order.
//
//   Executor::create -> loadWeights -> prepare(entry) -> step(inputs) -> outputs
//
// All calls are collective: every rank makes the same ones in the same order.
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/Device.h"
#include "tenon/runtime/exec/Tensor.h"
#include "tenon/runtime/exec/Weights.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime {

/// Where a rank is, for the watchdog and the state line: written by the executing thread, read by any. `op` is an index into
/// the entry's ops, -1 between steps; `sequence` counts collectives.
struct Progress {
  std::atomic<int> entry{-1}, op{-1};
  std::atomic<uint64_t> step{0}, sequence{0};
  std::atomic<double> since{0}; ///< Monotonic seconds when this op began.
};

struct ExecutorOptions {
  bool poison = false;      ///< Fill the arena with NaN before each step: a read of something unwritten shows.
  bool checkFinite = false; ///< Fail with Code::Differs at the first op that writes a NaN or an infinity.
  bool capture = true;      ///< Record the first step and replay it afterwards.
  std::function<Status(int op, bool begin)> inject; ///< Fault injection and dumps; null for none.
};

/// Times of one step on one rank, in seconds.
struct StepTimes {
  double total = 0, wait = 0, communication = 0;
  double compute() const { return total - wait - communication; }
};

using Tensors = std::map<std::string, HostTensor>;

class Executor {
public:
  /// `world` has one rank per mesh coordinate, in mesh order. Splits the groups that the plan names. Keeps references to all.
  static Expected<std::unique_ptr<Executor>> create(const plan::Plan &plan, Device &device, Communicator &world,
                                                    const ExecutorOptions &options);
  ~Executor();

  /// Allocates and fills this rank's weights; `report(done, total)` in bytes after each.
  Status loadWeights(const WeightSource &source, const std::function<void(int64_t, int64_t)> &report = {});
  /// Resolves, allocates the arena and prepares every op of an entry.
  Status prepare(int entry);

  /// Checks and copies inputs in: names, shapes, types, value ranges. Integer files may be i32 or i64. Fails with Code::Usage.
  Status setInputs(const Tensors &inputs);
  /// Runs one step.
  Status step();
  /// Gathers the blocks of every output on rank 0 and cuts the padding; other ranks get an empty map.
  Expected<Tensors> outputs();

  /// The last step's times, and per op: seconds spent in it, and the collective's three times.
  const StepTimes &times() const { return times_; }
  const std::vector<double> &opSeconds() const { return opSeconds_; }
  const std::vector<CollectiveTime> &collectiveTimes() const { return collectiveTimes_; }
  const plan::Entry &entry() const { return resolved_; }
  /// The resolved entry's buffer, in host memory: for value dumps.
  Expected<HostTensor> read(const plan::Operand &operand) const;

  int64_t weightBytes() const { return weightBytes_; }
  int64_t copiedBytes() const { return copiedBytes_; }
  int64_t arenaBytes() const { return arenaBytes_; }
  int64_t workspaceBytes() const { return workspaceBytes_; }
  Progress &progress() { return progress_; }

private:
  Executor(const plan::Plan &plan, Device &device, Communicator &world, ExecutorOptions options)
      : plan_(plan), device_(device), world_(world), options_(std::move(options)) {}
  Status splitGroups();
  Status observe(int op, bool begin);
  Status checkWrites(int op);
  void enqueueAll();

  const plan::Plan &plan_;
  Device &device_;
  Communicator &world_;
  ExecutorOptions options_;
  std::vector<int64_t> coordinates_;
  std::map<plan::Axes, std::unique_ptr<Communicator>> groups_;
  std::vector<std::byte *> weights_;
  std::byte *arena_ = nullptr;
  int64_t weightBytes_ = 0, copiedBytes_ = 0, arenaBytes_ = 0, workspaceBytes_ = 0;
  int entryIndex_ = -1;
  plan::Entry resolved_;
  Binding binding_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::unique_ptr<Capture> capture_;
  std::vector<CollectiveTime> collectiveTimes_;
  std::vector<double> opSeconds_, opBegan_;
  StepTimes times_;
  Progress progress_;
};

/// Monotonic seconds.
double monotonicSeconds();

} // namespace tenon::runtime
