// SPDX-License-Identifier: Apache-2.0
// Session: one rank's way through a run, from the plan file to the outputs, the same under threads
// and MPI. Every phase ends in an agreement, so all ranks leave it together; a failure while steps
// run releases the others as far as the transport can.
#pragma once

#include "Options.h"

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/exec/RunState.h"

namespace tenon::tprun {

/// What a rank is told from outside.
struct RankContext {
  const Options &options;
  runtime::Communicator &world;
  runtime::RunState &state;
  std::string host;
  bool local; ///< Ranks are threads.
};

/// Runs this rank. The status's message is to be printed unless it is `peerFailed`. `agreed` is set
/// when all ranks leave with the same code; otherwise some may still wait in a collective, and MPI
/// must not be finalised.
Status runRank(const RankContext &context, bool &agreed);

/// `--verify`: every coordinate, one process.
Status verifyPlan(const Options &options);

/// Ranks that the plan is for. Fails as the reader does.
Expected<int64_t> ranksOfPlan(const std::string &path);

/// What to type instead, for a world of the wrong size.
std::string rightCommand(const Options &options, int64_t ranks);

} // namespace tenon::tprun
