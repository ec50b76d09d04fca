// SPDX-License-Identifier: Apache-2.0
// StreamSchedule: which stream runs what, which events join the streams, and what follows from
// them: the happens-before order. Plain structs in and out.
//
// Example: op 0 writes b on stream 0, op 1 all-reduces b on stream 1, op 2 reads b on stream 0.
// Result:
//   0 matmul -> b     stream 0      3 all_reduce b    stream 1
//   1 record e0       stream 0      4 record e1       stream 1
//   2 wait e0         stream 1      5 wait e1         stream 0
//                                   6 ... reads b     stream 0
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <array>

namespace tenon::plan {

inline constexpr int kStreams = 2;

/// Puts collectives on stream 1 and everything else on stream 0, keeps the order, and joins the
/// streams by pairs of records and waits: one for each hazard (by the elements that two operands
/// span; all of the buffer where an offset depends on the rank) that earlier pairs do not imply,
/// one before the first op of stream 1, and one behind its last. Drops records and waits of the
/// input. Sets `events`.
void scheduleStreams(plan::Entry &entry);

/// The happens-before order of an entry with streams and events.
class HappensBefore {
public:
  explicit HappensBefore(const plan::Entry &entry);

  /// True when op `a` is finished before op `b` may begin. False for a == b.
  bool operator()(int64_t a, int64_t b) const;

  /// First op at or behind `from` in the list of `stream` behind which every op of that stream runs
  /// after `a`; the number of ops when there is none.
  int64_t firstAfter(int64_t a, int stream) const;

private:
  std::vector<int> stream;
  /// Per op and stream: the last op of that stream that is finished when it begins, or -1.
  std::vector<std::array<int64_t, kStreams>> known;
  std::array<std::vector<int64_t>, kStreams> ops;
};

} // namespace tenon::plan
