// SPDX-License-Identifier: Apache-2.0
// Checked: 64-bit sums and products that remember whether one overflowed, for numbers that come
// from a file. Reader and verifier share it.
#pragma once

#include "tenon/runtime/plan/Limits.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tenon::plan::checked {

inline std::optional<int64_t> add(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

inline std::optional<int64_t> multiply(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

/// Product of sizes that are not negative, at most limits::elements.
inline std::optional<int64_t> product(const std::vector<int64_t> &sizes) {
  int64_t result = 1;
  bool empty = false;
  for (int64_t size : sizes) {
    if (size < 0 || size > limits::elements)
      return std::nullopt;
    if (size == 0) {
      empty = true;
      continue;
    }
    auto next = multiply(result, size);
    if (!next || *next > limits::elements)
      return std::nullopt;
    result = *next;
  }
  return empty ? 0 : result;
}

/// Distance from the first to the last element of a region: sum of (size - 1) * stride, at most
/// limits::elements; 0 for an empty region. Fails on negative sizes and strides.
inline std::optional<int64_t> reach(const std::vector<int64_t> &sizes,
                                    const std::vector<int64_t> &strides) {
  if (sizes.size() != strides.size())
    return std::nullopt;
  int64_t result = 0;
  bool empty = false;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0 || strides[i] < 0 || sizes[i] > limits::elements)
      return std::nullopt;
    if (sizes[i] == 0) {
      empty = true;
      continue;
    }
    auto distance = multiply(sizes[i] - 1, strides[i]);
    auto next = distance ? add(result, *distance) : std::nullopt;
    if (!next || *next > limits::elements)
      return std::nullopt;
    result = *next;
  }
  return empty ? 0 : result;
}

/// Largest absolute value that a rank-dependent number may take: |base| + |stride| * n, at most
/// limits::elements. Start and Length lie in [0, n].
inline bool fits(const RankValue &value) {
  auto within = [](int64_t x) { return x >= -limits::elements && x <= limits::elements; };
  if (!within(value.base) || !within(value.stride) || value.n < 0 || !within(value.n))
    return false;
  auto largest = multiply(value.stride < 0 ? -value.stride : value.stride, value.n);
  auto total = largest ? add(value.base < 0 ? -value.base : value.base, *largest) : std::nullopt;
  return total && within(*total);
}

} // namespace tenon::plan::checked
