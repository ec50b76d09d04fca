// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 rows and buffers of any type.
#include "RowFamilies.h"

#include <cstring>

namespace tenon::runtime::cpu::TENON_ISA {
namespace {

struct Bf16 {
  uint16_t bits;
};

inline float widen(float x) { return x; }
inline float widen(Bf16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline float widen(_Float16 x) { return float(x); }
inline float widen(int32_t x) { return float(x); }
inline float widen(int64_t x) { return float(x); }
inline float widen(uint8_t x) { return x ? 1.0f : 0.0f; }

inline void narrow(float x, float &out) { out = x; }
inline void narrow(float x, Bf16 &out) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  // A NaN keeps its sign and becomes quiet: rounding could carry it into infinity.
  uint32_t quiet = (bits >> 16) | 0x40u;
  out.bits = uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}
inline void narrow(float x, _Float16 &out) { out = _Float16(x); }
inline void narrow(float x, int32_t &out) {
  out = x != x ? 0 : x >= 2147483648.0f ? INT32_MAX : x <= -2147483648.0f ? INT32_MIN : int32_t(x);
}
inline void narrow(float x, int64_t &out) {
  out = x != x                         ? 0
        : x >= 9223372036854775808.0f  ? INT64_MAX
        : x <= -9223372036854775808.0f ? INT64_MIN
                                       : int64_t(x);
}
inline void narrow(float x, uint8_t &out) { out = x != 0.0f; }

template <typename T> void loadAs(const void *source, int64_t stride, float *dst, int64_t n) {
  const T *src = static_cast<const T *>(source);
  if (stride == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      dst[i] = widen(src[i]);
  } else if (stride == 0) {
    if (n == 0)
      return;
    float value = widen(src[0]);
    for (int64_t i = 0; i < n; ++i)
      dst[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i)
      dst[i] = widen(src[i * stride]);
  }
}

template <typename T> void storeAs(void *destination, int64_t stride, const float *src, int64_t n) {
  T *dst = static_cast<T *>(destination);
  if (stride == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      narrow(src[i], dst[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)
      narrow(src[i], dst[i * stride]);
  }
}

} // namespace

void loadRow(plan::DataType type, const void *src, int64_t stride, float *dst, int64_t n) {
  switch (type) {
  case plan::DataType::F32:
    return loadAs<float>(src, stride, dst, n);
  case plan::DataType::BF16:
    return loadAs<Bf16>(src, stride, dst, n);
  case plan::DataType::F16:
    return loadAs<_Float16>(src, stride, dst, n);
  case plan::DataType::I32:
    return loadAs<int32_t>(src, stride, dst, n);
  case plan::DataType::I64:
    return loadAs<int64_t>(src, stride, dst, n);
  case plan::DataType::I1:
    return loadAs<uint8_t>(src, stride, dst, n);
  }
}

void storeRow(plan::DataType type, void *dst, int64_t stride, const float *src, int64_t n) {
  switch (type) {
  case plan::DataType::F32:
    return storeAs<float>(dst, stride, src, n);
  case plan::DataType::BF16:
    return storeAs<Bf16>(dst, stride, src, n);
  case plan::DataType::F16:
    return storeAs<_Float16>(dst, stride, src, n);
  case plan::DataType::I32:
    return storeAs<int32_t>(dst, stride, src, n);
  case plan::DataType::I64:
    return storeAs<int64_t>(dst, stride, src, n);
  case plan::DataType::I1:
    return storeAs<uint8_t>(dst, stride, src, n);
  }
}

} // namespace tenon::runtime::cpu::TENON_ISA
