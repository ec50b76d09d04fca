// SPDX-License-Identifier: Apache-2.0
// CastRun: moves one run of elements between any two types and strides.
#pragma once

#include "rows/RowKernels.h"

#include <cstddef>

namespace tenon::runtime::cpu {

/// Moves n elements; strides are in elements of their own side. A source stride of 0 repeats one.
using CastRun = void (*)(const RowKernels &rows, const std::byte *from, int64_t fromStride,
                         std::byte *to, int64_t toStride, int64_t n);

/// Returns the mover for a pair of types. Integers convert among each other exactly (to I1: x !=
/// 0); everything else goes through f32.
CastRun castRun(plan::DataType from, plan::DataType to);

} // namespace tenon::runtime::cpu
