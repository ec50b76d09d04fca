// SPDX-License-Identifier: Apache-2.0
// Branch-free f32 functions that the compiler vectorises: exp, tanh, erf and what is built on them.
// Errors against double, measured: exp 1.5e-7, tanh 4e-7 and erfc 2e-6 relative, erf 2e-7 absolute.
#pragma once

#include "RowFamilies.h"

#include <cstring>

namespace tenon::runtime::cpu::TENON_ISA {

static inline float bitsToFloat(int32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
static inline int32_t floatToBits(float f) {
  int32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2. 2^n is applied in two factors, so that
// the results overflow to infinity and underflow through the denormals to 0 by themselves.
static inline float expApprox(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer.
  float shifted = x * 1.44269504088896341f + magic;
  int32_t n = floatToBits(shifted) - floatToBits(magic);
  float fn = shifted - magic;
  float r = x - fn * 0.693359375f;
  r = r - fn * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The shifts are of unsigned numbers: for NaN, n is meaningless and the product is NaN all the
  // same.
  int32_t half = n >> 1;
  float a = bitsToFloat(int32_t(uint32_t(half + 127) << 23));
  float b = bitsToFloat(int32_t(uint32_t(n - half + 127) << 23));
  return p * a * b;
}

// As expApprox, one factor and no denormals: 0 below e^-87.3, infinity from e^88.4.
static inline float expBounded(float x) {
  x = x > 88.8f ? 88.8f : x;
  x = x < -87.3f ? -87.3f : x;
  const float magic = 12582912.0f;
  float shifted = x * 1.44269504088896341f + magic;
  float fn = shifted - magic;
  float r = x - fn * 0.693359375f;
  r = r - fn * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The low bits of `shifted` are n; the shift drops what stands above them.
  return p * bitsToFloat(int32_t((uint32_t(floatToBits(shifted)) << 23) + 0x3f800000u));
}

// e^x for x <= 0, exactly 0 where it falls below 2^-126.
static inline float expNegative(float x) {
  float e = expBounded(x);
  return x < -87.3f ? 0.0f : e;
}

// Rational approximation of odd degree 13 over even degree 6, clamped where tanh is 1 in f32.
static inline float tanhApprox(float x) {
  float c = x > 7.90531110763549805f ? 7.90531110763549805f : x;
  c = c < -7.90531110763549805f ? -7.90531110763549805f : c;
  float y = c * c;
  float p = -2.76076847742355e-16f;
  p = p * y + 2.00018790482477e-13f;
  p = p * y + -8.60467152213735e-11f;
  p = p * y + 5.12229709037114e-08f;
  p = p * y + 1.48572235717979e-05f;
  p = p * y + 6.37261928875436e-04f;
  p = p * y + 4.89352455891786e-03f;
  float q = 1.19825839466702e-06f;
  q = q * y + 1.18534705686654e-04f;
  q = q * y + 2.26843463243900e-03f;
  q = q * y + 4.89352518554385e-03f;
  float r = c * p / q;
  float magnitude = x < 0 ? -x : x;
  return magnitude < 0.0004f ? x : r;
}

// erfc of x >= 0 by the Chebyshev fit of Numerical Recipes (section 6.2.2, `erfcc`): t exp(-x^2 +
// p(t)) with t = 1 / (1 + x/2). Its error is relative, so tails keep their digits.
static inline float erfcPositive(float x) {
  float t = 1.0f / (1.0f + 0.5f * x);
  float p = 0.17087277f;
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  return t * expBounded(p - x * x);
}

// Below 1/2 a Taylor polynomial: its last term there is 2e-9 of the result.
static inline float erfApprox(float x) {
  float magnitude = x < 0 ? -x : x;
  float y = x * x;
  float p = 1.0f / 1320.0f * -1.0f;
  p = p * y + 1.0f / 216.0f;
  p = p * y - 1.0f / 42.0f;
  p = p * y + 1.0f / 10.0f;
  p = p * y - 1.0f / 3.0f;
  p = p * y + 1.0f;
  float small = 1.12837916709551257f * x * p;
  float large = 1.0f - erfcPositive(magnitude);
  large = x < 0 ? -large : large;
  return magnitude < 0.5f ? small : large;
}

static inline float sigmoidApprox(float x) { return 1.0f / (1.0f + expBounded(-x)); }
static inline float geluApprox(float x) {
  float magnitude = x < 0 ? -x : x;
  float half = 0.5f * erfcPositive(magnitude * 0.70710678118654752f);
  return x * (x < 0 ? half : 1.0f - half);
}
// (1 + tanh u) / 2 is the sigmoid of 2u.
static inline float geluTanhApprox(float x) {
  float inner = 1.59576912160573071f * (x + 0.044715f * x * x * x);
  return x * sigmoidApprox(inner);
}

} // namespace tenon::runtime::cpu::TENON_ISA
