// SPDX-License-Identifier: Apache-2.0
// Resolve: fills a rank's coordinates into a plan. In the result every RankValue is Constant with
// its value in `base`; nothing else changes, so all code behind it sees plain numbers.
#pragma once

#include "tenon/runtime/plan/Plan.h"

namespace tenon::plan {

/// Coordinates of `rank` on the plan's mesh, row-major, the last axis fastest: rank 3 on 2x2 is
/// (1,1).
std::vector<int64_t> coordinates(const std::vector<MeshAxis> &mesh, int64_t rank);

/// Value of a rank-dependent number at these coordinates. Start is the block's start, Length its
/// owned length.
int64_t evaluate(const RankValue &value, const std::vector<MeshAxis> &mesh,
                 const std::vector<int64_t> &coordinates);

/// Returns the entry with every RankValue constant. Needs a plan that `verify` accepted.
Entry resolve(const Plan &plan, const Entry &entry, const std::vector<int64_t> &coordinates);

} // namespace tenon::plan
