// SPDX-License-Identifier: Apache-2.0
// RowVec: 16 lanes of f32 as one, two or four native registers. All levels reduce over the same
// lanes, so a sum has one shape; wider vectors than the machine's would be taken apart by the
// compiler.
#pragma once

#include "RowFamilies.h"

namespace tenon::runtime::cpu::TENON_ISA {

#if defined(__AVX512F__)
constexpr int kNative = 16;
#elif defined(__AVX2__)
constexpr int kNative = 8;
#else
constexpr int kNative = 4;
#endif
typedef float NativeVec __attribute__((vector_size(kNative * 4), aligned(4), may_alias));

static inline NativeVec loadNative(const float *p) {
  return *reinterpret_cast<const NativeVec *>(p);
}
static inline void storeNative(float *p, NativeVec v) { *reinterpret_cast<NativeVec *>(p) = v; }

constexpr int kLanes = 16;
constexpr int kParts = kLanes / kNative;

struct Lanes {
  NativeVec part[kParts];
};

static inline Lanes loadLanes(const float *p) {
  Lanes v;
  for (int i = 0; i < kParts; ++i)
    v.part[i] = loadNative(p + i * kNative);
  return v;
}
static inline Lanes splat(float x) {
  Lanes v;
  for (int i = 0; i < kParts; ++i)
    v.part[i] = x - NativeVec{};
  return v;
}
static inline Lanes operator+(Lanes a, const Lanes &b) {
  for (int i = 0; i < kParts; ++i)
    a.part[i] += b.part[i];
  return a;
}
static inline Lanes operator-(Lanes a, const Lanes &b) {
  for (int i = 0; i < kParts; ++i)
    a.part[i] -= b.part[i];
  return a;
}
/// sum + a * b, fused where the machine can.
static inline Lanes addProduct(Lanes sum, const Lanes &a, const Lanes &b) {
  for (int i = 0; i < kParts; ++i)
    sum.part[i] += a.part[i] * b.part[i];
  return sum;
}
/// The larger or the smaller of two vectors or floats; NaN wins.
struct Larger {
  template <typename T> T operator()(T a, T b) const { return ((a > b) | (a != a)) ? a : b; }
};
struct Smaller {
  template <typename T> T operator()(T a, T b) const { return ((a < b) | (a != a)) ? a : b; }
};
struct Plus {
  template <typename T> T operator()(T a, T b) const { return a + b; }
};

template <typename F> static inline Lanes combine(Lanes a, const Lanes &b, F f) {
  for (int i = 0; i < kParts; ++i)
    a.part[i] = f(a.part[i], b.part[i]);
  return a;
}

typedef float Vec4 __attribute__((vector_size(16)));

/// Combines the lanes pairwise: lane i with lane i + 8, then + 4, + 2, + 1.
template <typename F> static inline float foldLanes(const Lanes &v, F f) {
#if defined(__AVX512F__)
  auto low = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3, 4, 5, 6, 7);
  auto high = __builtin_shufflevector(v.part[0], v.part[0], 8, 9, 10, 11, 12, 13, 14, 15);
  auto eight = f(low, high);
#elif defined(__AVX2__)
  auto eight = f(v.part[0], v.part[1]);
#endif
#if defined(__AVX2__)
  Vec4 four = f(Vec4(__builtin_shufflevector(eight, eight, 0, 1, 2, 3)),
                Vec4(__builtin_shufflevector(eight, eight, 4, 5, 6, 7)));
#else
  Vec4 four = f(Vec4(f(v.part[0], v.part[2])), Vec4(f(v.part[1], v.part[3])));
#endif
  return f(f(four[0], four[2]), f(four[1], four[3]));
}

static inline float sumLanes(const Lanes &v) { return foldLanes(v, Plus{}); }

} // namespace tenon::runtime::cpu::TENON_ISA
