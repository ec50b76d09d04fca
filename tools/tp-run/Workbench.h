// SPDX-License-Identifier: Apache-2.0
// Workbench: times single ops on a device, over operands of its own.
#pragma once

#include "tenon/runtime/Device.h"
#include "tenon/runtime/exec/RunState.h"

#include <memory>
#include <string>
#include <vector>

namespace tenon::tprun {

/// One rank's device with the groups that its collectives name.
struct BenchDevice {
  runtime::Device &device;
  runtime::Communicator &world;
  const std::map<plan::Axes, std::unique_ptr<runtime::Communicator>> &groups;
  runtime::RunState &state;
  int batch = 1; ///< Kernels between two waits: a GPU's launches overlap with its work.
  /// Runs before each kernel, not timed: what a step does in between. May be empty.
  std::function<Status()> between;
};

/// Operands and kernels of one measurement; they go with it.
class Workbench {
public:
  explicit Workbench(const BenchDevice &bench) : bench_(bench) {}
  ~Workbench();
  Workbench(const Workbench &) = delete;
  Workbench &operator=(const Workbench &) = delete;

  /// An operand over a buffer of its own, of small numbers; row-major unless strides are given.
  plan::Operand operand(plan::DataType type, std::vector<int64_t> sizes,
                        std::vector<int64_t> strides = {});
  /// [count] row numbers below `rows`, spread over all of them.
  plan::Operand indices(int64_t count, int64_t rows);
  /// Adds a kernel to those that are timed in turn.
  void add(plan::OpBody body);

  /// Has the operand written before each kernel, not timed, as an op before it would do.
  void produce(const plan::Operand &operand);

  /// Median seconds of one kernel. Collective over the world: all ranks begin together.
  /// At least `least` runs, about `budget` seconds in all. Several kernels run in turn, so that
  /// operands of which there are many come from memory.
  Expected<double> time(double budget = 0.02, int least = 7);
  /// The same of a collective, `runs` times on every rank; the waits for others do not count.
  Expected<double> timeCollective(plan::Collective body, int runs);

  /// Runs the next of the kernels.
  Status runNext();
  /// The first failure of making operands and kernels.
  const Status &status() const { return status_; }

private:
  void keep(const Status &status);

  BenchDevice bench_;
  runtime::Binding binding_;
  Expected<double> timeOne(size_t kernel, int batch);
  std::unique_ptr<runtime::Kernel> prepare(plan::OpBody body);

  std::vector<std::unique_ptr<runtime::Kernel>> kernels_, producers_;
  Status status_;
  size_t next_ = 0;
};

} // namespace tenon::tprun
