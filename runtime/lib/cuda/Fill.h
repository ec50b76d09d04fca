// SPDX-License-Identifier: Apache-2.0
// Fill: one value over a region.
#pragma once

#include "Work.h"

namespace tenon::runtime::cuda {

/// Integers are exact up to 2^53, as a double holds them; floats are rounded once from f32.
std::unique_ptr<Work> makeFill(const Region &out, double value, Context &context);

} // namespace tenon::runtime::cuda
