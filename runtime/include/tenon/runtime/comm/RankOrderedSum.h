// SPDX-License-Identifier: Apache-2.0
// RankOrderedSum: the one reduction of all communicators. Floats are added in rank order in f32 and
// rounded once to their type, so the result does not depend on message sizes, transport or who
// computes it:
// ((x0 + x1) + x2) + ... for each element. Integers wrap. I1 sums to "any". Max and min let NaN
// win.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <span>

namespace tenon::runtime {

/// out[i] = reduction over parts[0][i], parts[1][i], ... `out` may be one of the parts.
void rankOrderedReduce(std::span<const void *const> parts, void *out, int64_t count,
                       plan::DataType type, plan::ReduceKind kind);

/// Elements of `count` that member `member` of `size` reduces for all: [begin, end), equal shares
/// rounded up to 16 elements, the last ones shorter or empty.
struct Share {
  int64_t begin = 0, end = 0;
};
Share shareOf(int64_t count, int member, int size);

} // namespace tenon::runtime
