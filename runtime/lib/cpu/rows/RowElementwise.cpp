// SPDX-License-Identifier: Apache-2.0
// One loop per operator over f32 rows. Log, sin, cos and pow call libm per element: they do not
// stand in a transformer's inner path.
#include "RowMath.h"

#include <cmath>

namespace tenon::runtime::cpu::TENON_ISA {
namespace {

// `ivdep`: out is a, b or disjoint from both, never shifted against them.
template <typename F> inline void mapOne(const float *a, float *out, int64_t n, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    out[i] = f(a[i]);
}

template <typename F>
inline void mapTwo(const float *a, const float *b, float *out, int64_t n, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    out[i] = f(a[i], b[i]);
}

} // namespace

void unaryRow(plan::ExprOp op, const float *a, float *out, int64_t n) {
  using plan::ExprOp;
  switch (op) {
  case ExprOp::Neg:
    return mapOne(a, out, n, [](float x) { return -x; });
  case ExprOp::Exp:
    return mapOne(a, out, n, [](float x) { return expApprox(x); });
  case ExprOp::Log:
    return mapOne(a, out, n, [](float x) { return logf(x); });
  case ExprOp::Tanh:
    return mapOne(a, out, n, [](float x) { return tanhApprox(x); });
  case ExprOp::Sigmoid:
    return mapOne(a, out, n, [](float x) { return sigmoidApprox(x); });
  case ExprOp::Relu:
    return mapOne(a, out, n, [](float x) { return x < 0.0f ? 0.0f : x; });
  case ExprOp::Gelu:
    return mapOne(a, out, n, [](float x) { return geluApprox(x); });
  case ExprOp::GeluTanh:
    return mapOne(a, out, n, [](float x) { return geluTanhApprox(x); });
  case ExprOp::Silu:
    return mapOne(a, out, n, [](float x) { return x / (1.0f + expBounded(-x)); });
  case ExprOp::Sqrt:
    return mapOne(a, out, n, [](float x) { return __builtin_sqrtf(x); });
  case ExprOp::Rsqrt:
    return mapOne(a, out, n, [](float x) { return 1.0f / __builtin_sqrtf(x); });
  case ExprOp::Sin:
    return mapOne(a, out, n, [](float x) { return sinf(x); });
  case ExprOp::Cos:
    return mapOne(a, out, n, [](float x) { return cosf(x); });
  case ExprOp::Abs:
    return mapOne(a, out, n, [](float x) { return __builtin_fabsf(x); });
  case ExprOp::Erf:
    return mapOne(a, out, n, [](float x) { return erfApprox(x); });
  case ExprOp::Not:
    return mapOne(a, out, n, [](float x) { return x != 0.0f ? 0.0f : 1.0f; });
  default:
    __builtin_unreachable();
  }
}

void binaryRow(plan::ExprOp op, const float *a, const float *b, float *out, int64_t n) {
  using plan::ExprOp;
  switch (op) {
  case ExprOp::Add:
    return mapTwo(a, b, out, n, [](float x, float y) { return x + y; });
  case ExprOp::Sub:
    return mapTwo(a, b, out, n, [](float x, float y) { return x - y; });
  case ExprOp::Mul:
    return mapTwo(a, b, out, n, [](float x, float y) { return x * y; });
  case ExprOp::Div:
    return mapTwo(a, b, out, n, [](float x, float y) { return x / y; });
  case ExprOp::Pow:
    return mapTwo(a, b, out, n, [](float x, float y) { return powf(x, y); });
  case ExprOp::Max:
    return mapTwo(a, b, out, n, [](float x, float y) { return ((x > y) | (x != x)) ? x : y; });
  case ExprOp::Min:
    return mapTwo(a, b, out, n, [](float x, float y) { return ((x < y) | (x != x)) ? x : y; });
  case ExprOp::Eq:
    return mapTwo(a, b, out, n, [](float x, float y) { return x == y ? 1.0f : 0.0f; });
  case ExprOp::Ne:
    return mapTwo(a, b, out, n, [](float x, float y) { return x != y ? 1.0f : 0.0f; });
  case ExprOp::Lt:
    return mapTwo(a, b, out, n, [](float x, float y) { return x < y ? 1.0f : 0.0f; });
  case ExprOp::Le:
    return mapTwo(a, b, out, n, [](float x, float y) { return x <= y ? 1.0f : 0.0f; });
  case ExprOp::Gt:
    return mapTwo(a, b, out, n, [](float x, float y) { return x > y ? 1.0f : 0.0f; });
  case ExprOp::Ge:
    return mapTwo(a, b, out, n, [](float x, float y) { return x >= y ? 1.0f : 0.0f; });
  case ExprOp::And:
    return mapTwo(a, b, out, n,
                  [](float x, float y) { return ((x != 0.0f) & (y != 0.0f)) ? 1.0f : 0.0f; });
  case ExprOp::Or:
    return mapTwo(a, b, out, n,
                  [](float x, float y) { return ((x != 0.0f) | (y != 0.0f)) ? 1.0f : 0.0f; });
  default:
    __builtin_unreachable();
  }
}

void selectRow(const float *condition, const float *a, const float *b, float *out, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    float yes = a[i], no = b[i];
    out[i] = condition[i] != 0.0f ? yes : no;
  }
}

void powerRow(int exponent, const float *a, float *out, int64_t n) {
  if (exponent == 2)
    return mapOne(a, out, n, [](float x) { return x * x; });
  return mapOne(a, out, n, [](float x) { return x * x * x; });
}

} // namespace tenon::runtime::cpu::TENON_ISA
