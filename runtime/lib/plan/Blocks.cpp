// SPDX-License-Identifier: Apache-2.0
// Nested blocks of one dimension: see the header for the rule and its examples.
#include "tenon/runtime/plan/Blocks.h"

#include <algorithm>
#include <cassert>
#include <cstddef>

namespace tenon::plan {

static int64_t ceilDiv(int64_t n, int64_t p) { return n / p + (n % p != 0); }

int64_t blockSize(int64_t n, const std::vector<int64_t> &axisSizes) {
  assert(n >= 0);
  for (int64_t p : axisSizes) {
    assert(p >= 1);
    n = ceilDiv(n, p);
  }
  return n;
}

Block block(int64_t n, const std::vector<int64_t> &axisSizes,
            const std::vector<int64_t> &coordinates) {
  assert(n >= 0 && axisSizes.size() == coordinates.size());
  Block result{0, n, n};
  for (size_t i = 0; i < axisSizes.size(); ++i) {
    assert(axisSizes[i] >= 1 && coordinates[i] >= 0 && coordinates[i] < axisSizes[i]);
    result.size = ceilDiv(result.size, axisSizes[i]);
    int64_t begin = std::min(result.length, coordinates[i] * result.size);
    int64_t end = std::min(result.length, (coordinates[i] + 1) * result.size);
    result.start += begin;
    result.length = end - begin;
  }
  return result;
}

} // namespace tenon::plan
