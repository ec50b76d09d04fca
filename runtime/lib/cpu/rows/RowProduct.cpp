// SPDX-License-Identifier: Apache-2.0
// Products for attention and for matrix times vector: a register-blocked panel kernel, dot products
// and scaled row sums. The order of the sum over k is the same for every number of rows.
#include "RowVec.h"

namespace tenon::runtime::cpu::TENON_ISA {
namespace {

// Two native vectors per row of c and as many rows as leave a register for b and the broadcast: 12
// x 2 of 32 registers on AVX-512, 6 x 2 of 16 below.
constexpr int kRows = kNative == 16 ? 12 : 6;
constexpr int kPanel = 2 * kNative;

template <int Rows>
void productRows(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                 int64_t k) {
  NativeVec low[Rows] = {}, high[Rows] = {};
  for (int64_t i = 0; i < k; ++i) {
    NativeVec b0 = loadNative(b + i * ldb), b1 = loadNative(b + i * ldb + kNative);
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) {
      float x = a[row * lda + i];
      low[row] += x * b0;
      high[row] += x * b1;
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
    storeNative(c + row * ldc, low[row]);
    storeNative(c + row * ldc + kNative, high[row]);
  }
}

// Handles a rest of m < Rows rows in powers of two.
template <int Rows>
void productRest(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                 int64_t m, int64_t k) {
  if constexpr (Rows > 0) {
    if (m & Rows) {
      productRows<Rows>(a, lda, b, ldb, c, ldc, k);
      a += Rows * lda;
      c += Rows * ldc;
    }
    productRest<Rows / 2>(a, lda, b, ldb, c, ldc, m, k);
  }
}

// Rows of x times columns (rows of w): each product has its own 2 x 16 lanes, whatever stands
// beside it.
template <int Rows, int Columns>
void dotBlock(const float *x, int64_t ldx, const float *w, int64_t ldw, float *out, int64_t ldo,
              int64_t k) {
  Lanes even[Rows][Columns], odd[Rows][Columns];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c)
      even[r][c] = odd[r][c] = splat(0);
  int64_t i = 0;
  auto step = [&](Lanes(&sums)[Rows][Columns], int64_t at) {
    Lanes columns[Columns];
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c)
      columns[c] = loadLanes(w + c * ldw + at);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      Lanes row = loadLanes(x + r * ldx + at);
#pragma GCC unroll 8
      for (int c = 0; c < Columns; ++c)
        sums[r][c] = addProduct(sums[r][c], row, columns[c]);
    }
  };
  for (; i + 2 * kLanes <= k; i += 2 * kLanes) {
    step(even, i);
    step(odd, i + kLanes);
  }
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Columns; ++c) {
      float sum = sumLanes(even[r][c] + odd[r][c]);
      for (int64_t j = i; j < k; ++j)
        sum += x[r * ldx + j] * w[c * ldw + j];
      out[r * ldo + c] = sum;
    }
}

// As many accumulators as there are registers: narrower machines take fewer columns at once.
constexpr int kColumns = kNative == 16 ? 4 : 1;

// The columns stay in the first-level cache while the rows pass.
template <int Columns>
void dotColumns(const float *x, int64_t ldx, int64_t m, const float *w, int64_t ldw, float *out,
                int64_t ldo, int64_t k) {
  for (; m >= 2; m -= 2, x += 2 * ldx, out += 2 * ldo)
    dotBlock<2, Columns>(x, ldx, w, ldw, out, ldo, k);
  if (m)
    dotBlock<1, Columns>(x, ldx, w, ldw, out, ldo, k);
}

} // namespace

extern const int64_t panelWidth = kPanel;

void productPanel(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                  int64_t m, int64_t k) {
  for (; m >= kRows; m -= kRows, a += kRows * lda, c += kRows * ldc)
    productRows<kRows>(a, lda, b, ldb, c, ldc, k);
  productRest<8>(a, lda, b, ldb, c, ldc, m, k);
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

void dotRows(const float *x, int64_t ldx, int64_t m, const float *w, int64_t ldw, float *out,
             int64_t ldo, int64_t n, int64_t k) {
  int64_t j = 0;
  for (; j + kColumns <= n; j += kColumns)
    dotColumns<kColumns>(x, ldx, m, w + j * ldw, ldw, out + j, ldo, k);
  for (; j < n; ++j)
    dotColumns<1>(x, ldx, m, w + j * ldw, ldw, out + j, ldo, k);
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
