// SPDX-License-Identifier: Apache-2.0
// The functions of one level, by family; RowTable.cpp gathers them. Included only by sources that
// are compiled once per level, with TENON_ISA naming the level's namespace.
#pragma once

#include "RowKernels.h"

#ifndef TENON_ISA
#error "compile with -DTENON_ISA=<level>"
#endif

namespace tenon::runtime::cpu::TENON_ISA {

void loadRow(plan::DataType type, const void *src, int64_t stride, float *dst, int64_t n);
void storeRow(plan::DataType type, void *dst, int64_t stride, const float *src, int64_t n);

void unaryRow(plan::ExprOp op, const float *a, float *out, int64_t n);
void binaryRow(plan::ExprOp op, const float *a, const float *b, float *out, int64_t n);
void selectRow(const float *condition, const float *a, const float *b, float *out, int64_t n);
void powerRow(int exponent, const float *a, float *out, int64_t n);

float reduceRow(plan::ReduceKind kind, const float *x, int64_t n);
void accumulateRow(plan::ReduceKind kind, float *acc, const float *x, int64_t n);
void softmaxRow(const float *x, float *out, int64_t n);
float expSumRow(float *x, int64_t n);
void scaleRow(float *x, float factor, int64_t n);
void normRow(const NormRow &row);
void ropeRow(const float *x, const float *cosines, const float *sines, float *out, int64_t half,
             int64_t n, bool interleaved);

extern const int64_t panelWidth;
void productPanel(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                  int64_t m, int64_t k);
void packTransposedPanel(const float *b, int64_t stride, float *panel, int64_t rows,
                         int64_t columns);
void dotRows(const float *x, int64_t ldx, int64_t m, const float *w, int64_t ldw, float *out,
             int64_t ldo, int64_t n, int64_t k);
void addRows(const float *x, const float *w, int64_t stride, float *out, int64_t n, int64_t k);

} // namespace tenon::runtime::cpu::TENON_ISA
