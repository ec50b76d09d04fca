// SPDX-License-Identifier: Apache-2.0
// Isa: the instruction sets that the row kernels are compiled for. The kernels are built once per
// level and chosen when a device is made; everything outside rows/ is compiled for the baseline.
#pragma once

#include "tenon/runtime/Device.h"

namespace tenon::runtime::cpu {

struct RowKernels;

enum class Isa { Sse2, Avx2, Avx512 };

/// Returns "sse2", "avx2" or "avx512".
const char *name(Isa isa);

/// Returns the level that `requested` ("" for the best) gives on this machine. Fails with
/// Code::Usage for an unknown name; a level that the machine lacks is lowered to the best that it
/// has.
Expected<Isa> chooseIsa(const std::string &requested);

/// Returns the row kernels compiled for a level. Needs a level that chooseIsa returned.
const RowKernels &rowKernels(Isa isa);

} // namespace tenon::runtime::cpu
