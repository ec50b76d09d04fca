// SPDX-License-Identifier: Apache-2.0
// Strategies that no optimum needs: b makes a superfluous when replacing a by b never costs more,
// whatever the rest chooses. Example: a costs 3, b costs 1, and their only edge has rows (0, 5) and
// (2, 6): b's row exceeds a's by at most 2, which the node costs make up for.
#pragma once

#include "tenon/Solver/ShardingProblem.h"

namespace tenon::solver {

/// Old numbers of the strategies that stay, per node; every node keeps at least one.
using KeptStrategies = std::vector<std::vector<int32_t>>;

/// Lists what is not dominated. The minimum over these strategies is the minimum over all.
KeptStrategies undominated(const ShardingProblem &problem);

/// The problem with these strategies only; strategy s of a node is kept[node][s] of before.
ShardingProblem restrictedTo(const ShardingProblem &problem, const KeptStrategies &kept);

} // namespace tenon::solver
