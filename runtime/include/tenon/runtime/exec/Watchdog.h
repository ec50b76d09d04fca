// SPDX-License-Identifier: Apache-2.0
// Watchdog: a thread that only reads atomics, prints one line and leaves the process when an op takes longer than
// its deadline. It makes no MPI or device call, so a hung library cannot hang it. The SIGTERM handler prints the same
// line, so every rank reports where it was when the launcher ends it.
#pragma once

#include "tenon/runtime/exec/Executor.h"

#include <memory>

namespace tenon::runtime {

/// What one rank's line says.
struct WatchedRank {
  int rank = 0;
  const Progress *progress = nullptr;
  const plan::Entry *entry = nullptr; ///< Names of ops and layers; must outlive the watchdog.
};

class Watchdog {
public:
  /// Watches these ranks of this process (several under threads) with `timeout` seconds per op.
  Watchdog(std::vector<WatchedRank> ranks, double timeout);
  ~Watchdog();
  Watchdog(const Watchdog &) = delete;
  Watchdog &operator=(const Watchdog &) = delete;

private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "rank 1: entry forward, step 3, op 17 (matmul at layer.2.mlp), collective 4, 5.2 s".
std::string stateLine(const WatchedRank &rank);

/// Installs the SIGTERM handler that prints the watched ranks' lines and leaves with 128 + 15.
void installTerminationHandler();

/// This process dies with its launcher: PR_SET_PDEATHSIG, and a check that the launcher is still there. Call before MPI starts.
void dieWithParent();

} // namespace tenon::runtime
