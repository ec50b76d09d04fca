// SPDX-License-Identifier: Apache-2.0
// GpuPlacement: which GPU each rank takes. It looks at what ranks see and what their launcher says,
// and asks no GPU.
//
// Example: two ranks of one host that both see GPUs A and B take A and B; two that see one each, as
// with Slurm's --gpus-per-task=1, take the one they see.
#pragma once

#include "tenon/runtime/Status.h"

#include <string>
#include <vector>

namespace tenon::runtime {

/// What one rank tells the others.
struct RankGpus {
  std::string host;
  int localRank = -1;             ///< As its launcher says; -1 when it says nothing.
  std::vector<std::string> uuids; ///< Visible GPUs, by ordinal.
};

/// For the way through gatherStrings().
std::string pack(const RankGpus &rank);
RankGpus unpack(const std::string &text);

/// Gives each rank, in world order, an index into its own list. Ranks of a host take GPUs in the
/// order of their local ranks (of the world where those are missing or not distinct): the one at
/// that place if all of them see the same list, else the first of their list that no other has
/// taken. Fails with Code::Usage when there are fewer GPUs than ranks, unless `oversubscribe` lets
/// them share, in turns.
Expected<std::vector<int>> assignGpus(const std::vector<RankGpus> &ranks, bool oversubscribe);

/// This process's number on its host by the launcher's environment: Open MPI, MVAPICH, Intel MPI
/// and MPICH (Hydra), Slurm, torchrun; -1 when none says.
int launcherLocalRank();

} // namespace tenon::runtime
