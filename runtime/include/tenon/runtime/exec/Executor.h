// SPDX-License-Identifier: Apache-2.0
// Executor: one entry of a plan, prepared for one rank and run step by step. It binds every op to
// addresses in the arena, lets the device prepare it once, and then only copies inputs and
// enqueues. It decides nothing: order, places and groups stand in the plan.
#pragma once

#include "tenon/runtime/Device.h"
#include "tenon/runtime/exec/DeviceMemory.h"
#include "tenon/runtime/exec/FaultInjection.h"
#include "tenon/runtime/exec/Groups.h"
#include "tenon/runtime/exec/HostArray.h"
#include "tenon/runtime/exec/RunState.h"
#include "tenon/runtime/exec/WeightLoader.h"

#include <functional>
#include <memory>
#include <vector>

namespace tenon::runtime {

struct ExecutorOptions {
  /// Fills every arena buffer with NaN before its first and after its last use: a read of a dead or
  /// unborn value shows.
  bool poison = false;
  /// Fails (Code::Differs) after the first op that makes a NaN, or an infinity where sums are
  /// taken.
  bool checkFinite = false;
  RunState *state = nullptr;
  FaultInjection faults;
  /// Called after every op of a step while set: for dumps.
  std::function<Status(int op)> afterOp;
};

/// When an op ran, in seconds on the monotonic clock; `collective` for collectives.
struct OpTime {
  double begin = 0, end = 0;
  CollectiveTime collective;
};

class Executor {
public:
  /// What an entry runs on; outlives the executor. `arena` serves all entries of the plan.
  struct Environment {
    const plan::Plan &plan;
    int64_t rank;
    std::vector<int64_t> coordinates;
    Device &device;
    Communicator &mesh;
    const Groups &groups;
    const LoadedWeights &weights;
    const DeviceMemory &arena;
  };

  /// Binds and prepares all ops. Fails with what the device says (Code::Plan, Code::Memory).
  static Expected<std::unique_ptr<Executor>> create(const Environment &environment, size_t entry,
                                                    ExecutorOptions options);
  ~Executor();

  /// The entry with this rank's numbers.
  const plan::Entry &entry() const { return entry_; }

  /// Runs a step on global input values, one per entry input, already checked (InputCheck.h). Fails
  /// with rank, step, op and layer in the message, and releases the other ranks.
  Status step(const std::vector<const HostArray *> &inputs);

  /// Collective, after a first step: records the next one and replays it from then on, if that
  /// works on every rank. Returns "" then, else which rank could not and why; all go on uncaptured.
  /// Fails as the communicator does.
  Expected<std::string> capture();

  /// This rank's block of an output after a step.
  Expected<HostArray> outputBlock(size_t output);
  /// An operand of an op as dense values, in afterOp.
  Expected<HostArray> operandValue(const plan::Operand &operand);

  /// Times of the last step.
  const std::vector<OpTime> &opTimes() const { return times_; }
  double stepBegin() const { return stepBegin_; }
  double stepEnd() const { return stepEnd_; }
  int64_t workspaceBytes() const;
  void setAfterOp(std::function<Status(int op)> afterOp) { options_.afterOp = std::move(afterOp); }

private:
  Executor(const Environment &environment, size_t entry, ExecutorOptions options);
  Status prepare();
  Status observe(int op, bool begin);
  Status atBegin(int op);
  Status atEnd(int op);
  Status checkFinite(int op);
  Status poison(int32_t buffer);
  Status poisonArena();
  void enqueueAll();
  Status run();
  bool watchesEveryOp() const;
  std::string where(int op) const;

  Environment environment_;
  plan::Entry entry_;
  ExecutorOptions options_;
  Binding binding_;
  std::vector<std::unique_ptr<Kernel>> kernels_; ///< Null where an op was skipped by a fault.
  std::unique_ptr<Capture> capture_;
  std::vector<OpTime> times_;
  double stepBegin_ = 0, stepEnd_ = 0;
  int64_t steps_ = 0;
  /// Per op: number of the collective within a step from 1, or 0; and its group.
  std::vector<uint64_t> ordinal_;
  std::vector<Communicator *> group_;
  uint64_t collectives_ = 0;
  /// For poisoning: how often each buffer is still touched in this step, and by what.
  std::vector<int64_t> uses_, left_;
  std::vector<bool> keeps_, born_;
  int failedOp_ = -1;
};

/// Bytes of the arena: the most that any entry needs.
int64_t arenaBytes(const plan::Plan &plan);

} // namespace tenon::runtime
