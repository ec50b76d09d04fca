// SPDX-License-Identifier: Apache-2.0
// Runs the epilogue in chunks of 512 columns.
#include "Epilogue.h"

namespace tenon::runtime::cpu {

static plan::ExprOp exprOf(plan::Activation activation) {
  switch (activation) {
  case plan::Activation::Gelu:
    return plan::ExprOp::Gelu;
  case plan::Activation::GeluTanh:
    return plan::ExprOp::GeluTanh;
  case plan::Activation::Silu:
    return plan::ExprOp::Silu;
  case plan::Activation::Relu:
    return plan::ExprOp::Relu;
  case plan::Activation::Tanh:
    return plan::ExprOp::Tanh;
  case plan::Activation::None:
    break;
  }
  return plan::ExprOp::Input;
}

void Epilogue::run(const Context &context, int64_t scratchFloats, const float *product,
                   std::byte *result, const std::byte *biasRow,
                   const std::byte *residualRow) const {
  constexpr int64_t kChunk = 512;
  const RowKernels &kernels = *context.rows;
  const plan::ExprOp act = exprOf(activation);
  const std::vector<int64_t> &step = columns.strides[0];
  const int64_t n = columns.sizes[0];
  const int64_t resultWidth = plan::byteWidth(resultType), biasWidth = plan::byteWidth(biasType),
                residualWidth = plan::byteWidth(residualType);
  parallelFor(context, rows.iterations(), n * 4, [&](int thread, int64_t begin, int64_t end) {
    float *values = context.threadRows(thread, scratchFloats), *other = values + kChunk;
    NestCursor cursor(rows, begin);
    for (int64_t i = begin; i < end; ++i, cursor.next())
      for (int64_t at = 0; at < n; at += kChunk) {
        const int64_t count = std::min(kChunk, n - at);
        auto operand = [&](const std::byte *base, plan::DataType type, int64_t width,
                           int slot) -> const float * {
          const std::byte *from = base + (cursor[slot] + at * step[slot]) * width;
          if (type == plan::DataType::F32 && step[slot] == 1)
            return reinterpret_cast<const float *>(from);
          kernels.load(type, from, step[slot], other, count);
          return other;
        };
        std::byte *to = result + (cursor[kResult] + at * step[kResult]) * resultWidth;
        bool direct = resultType == plan::DataType::F32 && step[kResult] == 1;
        float *out = direct ? reinterpret_cast<float *>(to) : values;
        const float *in = product + cursor[kProduct] + at * step[kProduct];
        if (step[kProduct] != 1 && count > 1) {
          kernels.load(plan::DataType::F32, in, step[kProduct], values, count);
          in = values;
        }
        if (bias) {
          kernels.binary(plan::ExprOp::Add, in,
                         operand(biasRow, biasType, biasWidth, kEpilogueBias), out, count);
          in = out;
        }
        if (activation != plan::Activation::None) {
          kernels.unary(act, in, out, count);
          in = out;
        }
        if (residual) {
          kernels.binary(plan::ExprOp::Add, in,
                         operand(residualRow, residualType, residualWidth, kResidual), out, count);
          in = out;
        }
        if (in != reinterpret_cast<const float *>(to) || !direct)
          kernels.store(resultType, to, step[kResult], in, count);
      }
  });
}

} // namespace tenon::runtime::cpu
