// SPDX-License-Identifier: Apache-2.0
// DualBound: a lower bound that takes the memory limit into account. Multipliers on the bytes at
// each point in time price memory instead of forbidding it (Lagrangian relaxation, Held and Karp
// 1971); what is left is solved, or bounded where that takes too long. Steps follow Polyak (1969)
// towards the best objective known.
#pragma once

#include "MemoryTimeline.h"

#include <functional>

namespace tenon::solver {

/// Raises the bound until `rounds` or `done` says stop. `exactly`: relaxations go to
/// solveByElimination, else their bound comes from shifting costs. Each relaxed solution is shown
/// to `offer`, feasible or not, which returns the best objective known by then.
double dualBound(const ShardingProblem &problem, const MemoryTimeline &timeline, bool exactly,
                 int rounds, const std::function<bool()> &done,
                 const std::function<double(const std::vector<int32_t> &)> &offer);

} // namespace tenon::solver
