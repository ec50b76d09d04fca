// SPDX-License-Identifier: Apache-2.0
// Nested blocks: which part of a dimension a rank owns. This is the only place that computes it;
// the compiler's sharding library, the loader, the verifier and the executor all call it.
//
// A dimension of n elements cut over axes of sizes p1..pk (major to minor) has block sizes b1 =
// ceil(n/p1), b2 = ceil(b1/p2), ..., equal on all ranks. Coordinate c owns [min(m, c*b), min(m,
// (c+1)*b)) of its parent block, where m is the length that the parent owns. 5 over 2x2: starts 0,
// 2, 3, 5; lengths 2, 1, 2, 0. 12 over 5: lengths 3, 3, 3, 3, 0.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::plan {

/// A rank's part of a dimension: elements [start, start + length), held in a buffer of `size`
/// elements of which the last size - length are padding.
struct Block {
  int64_t start = 0;
  int64_t length = 0;
  int64_t size = 0;
};

/// Returns the block size of n over axes of these sizes: n when there are none.
int64_t blockSize(int64_t n, const std::vector<int64_t> &axisSizes);

/// Returns the block at `coordinates` (one per axis, coordinate i in [0, axisSizes[i])). Needs n >=
/// 0.
Block block(int64_t n, const std::vector<int64_t> &axisSizes,
            const std::vector<int64_t> &coordinates);

} // namespace tenon::plan
