// SPDX-License-Identifier: Apache-2.0
// BufferPacking: gives each arena buffer of an entry an offset. Plain structs in and out.
//
// Two buffers may share bytes only when every access of one is finished, in happens-before order,
// before any access of the other begins. So the life of a buffer that a collective reads on stream
// 1 reaches to the wait that orders that read before the new owner's first write on stream 0.
// Packing such lives is NP-hard (dynamic storage allocation); greedy placement in a few orders,
// then repeated with the topmost buffers moved to the front, comes within some percent of the bound
// on programs of layers. Worst case O(buffers * conflicts * rounds), deterministic.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <utility>

namespace tenon::plan {

/// Multiple that offsets and sizes in the arena are rounded up to.
inline constexpr int64_t kArenaAlignment = 64;

/// Buffers as the packer sees them: sizes in bytes, and pairs (a < b) that must not share bytes.
struct PackingProblem {
  std::vector<int64_t> bytes; ///< Multiples of 64; 0 for buffers that need no place.
  std::vector<int64_t> first; ///< Position of the first and last access in the list of ops; only
  std::vector<int64_t>
      last; ///< for orders and the bound. -1 and the number of ops stand for the borders.
  std::vector<std::pair<int, int>> conflicts;
};

/// The problem of an entry whose streams and events are set. Inputs live for the whole step,
/// outputs to its end.
PackingProblem packingProblem(const plan::Entry &entry);

/// Largest sum of bytes live at one position of the list: no packing is smaller.
int64_t liveBytesBound(const PackingProblem &problem);

/// Returns the offset of each buffer.
std::vector<int64_t> pack(const PackingProblem &problem);

/// Returns the size of the arena, or -1 when two buffers in conflict overlap.
int64_t evaluate(const PackingProblem &problem, const std::vector<int64_t> &offsets);

/// Lets all_reduces write over their operand where it dies there: same region, which covers the
/// whole buffer. Removes the buffers that this leaves without accesses.
void coalesceInPlace(plan::Entry &entry);

} // namespace tenon::plan
