// SPDX-License-Identifier: Apache-2.0
// MemoryTimeline: the memory uses of a problem on the fewest points of time that matter. Memory is
// highest at points after which something ends before anything else begins; between two of them
// nothing has to be looked at. Intervals of one node that cover the same points are added up.
//
// Example: [0,4), [1,3), [2,5), [6,7): begins at 0, 1, 2, 6, ends at 3, 4, 5, 7. Only 2 and 6
// matter.
#pragma once

#include "tenon/Solver/ShardingProblem.h"

namespace tenon::solver {

class MemoryTimeline {
public:
  explicit MemoryTimeline(const ShardingProblem &problem);

  /// Points begin .. end - 1, and bytes per strategy there.
  struct Span {
    int32_t begin = 0, end = 0;
    std::vector<int64_t> bytes;
  };

  int32_t points() const { return count; }
  const std::vector<Span> &spans(int32_t node) const { return byNode[node]; }

  /// Adds sign times what a strategy holds to the differences between neighbouring points;
  /// `changes` has points() + 1 of them.
  void apply(std::vector<int64_t> &changes, int32_t node, int32_t strategy, int64_t sign) const;
  /// The differences of a whole choice.
  std::vector<int64_t> changes(const std::vector<int32_t> &choice) const;

  /// Where and by how much memory exceeds a limit.
  struct Excess {
    double sum = 0;     ///< Over all points, in limits.
    int64_t most = 0;   ///< At the worst point, in bytes.
    int32_t worst = -1; ///< That point; -1 when nothing exceeds.
  };
  Excess excess(const std::vector<int64_t> &changes, int64_t limit) const;

private:
  int32_t count = 0;
  std::vector<std::vector<Span>> byNode;
};

/// Forbids strategies that exceed the limit even if every other node takes its leanest one.
void forbidWhatNeverFits(ShardingProblem &problem);

} // namespace tenon::solver
