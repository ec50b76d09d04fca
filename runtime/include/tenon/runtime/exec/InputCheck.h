// SPDX-License-Identifier: Apache-2.0
// InputCheck: decides on the host, before a step, whether values may enter. Integers may come as
// i32 or i64; every other difference of type, any of shape, a value outside its range, and a mask
// row that masks everything are Code::Usage.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/exec/HostArray.h"

#include <cstdint>

namespace tenon::runtime {

/// Returns the value in the input's own type, or why not: names the input, index, value and range.
Expected<HostArray> checkInput(const plan::IO &input, HostArray value);

/// Values for an input by a seed: integers uniform in their range ([0, 2) without one), floats N(0,
/// 1), masks all ones.
HostArray randomInput(const plan::IO &input, uint64_t seed);

/// "i64 2x128".
std::string typeAndShape(plan::DataType type, const std::vector<int64_t> &shape);

} // namespace tenon::runtime
