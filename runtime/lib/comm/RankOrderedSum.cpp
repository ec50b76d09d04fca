// SPDX-License-Identifier: Apache-2.0
// Works on blocks that stay in the first-level cache: widen, combine in rank order, round once.
#include "tenon/runtime/comm/RankOrderedSum.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <algorithm>
#include <type_traits>

namespace tenon::runtime {

Share shareOf(int64_t count, int member, int size) {
  int64_t each = (count + size - 1) / size;
  each = (each + 15) / 16 * 16;
  return {std::min(count, each * member), std::min(count, each * (member + 1))};
}

namespace {

using plan::DataType;
using plan::ReduceKind;

constexpr int64_t kBlock = 2048;

template <ReduceKind kind, typename T> inline T combine(T a, T b) {
  if constexpr (kind == ReduceKind::Sum) {
    if constexpr (std::is_same_v<T, uint8_t>)
      return a | b;
    else if constexpr (std::is_integral_v<T>)
      return T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
    else
      return a + b;
  } else if constexpr (kind == ReduceKind::Max) {
    return (a > b || a != a) ? a : b;
  } else {
    return (a < b || a != a) ? a : b;
  }
}

// Types that are reduced as they are.
template <typename T, ReduceKind kind>
void reducePlain(std::span<const void *const> parts, void *out, int64_t count) {
  T *result = static_cast<T *>(out);
  const T *a = static_cast<const T *>(parts[0]);
  if (parts.size() == 1) {
    if (a != result)
      std::copy_n(a, count, result);
    return;
  }
  if (parts.size() == 2) {
    const T *b = static_cast<const T *>(parts[1]);
    for (int64_t i = 0; i < count; ++i)
      result[i] = combine<kind>(a[i], b[i]);
    return;
  }
  T block[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    int64_t n = std::min(kBlock, count - begin);
    std::copy_n(a + begin, n, block);
    for (size_t part = 1; part < parts.size(); ++part) {
      const T *b = static_cast<const T *>(parts[part]) + begin;
      for (int64_t i = 0; i < n; ++i)
        block[i] = combine<kind>(block[i], b[i]);
    }
    std::copy_n(block, n, result + begin);
  }
}

// 16-bit floats: f32 in between.
template <float (*widen)(uint16_t), uint16_t (*round)(float), ReduceKind kind>
void reduceHalf(std::span<const void *const> parts, void *out, int64_t count) {
  uint16_t *result = static_cast<uint16_t *>(out);
  float block[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    int64_t n = std::min(kBlock, count - begin);
    const uint16_t *a = static_cast<const uint16_t *>(parts[0]) + begin;
    for (int64_t i = 0; i < n; ++i)
      block[i] = widen(a[i]);
    for (size_t part = 1; part < parts.size(); ++part) {
      const uint16_t *b = static_cast<const uint16_t *>(parts[part]) + begin;
      for (int64_t i = 0; i < n; ++i)
        block[i] = combine<kind>(block[i], widen(b[i]));
    }
    for (int64_t i = 0; i < n; ++i)
      result[begin + i] = round(block[i]);
  }
}

template <ReduceKind kind>
void reduceOf(std::span<const void *const> parts, void *out, int64_t count, DataType type) {
  switch (type) {
  case DataType::F32:
    return reducePlain<float, kind>(parts, out, count);
  case DataType::BF16:
    return reduceHalf<bf16ToF32, f32ToBf16, kind>(parts, out, count);
  case DataType::F16:
    return reduceHalf<f16ToF32, f32ToF16, kind>(parts, out, count);
  case DataType::I32:
    return reducePlain<int32_t, kind>(parts, out, count);
  case DataType::I64:
    return reducePlain<int64_t, kind>(parts, out, count);
  case DataType::I1:
    return reducePlain<uint8_t, kind>(parts, out, count);
  }
}

} // namespace

void rankOrderedReduce(std::span<const void *const> parts, void *out, int64_t count,
                       plan::DataType type, plan::ReduceKind kind) {
  switch (kind) {
  case ReduceKind::Sum:
    return reduceOf<ReduceKind::Sum>(parts, out, count, type);
  case ReduceKind::Max:
    return reduceOf<ReduceKind::Max>(parts, out, count, type);
  case ReduceKind::Min:
    return reduceOf<ReduceKind::Min>(parts, out, count, type);
  }
}

} // namespace tenon::runtime
