// SPDX-License-Identifier: Apache-2.0
// Products for attention and for matrix times vector: a register-blocked panel kernel, dot products and
// scaled row sums. The order of the sum over k is the same for every number of rows.
#include "RowMath.h"

#include <cstring>

namespace tenon::runtime::cpu::TENON_ISA {
namespace {

// Two native vectors per row of c and as many rows as leave a register for b and the broadcast: 12 x 2
// of 32 registers on AVX-512, 6 x 2 of 16 below.
#if defined(__AVX512F__)
constexpr int kWidth = 16, kRows = 12;
#elif defined(__AVX2__)
constexpr int kWidth = 8, kRows = 6;
#else
constexpr int kWidth = 4, kRows = 6;
#endif
typedef float Vec __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
constexpr int kPanel = 2 * kWidth;

inline Vec loadVec(const float *p) { return *reinterpret_cast<const Vec *>(p); }
inline void storeVec(float *p, Vec v) { *reinterpret_cast<Vec *>(p) = v; }

template <int Rows>
void productRows(const float *a, int64_t lda, const float *b, float *c, int64_t ldc, int64_t k) {
  Vec low[Rows] = {}, high[Rows] = {};
  for (int64_t i = 0; i < k; ++i) {
    Vec b0 = loadVec(b + i * kPanel), b1 = loadVec(b + i * kPanel + kWidth);
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) {
      float x = a[row * lda + i];
      low[row] += x * b0;
      high[row] += x * b1;
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
    storeVec(c + row * ldc, low[row]);
    storeVec(c + row * ldc + kWidth, high[row]);
  }
}

// Handles a rest of m < Rows rows in powers of two.
template <int Rows>
void productRest(const float *a, int64_t lda, const float *b, float *c, int64_t ldc, int64_t m,
                 int64_t k) {
  if constexpr (Rows > 0) {
    if (m & Rows) {
      productRows<Rows>(a, lda, b, c, ldc, k);
      a += Rows * lda;
      c += Rows * ldc;
    }
    productRest<Rows / 2>(a, lda, b, c, ldc, m, k);
  }
}

constexpr int kDotLanes = 16;
typedef float DotVec __attribute__((vector_size(kDotLanes * 4), aligned(4), may_alias));
inline DotVec loadDot(const float *p) { return *reinterpret_cast<const DotVec *>(p); }

inline float sumLanes(DotVec v) {
  float lanes[kDotLanes];
  std::memcpy(lanes, &v, sizeof(lanes));
  for (int width = kDotLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i)
      lanes[i] += lanes[i + width];
  return lanes[0];
}

template <int Rows>
void dotSome(const float *x, const float *w, int64_t stride, float *out, int64_t k) {
  DotVec even[Rows] = {}, odd[Rows] = {};
  int64_t i = 0;
  for (; i + 2 * kDotLanes <= k; i += 2 * kDotLanes) {
    DotVec x0 = loadDot(x + i), x1 = loadDot(x + i + kDotLanes);
#pragma GCC unroll 4
    for (int row = 0; row < Rows; ++row) {
      even[row] += x0 * loadDot(w + row * stride + i);
      odd[row] += x1 * loadDot(w + row * stride + i + kDotLanes);
    }
  }
  for (int row = 0; row < Rows; ++row) {
    float sum = sumLanes(even[row] + odd[row]);
    for (int64_t j = i; j < k; ++j)
      sum += x[j] * w[row * stride + j];
    out[row] = sum;
  }
}

} // namespace

extern const int64_t panelWidth = kPanel;

void productPanel(const float *a, int64_t lda, const float *b, float *c, int64_t ldc, int64_t m,
                  int64_t k) {
  for (; m >= kRows; m -= kRows, a += kRows * lda, c += kRows * ldc)
    productRows<kRows>(a, lda, b, c, ldc, k);
  productRest<8>(a, lda, b, c, ldc, m, k);
}

void packTransposedPanel(const float *b, int64_t stride, float *panel, int64_t rows,
                         int64_t columns) {
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i)
      panel[i * kPanel + j] = b[j * stride + i];
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = columns; j < kPanel; ++j)
      panel[i * kPanel + j] = 0.0f;
}

void dotRows(const float *x, const float *w, int64_t stride, float *out, int64_t n, int64_t k) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4)
    dotSome<4>(x, w + j * stride, stride, out + j, k);
  for (; j < n; ++j)
    dotSome<1>(x, w + j * stride, stride, out + j, k);
}

void addRows(const float *x, const float *w, int64_t stride, float *out, int64_t n, int64_t k) {
  int64_t i = 0;
  for (; i + 4 <= k; i += 4) {
    const float *w0 = w + i * stride, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    float x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j)
      out[j] = (((out[j] + x0 * w0[j]) + x1 * w1[j]) + x2 * w2[j]) + x3 * w3[j];
  }
  for (; i < k; ++i) {
    const float *row = w + i * stride;
    float scale = x[i];
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j)
      out[j] += scale * row[j];
  }
}

} // namespace tenon::runtime::cpu::TENON_ISA
