// SPDX-License-Identifier: Apache-2.0
// Random sharding problems, small enough to try everything.
#pragma once

#include "tenon/Solver/ShardingProblem.h"

#include <random>

namespace tenon::solver::test {

enum class Shape { Tree, Grid, Random };

struct RandomOptions {
  Shape shape = Shape::Random;
  int nodes = 5;
  int strategies = 3; ///< At most; each node has at least one.
  int groups = 0;
  double forbidden = 0;  ///< Share of infinite costs.
  bool integers = false; ///< Small integer costs: many ties, exact sums.
  int uses = 0;          ///< Memory uses, within ten points in time; no limit is set.
};

ShardingProblem randomProblem(const RandomOptions &options, std::mt19937 &random);

} // namespace tenon::solver::test
