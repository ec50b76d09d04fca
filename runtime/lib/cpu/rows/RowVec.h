// SPDX-License-Identifier: Apache-2.0
// RowVec: 16 lanes of f32 as one, two or four native registers. All levels reduce over the same lanes, so a sum has
// one shape; wider vectors than the machine's would be taken apart by the compiler.
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
static inline void storeLanes(float *p, const Lanes &v) {
  for (int i = 0; i < kParts; ++i)
    storeNative(p + i * kNative, v.part[i]);
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
/// The larger or the smaller lane by lane; NaN wins.
static inline Lanes maxLanes(Lanes a, const Lanes &b) {
  for (int i = 0; i < kParts; ++i)
    a.part[i] = ((a.part[i] > b.part[i]) | (a.part[i] != a.part[i])) ? a.part[i] : b.part[i];
  return a;
}
static inline Lanes minLanes(Lanes a, const Lanes &b) {
  for (int i = 0; i < kParts; ++i)
    a.part[i] = ((a.part[i] < b.part[i]) | (a.part[i] != a.part[i])) ? a.part[i] : b.part[i];
  return a;
}

/// Adds the lanes pairwise: lane i to lane i + 8, then + 4, + 2, + 1.
static inline float sumLanes(const Lanes &v) {
  float lanes[kLanes];
  storeLanes(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i)
      lanes[i] += lanes[i + width];
  return lanes[0];
}

} // namespace tenon::runtime::cpu::TENON_ISA
