// SPDX-License-Identifier: Apache-2.0
// LoneCommunicator: one rank of a larger group, alone: for timing a rank's own work on a machine
// that has no place for its peers.
#pragma once

#include "tenon/runtime/Communicator.h"

#include <memory>

namespace tenon::runtime {

/// Pretends to be rank `rank` of `size` ranks that all hold the same data: all_gather and
/// all_to_all repeat this rank's block, all_reduce copies x instead of adding it `size` times, so
/// that values stay as small as they are; reduce_scatter takes this rank's block. What comes out
/// has the right shape and means nothing. split() fails with Code::Usage: nobody knows the others'
/// colours.
std::unique_ptr<Communicator> makeLoneCommunicator(int rank, int size);

} // namespace tenon::runtime
