// SPDX-License-Identifier: Apache-2.0
// LocalActions: what one rank does for one step of a reshard, in terms of its own block: pad,
// split, transpose, one flat collective, transpose back, merge and cut. The compiler lowers these
// one to one to strided copies.
//
// Worked example: all_gather of a dimension of 5 over axes a, b of sizes 2, 2. Blocks are 2 per
// rank (2, 1, 2, 0 owned).
//   collective all_gather   [2]       -> [4, 2]      four blocks in member order
//   reshape                           -> [2, 2, 2]
//   reshape, cut (minor)              -> [2, 4] -> [2, 3]   the parent's block is 3
//   reshape, cut (major)              -> [6] -> [5]
// A plain cut of [8] to [5] would give 0, 1, 2, pad, 3.
#pragma once

#include "tenon/Sharding/Reshard.h"

namespace tenon::sharding {

struct LocalAction {
  enum class Kind : uint8_t {
    Pad,     ///< Dimension `dim` grows to `size`, zeros at the end.
    Cut,     ///< Dimension `dim` shrinks to `size`.
    Select,  ///< Dimension `dim` is p equal pieces, p = product of `axes`; keeps the piece of this
             ///< rank's coordinate.
    Reshape, ///< To `shape`, row-major.
    Transpose,  ///< Dimension i of the result is dimension `permutation[i]`.
    Collective, ///< The step's collective over `axes` on the flat local tensor; `shape` is its
                ///< result's.
  };
  Kind kind;
  int dim = -1;
  int64_t size = 0;
  AxisList axes;
  std::vector<int> permutation;
  std::vector<int64_t> shape; ///< Shape after this action, for every kind.
};

/// Lists the actions of one step on a value of this global shape. Zero padding is inserted at every
/// level, major first; gathers cut at every level, minor first.
std::vector<LocalAction> expand(const Step &step, const Sharding &before,
                                const std::vector<int64_t> &shape, const Mesh &mesh);

} // namespace tenon::sharding
