// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/Communicator.h"

#include <cstdlib>

namespace tenon::runtime {

// Open MPI; MPICH, Intel MPI and others with Hydra or PMI-1; Slurm's srun.
int launcherRanks() {
  for (const char *name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char *value = std::getenv(name))
      if (int ranks = int(std::strtol(value, nullptr, 10)); ranks > 0)
        return ranks;
  return 0;
}

} // namespace tenon::runtime
