// SPDX-License-Identifier: Apache-2.0
// MemoryFrontier: time against memory, for --tp-report=pareto.
#pragma once

#include "ProblemBuilder.h"

namespace tenon {

/// The best choice found within a budget.
struct FrontierPoint {
  int64_t budget = 0, peak = 0; ///< Bytes per rank.
  double objective = 0, bound = 0;
};

/// Solves the problem, which must hold its memory uses, for budgets from the least that is known to
/// do up to what the fastest choice holds, in equal ratios. Points that another one beats in both
/// time and memory are left out. Sorted by peak.
std::vector<FrontierPoint> memoryFrontier(solver::ShardingProblem problem,
                                          const solver::SearchLimits &limits, int budgets = 8);

/// Prints the points as a table.
void printFrontier(llvm::ArrayRef<FrontierPoint> points, llvm::raw_ostream &os);

} // namespace tenon
