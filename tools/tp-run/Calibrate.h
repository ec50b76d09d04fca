// SPDX-License-Identifier: Apache-2.0
// Calibrate: measures the kernels and collectives of this machine, over this communicator, and
// writes a machine file for the compiler. All ranks measure at once, as they will run.
#pragma once

#include "Session.h"

namespace tenon::tprun {

/// Collective over the world. Rank 0 writes `--calibrate`'s file. `agreed` as in runRank().
Status calibrate(const RankContext &context, bool &agreed);

} // namespace tenon::tprun
