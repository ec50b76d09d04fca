// SPDX-License-Identifier: Apache-2.0
// BoundPruning: values that no solution better than a known one can have. Costs are shifted between
// tables and variables so that the sum of all minima, a lower bound, grows (sequential reweighted
// message passing: Kolmogorov 2006, TRW-S; 2015, SRMP, for tables of several variables). Where the
// bound with a variable at a value exceeds the known objective, the value goes. No solution that is
// better is lost; ones that are equal may be.
//
// Example: a - b with costs a (0, 5), b (0, 0), edge (0, 9; 9, 0), known objective 4: a = 1 costs 5
// whatever b does, and goes; then b = 1 costs 9, and goes.
#pragma once

#include "CostNetwork.h"

#include <functional>

namespace tenon::solver {

struct Pruning {
  double bound = 0;                   ///< At most the best objective known.
  std::vector<std::vector<char>> may; ///< Per variable and value: a better solution may have it.
  int64_t removed = 0;
};

/// Up to `passes` passes over all variables, fewer when the bound has stopped growing. After each
/// one, a solution that follows the shifted costs is shown to `offer`, which returns the best
/// objective known; infinity when there is none. Every value of a variable may be removed: then
/// nothing is better than that. Ends as soon as the bound meets
/// it, or more than the share `enough` of the values is gone: the rest may be better looked at in a
/// smaller network.
Pruning pruneByBound(const CostNetwork &network, int passes, double enough,
                     const std::function<double(const std::vector<int32_t> &)> &offer);

} // namespace tenon::solver
