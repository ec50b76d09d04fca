// SPDX-License-Identifier: Apache-2.0
// NpyFile: reads and writes numpy's .npy, versions 1 and 2. Types: f4, f2, i4, i8, b1 and u1 (as
// I1; u1 must hold 0 and 1), and bf16 as '<V2', the form in which numpy stores ml_dtypes.bfloat16.
// Fortran order and big-endian files are refused.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/exec/HostArray.h"

#include <string>

namespace tenon::runtime {

/// Reads a file. Fails with Code::Usage; the message begins with the path.
Expected<HostArray> readNpy(const std::string &path);

/// Writes a file, whole or not at all (AtomicFile.h). Fails with Code::Device.
Status writeNpy(const std::string &path, const HostArray &array);

} // namespace tenon::runtime
