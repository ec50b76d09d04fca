// SPDX-License-Identifier: Apache-2.0
// ShardingReport: explains a solved problem, as remarks and as a table: what was chosen, what the
// runner-up would have cost, which weights stay replicated and why.
#pragma once

#include "ProblemBuilder.h"

namespace tenon {

/// Emits one remark per op and weight (category tp-assign-shardings), and with `table` prints the
/// table to stderr.
void explain(const BuiltProblem &built, const solver::Solution &solution,
             const std::vector<solver::RunnerUp> &runners, const sharding::Mesh &mesh, bool table);

/// The choices as a JSON list, in the order of the program: {"entry" (not of weights), "layer",
/// "what" (op, weight or result), "choice", "role" (column-parallel, ..; where there is a word for
/// it), "us", "runner_up", "plus_us", "note"}; without "runner_up" where there is no alternative.
std::string choicesJson(const BuiltProblem &built, const solver::Solution &solution,
                        const std::vector<solver::RunnerUp> &runners, const sharding::Mesh &mesh);

} // namespace tenon
