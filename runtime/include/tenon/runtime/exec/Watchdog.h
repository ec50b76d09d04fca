// SPDX-License-Identifier: Apache-2.0
// Watchdog: a thread that ends the process with code 6 when a rank stays in one op, or one start-up
// phase, for too long; and signal handlers that say where each rank is before the process ends.
// Neither calls MPI or a device, so they work while everything else hangs. A state line:
//
//   tp-run: rank 1: SIGTERM: in forward, step 3, op 17 all_reduce at encoder.layer.0, collective
//   12, for 2.1 s
#pragma once

#include "tenon/runtime/exec/RunState.h"

#include <memory>
#include <span>
#include <string>

namespace tenon::runtime {

/// Starts on construction and ends on destruction. One per process.
class Watchdog {
public:
  /// Watches the ranks of this process: `states` outlive it. An op may take opSeconds, a phase
  /// phaseSeconds.
  Watchdog(std::span<RunState> states, double opSeconds, double phaseSeconds);
  ~Watchdog();
  Watchdog(const Watchdog &) = delete;
  Watchdog &operator=(const Watchdog &) = delete;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// SIGTERM and SIGINT print the state lines and end the process; crashes (SIGSEGV, SIGBUS, SIGFPE,
/// SIGILL, SIGABRT) print them and die of the signal. SIGPIPE is ignored. After MPI_Init, which
/// installs its own.
void installSignalHandlers(std::span<RunState> states);

/// Asks the kernel to kill this process when its parent dies, and leaves if that has happened
/// already. Before MPI_Init.
void dieWithParent();

} // namespace tenon::runtime
