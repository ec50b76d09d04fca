// SPDX-License-Identifier: Apache-2.0
// A sharding problem as a network of cost tables. Variable i is node i; variables behind the nodes
// are helpers.
//
// A group with few combinations becomes one table over the producer and the users. Any other group
// becomes, per target that costs anything, a helper y with values "not paid" and "paid":
//   table(producer, y)  = 0, price[form(producer)][target]
//   table(user, y)      = infinity where the user demands the target and y is "not paid", else 0
// Minimising pays each demanded target once: exact for any number of users and targets. A target
// that only one user can demand is a table over the producer and that user. (A mask that 96 layers
// read: two targets, two helpers.)
#pragma once

#include "CostNetwork.h"
#include "tenon/Solver/ShardingProblem.h"

namespace tenon::solver {

/// Combinations up to which a group is one table.
inline constexpr int64_t kGroupTableLimit = 1 << 14;

/// Builds the network. Keeps pointers into the problem.
CostNetwork buildNetwork(const ShardingProblem &problem,
                         int64_t groupTableLimit = kGroupTableLimit);

/// A network that costs at most as much, without helpers: in groups of more combinations each of k
/// users pays 1/k of what it demands, which is exact while all demand the same.
CostNetwork buildRelaxation(const ShardingProblem &problem,
                            int64_t groupTableLimit = kGroupTableLimit);

} // namespace tenon::solver
