// SPDX-License-Identifier: Apache-2.0
// Reductions along a row: sums, softmax, norms, and rope beside them. Sums go over 4 accumulators
// of 16 lanes, added pairwise at the end: an order of its own, the same on every level.
#include "RowMath.h"
#include "RowVec.h"

namespace tenon::runtime::cpu::TENON_ISA {
namespace {

inline float sumRow(const float *x, int64_t n) {
  Lanes a = splat(0), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = a + loadLanes(x + i);
    b = b + loadLanes(x + i + kLanes);
    c = c + loadLanes(x + i + 2 * kLanes);
    d = d + loadLanes(x + i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes)
    a = a + loadLanes(x + i);
  float sum = sumLanes((a + b) + (c + d));
  for (; i < n; ++i)
    sum += x[i];
  return sum;
}

// Sum of (x - mean)^2.
inline float squareRow(const float *x, float mean, int64_t n) {
  Lanes a = splat(0), b = a, c = a, d = a;
  const Lanes means = splat(mean);
  auto add = [&means](const Lanes &sum, const float *from) {
    Lanes v = loadLanes(from) - means;
    return addProduct(sum, v, v);
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = add(a, x + i);
    b = add(b, x + i + kLanes);
    c = add(c, x + i + 2 * kLanes);
    d = add(d, x + i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes)
    a = add(a, x + i);
  float sum = sumLanes((a + b) + (c + d));
  for (; i < n; ++i)
    sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

template <typename F> inline float extremeOf(const float *x, int64_t n, float identity, F f) {
  Lanes a = splat(identity), b = a;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a = combine(a, loadLanes(x + i), f);
    b = combine(b, loadLanes(x + i + kLanes), f);
  }
  float best = foldLanes(combine(a, b, f), f);
  for (; i < n; ++i)
    best = f(best, x[i]);
  return best;
}

inline float maxRow(const float *x, int64_t n) {
  return extremeOf(x, n, -__builtin_inff(), Larger{});
}

} // namespace

float reduceRow(plan::ReduceKind kind, const float *x, int64_t n) {
  switch (kind) {
  case plan::ReduceKind::Sum:
    return sumRow(x, n);
  case plan::ReduceKind::Max:
    return maxRow(x, n);
  case plan::ReduceKind::Min:
    return extremeOf(x, n, __builtin_inff(), Smaller{});
  }
  __builtin_unreachable();
}

void accumulateRow(plan::ReduceKind kind, float *acc, const float *x, int64_t n) {
  switch (kind) {
  case plan::ReduceKind::Sum:
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      acc[i] += x[i];
    return;
  case plan::ReduceKind::Max:
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      acc[i] = Larger{}(acc[i], x[i]);
    return;
  case plan::ReduceKind::Min:
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      acc[i] = Smaller{}(acc[i], x[i]);
    return;
  }
}

static void expMinus(const float *x, float *out, float max, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    out[i] = expNegative(x[i] - max);
}

void scaleRow(float *x, float factor, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    x[i] *= factor;
}

void softmaxRow(const float *x, float *out, int64_t n) {
  expMinus(x, out, maxRow(x, n), n);
  scaleRow(out, 1.0f / sumRow(out, n), n);
}

float expSumRow(float *x, int64_t n) {
  float max = maxRow(x, n);
  if (max == -__builtin_inff()) {
    for (int64_t i = 0; i < n; ++i)
      x[i] = 0.0f;
    return 0.0f;
  }
  expMinus(x, x, max, n);
  return sumRow(x, n);
}

void normRow(const NormRow &row) {
  const int64_t n = row.n;
  const float *x = row.x;
  if (row.residual) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      row.sum[i] = row.x[i] + row.residual[i];
    x = row.sum;
  } else if (row.sum && row.sum != x) {
    for (int64_t i = 0; i < n; ++i)
      row.sum[i] = x[i];
  }
  const float mean = row.rms ? 0.0f : sumRow(x, n) / float(n);
  const float square = squareRow(x, mean, n);
  const float inverse = 1.0f / __builtin_sqrtf(square / float(n) + row.eps);
  const float *scale = row.scale, *bias = row.bias;
  float *out = row.out;
  if (scale && bias) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      out[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
  } else if (scale) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      out[i] = (x[i] - mean) * inverse * scale[i];
  } else {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i)
      out[i] = (x[i] - mean) * inverse;
    if (bias)
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i)
        out[i] += bias[i];
  }
}

void ropeRow(const float *x, const float *cosines, const float *sines, float *out, int64_t half,
             int64_t n, bool interleaved) {
  if (interleaved) {
#pragma GCC ivdep
    for (int64_t i = 0; i < half; ++i) {
      float a = x[2 * i], b = x[2 * i + 1];
      out[2 * i] = a * cosines[i] - b * sines[i];
      out[2 * i + 1] = b * cosines[i] + a * sines[i];
    }
  } else {
#pragma GCC ivdep
    for (int64_t i = 0; i < half; ++i) {
      float a = x[i], b = x[i + half];
      out[i] = a * cosines[i] - b * sines[i];
      out[i + half] = b * cosines[i] + a * sines[i];
    }
  }
  if (out != x)
    for (int64_t i = 2 * half; i < n; ++i)
      out[i] = x[i];
}

} // namespace tenon::runtime::cpu::TENON_ISA
