// SPDX-License-Identifier: Apache-2.0
// What one rank does, the same under MPI and on threads.
#pragma once

#include "Options.h"

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/exec/Executor.h"

namespace tenon::tools {

/// Everything that rank 0 reports, gathered from all ranks.
struct RunReport {
  std::string digest, device;
  std::vector<int64_t> weightsBytes, arenaBytes, workspaceBytes, copiedBytes;
  double loadSeconds = 0;
  std::vector<double> stepSeconds;                      ///< Maximum over ranks, per timed step.
  runtime::StepTimes medianSplit;                       ///< Of the slowest rank in the median step.
  std::vector<double> opSeconds;                        ///< Median step, rank 0.
  std::vector<runtime::CollectiveTime> collectiveTimes; ///< Median step, rank 0.
};

/// Runs the options on this rank. Collective; ends with the status of the lowest failing rank on all of them.
Status runRank(runtime::Communicator &world, const Options &options);

/// Ends a start-up phase: every rank gives its status; the lowest failing rank's code comes back on all, its message only on
/// rank 0 (elsewhere runtime::peerFailed).
Status agree(runtime::Communicator &world, const Status &mine);

/// The command line that starts a plan on this many ranks.
std::string launchCommand(const Options &options, int64_t ranks);

} // namespace tenon::tools
