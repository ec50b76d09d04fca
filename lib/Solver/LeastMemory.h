// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "MemoryTimeline.h"

namespace tenon::solver {

/// Of each node the strategy that holds least over time; among equals the cheapest. Together they
/// may be forbidden.
std::vector<int32_t> leanest(const ShardingProblem &problem, const MemoryTimeline &timeline);

} // namespace tenon::solver
