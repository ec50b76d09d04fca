// SPDX-License-Identifier: Apache-2.0
// ShardingReport: explains a solved problem, as remarks and as a table: what was chosen, what the
// runner-up would have cost, which weights stay replicated and why.
#pragma once

#include "ProblemBuilder.h"

namespace tenon {

/// Emits one remark per op and weight (category tp-assign-shardings), and with `table` prints the
/// table to stderr.
void explain(const BuiltProblem &built, const solver::Solution &solution,
             const sharding::Mesh &mesh, bool table);

} // namespace tenon
