// SPDX-License-Identifier: Apache-2.0
// Fill of a region, for ops that need one inside.
#pragma once

#include "Work.h"

namespace tenon::runtime::cpu {

std::unique_ptr<Work> makeFill(const Region &out, double value, Context &context);

} // namespace tenon::runtime::cpu
