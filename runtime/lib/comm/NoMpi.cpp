// SPDX-License-Identifier: Apache-2.0
// Stands in for MpiCommunicator.cpp where the build has no MPI.
#include "tenon/runtime/Communicator.h"

namespace tenon::runtime {

Expected<std::unique_ptr<Communicator>> makeMpiCommunicator(int *, char ***, const MpiOptions &) {
  return Status(Code::Device,
                "this build has no MPI: use --local-ranks, or build where CMake finds MPI");
}

} // namespace tenon::runtime
