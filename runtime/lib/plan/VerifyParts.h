// SPDX-License-Identifier: Apache-2.0
// The parts of Verify, one file each. A Complaint is the text of what is wrong, empty when nothing
// is; the caller puts the place in front.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace tenon::plan {

using Complaint = std::string;

/// "[4, 8]".
std::string text(const std::vector<int64_t> &values);

/// Checks that axes are distinct indices into the mesh.
Complaint checkAxes(const Plan &plan, const Axes &axes);
/// Sizes of these mesh axes. Needs checked axes.
std::vector<int64_t> axisSizes(const Plan &plan, const Axes &axes);
/// checkAxes, and that the number cannot overflow.
Complaint checkRankValue(const Plan &plan, const RankValue &value);
/// Checks sizes that are cut over axes, one list per dimension, no axis twice; appends the block
/// sizes to `blocks`.
Complaint checkCut(const Plan &plan, const std::vector<int64_t> &sizes,
                   const std::vector<Axes> &dimAxes, std::vector<int64_t> &blocks);
/// True when no two indices of the region name the same element, by a test that is sufficient:
/// in order of strides, each is larger than the reach of those before it.
bool hasDistinctElements(const std::vector<int64_t> &sizes, const std::vector<int64_t> &strides);

/// VerifyWeights.cpp: views, parts, disjointness.
Complaint checkWeight(const Plan &plan, const Weight &weight);

/// VerifyOps.cpp: everything about one op that needs neither other ops nor a rank.
Complaint checkOp(const Plan &plan, const Entry &entry, const Op &op);

/// One access, as ranges of elements of its buffer. `first > last` when it touches nothing.
struct RangeAccess {
  int32_t op = 0;
  int32_t buffer = 0;
  bool write = false;
  int64_t first = 0, last = -1;
  /// The part that a write surely defines or a read needs; differs from the above for `fill` with
  /// `from`.
  int64_t definedFirst = 0, definedLast = -1;
  int64_t elements = 0; ///< Distinct elements of that part; 0 for a read when unknown.
};

/// VerifyOrder.cpp: streams and events of an entry, as vector clocks. A position on stream 0 counts
/// from 1: 0 is the start of the entry.
class Order {
public:
  /// Checks events, begin and end of streams, and the order of collectives.
  Complaint build(const Entry &entry);

  struct Clock {
    int32_t done[2] = {0, 0}; ///< Positions of each stream that are known to be complete.
  };
  int32_t stream(int32_t op) const { return streams[op]; }
  int32_t position(int32_t op) const { return positions[op]; }
  /// What is complete before the op begins.
  const Clock &before(int32_t op) const { return clocks[op]; }
  /// What is complete at the end of the entry.
  const Clock &end() const { return last; }
  bool happensBefore(int32_t a, int32_t b) const {
    return positions[a] < clocks[b].done[streams[a]];
  }

private:
  std::vector<int32_t> streams, positions;
  std::vector<Clock> clocks;
  Clock last;
};

/// VerifyHazards.cpp: definedness, order of conflicting accesses, lifetimes in the arena.
/// `accesses` are in list order, reads of an op before its writes.
Complaint checkHazards(const Entry &entry, const Order &order,
                       const std::vector<RangeAccess> &accesses);

/// "op 17 (matmul at encoder.layer.3.output.dense)".
std::string describeOp(const Entry &entry, int32_t op);

} // namespace tenon::plan
