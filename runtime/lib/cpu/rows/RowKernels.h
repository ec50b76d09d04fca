// SPDX-License-Identifier: Apache-2.0
// RowKernels: the inner loops of the CPU device, one table per instruction set. They see raw
// pointers and lengths only; shapes, strides and types are the business of the code around them.
//
// The sources in this directory are compiled once per level with TENON_ISA naming the level. They
// instantiate nothing from the standard library: an inline function compiled for AVX-512 must not
// be the one that the linker keeps for all.
//
// Lanes: all reductions run over 16 lanes x 4 accumulators whatever the level, so that a sum has
// the same shape everywhere. NaN and infinities behave as IEEE says; max and min propagate NaN.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstdint>

namespace tenon::runtime::cpu {

/// Arguments of one normalised row. All pointers are f32 and contiguous; null where absent. `out`
/// may be x. `sum` receives x + residual; it must not be null when `residual` is given.
struct NormRow {
  const float *x = nullptr, *residual = nullptr, *scale = nullptr, *bias = nullptr;
  float *out = nullptr, *sum = nullptr;
  int64_t n = 0;
  float eps = 0;
  bool rms = false;
};

struct RowKernels {
  /// dst[i] = float(src[i * stride]) for any DataType.
  void (*load)(plan::DataType type, const void *src, int64_t stride, float *dst, int64_t n);
  /// dst[i * stride] = cast(src[i]): bf16 and f16 round to nearest even, integers truncate and
  /// saturate.
  void (*store)(plan::DataType type, void *dst, int64_t stride, const float *src, int64_t n);

  /// out[i] = op(a[i]); out may be a.
  void (*unary)(plan::ExprOp op, const float *a, float *out, int64_t n);
  /// out[i] = op(a[i], b[i]); out may be a or b.
  void (*binary)(plan::ExprOp op, const float *a, const float *b, float *out, int64_t n);
  /// out[i] = condition[i] != 0 ? a[i] : b[i].
  void (*select)(const float *condition, const float *a, const float *b, float *out, int64_t n);
  /// out[i] = a[i]^exponent for exponent 2 or 3.
  void (*power)(int exponent, const float *a, float *out, int64_t n);

  /// Returns the reduction of x, or its identity when n is 0.
  float (*reduce)(plan::ReduceKind kind, const float *x, int64_t n);
  /// acc[i] = kind(acc[i], x[i]).
  void (*accumulate)(plan::ReduceKind kind, float *acc, const float *x, int64_t n);
  /// out = softmax(x); out may be x.
  void (*softmax)(const float *x, float *out, int64_t n);
  /// x[i] = exp(x[i] - max); returns the sum. Max of -inf only: x becomes 0, returns 0.
  float (*expSum)(float *x, int64_t n);
  void (*scale)(float *x, float factor, int64_t n);
  void (*norm)(const NormRow &row);
  /// Rotates x by `half` angles; elements from 2 * half on are copied. out may be x.
  void (*rope)(const float *x, const float *cosines, const float *sines, float *out, int64_t half,
               int64_t n, bool interleaved);

  /// Width of a panel that `product` multiplies: b and c have this many columns.
  int64_t panel;
  /// c[m, panel] = a[m, k] b[k, panel] with row strides lda, ldb and ldc; ldb is `panel` when b is
  /// packed.
  void (*product)(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                  int64_t m, int64_t k);
  /// Packs b[j * stride + i] into panel column j, row i: panel[i * width + j], j < columns, i <
  /// rows.
  void (*packTransposed)(const float *b, int64_t stride, float *panel, int64_t rows,
                         int64_t columns);
  /// out[m, n] = x[m, k] w[n, k]^T with row strides ldx, ldw and ldo, for few rows m. The bits of
  /// an element do not depend on m and n.
  void (*dotRows)(const float *x, int64_t ldx, int64_t m, const float *w, int64_t ldw, float *out,
                  int64_t ldo, int64_t n, int64_t k);
  /// out[j] += sum over i of x[i] * w[i * stride + j], j < n.
  void (*addRows)(const float *x, const float *w, int64_t stride, float *out, int64_t n, int64_t k);
};

const RowKernels &rowKernelsSse2();
const RowKernels &rowKernelsAvx2();
const RowKernels &rowKernelsAvx512();

} // namespace tenon::runtime::cpu
