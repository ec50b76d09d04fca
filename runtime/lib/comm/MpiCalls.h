// SPDX-License-Identifier: Apache-2.0
// MpiCalls: the one wrapper around MPI's C interface: return codes become Status, 64-bit byte
// counts become pieces that fit an int, handles are freed once, and the library is finalised after
// the last of them.
#pragma once

#include "tenon/runtime/Status.h"

#include <cstdint>
#include <memory>
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace tenon::runtime {

/// Largest piece of one message.
inline constexpr int64_t kMpiPiece = int64_t(1) << 30;

/// Code::Device with the library's own text.
inline Status checkMpi(int result, const char *call) {
  if (result == MPI_SUCCESS)
    return Status();
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  return Status(Code::Device, std::string(call) + " failed: " + std::string(text, size_t(length)));
}

/// Initialised MPI; finalises it when the last communicator lets go.
class MpiLibrary {
public:
  MpiLibrary() = default;
  ~MpiLibrary() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized)
      MPI_Finalize();
  }
  MpiLibrary(const MpiLibrary &) = delete;
  MpiLibrary &operator=(const MpiLibrary &) = delete;
};

/// A duplicated or split MPI communicator.
class MpiHandle {
public:
  MpiHandle(std::shared_ptr<MpiLibrary> library, MPI_Comm comm)
      : library_(std::move(library)), comm_(comm) {}
  MpiHandle(MpiHandle &&other) noexcept
      : library_(std::move(other.library_)), comm_(std::exchange(other.comm_, MPI_COMM_NULL)) {}
  MpiHandle &operator=(MpiHandle &&) = delete;
  ~MpiHandle() {
    if (comm_ != MPI_COMM_NULL)
      MPI_Comm_free(&comm_);
  }
  MPI_Comm comm() const { return comm_; }
  const std::shared_ptr<MpiLibrary> &library() const { return library_; }

private:
  std::shared_ptr<MpiLibrary> library_;
  MPI_Comm comm_;
};

} // namespace tenon::runtime
