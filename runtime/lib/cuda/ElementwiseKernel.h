// SPDX-License-Identifier: Apache-2.0
// ElementwiseKernel: the loop of every elementwise kernel and what the operators of an expression
// compute, in f32. A kernel is this loop with a function of the inputs: a functor of ours, one that
// NVRTC compiles, or the interpreter. NVRTC reads this file, so it includes no more than Values.h.
#pragma once

#include "Values.h"

namespace tenon::runtime::cuda {

/// As plan::ExprOp, in the same order.
enum class ExprCode : unsigned char {
  Input,
  Constant,
  Neg,
  Exp,
  Log,
  Tanh,
  Sigmoid,
  Relu,
  Gelu,
  GeluTanh,
  Silu,
  Sqrt,
  Rsqrt,
  Sin,
  Cos,
  Abs,
  Erf,
  Not,
  Add,
  Sub,
  Mul,
  Div,
  Pow,
  Max,
  Min,
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  And,
  Or,
  Select
};

/// N inputs and the output, which is operand N: rows of columns. A row begins where the outer loops
/// say; within it an operand moves by its step: 1, 0 for one value per row, or any other.
template <int N> struct ElementwiseTask {
  void *data[N + 1];
  Type types[N + 1];
  long long rows, columns;
  int depth;
  long long sizes[16];
  long long strides[N + 1][16];
  long long steps[N + 1];
};

#if defined(__CUDACC__) || defined(TENON_CUDA_EMULATED)

__device__ inline float unary(ExprCode code, float x) {
  switch (code) {
  case ExprCode::Neg:
    return -x;
  case ExprCode::Exp:
    return expf(x);
  case ExprCode::Log:
    return logf(x);
  case ExprCode::Tanh:
    return tanhf(x);
  case ExprCode::Sigmoid:
    return 1.0f / (1.0f + expf(-x));
  case ExprCode::Relu:
    return x < 0 ? 0.0f : x;
  case ExprCode::Gelu:
    return 0.5f * x * erfcf(x * -0.70710678118654752f);
  case ExprCode::GeluTanh: // (1 + tanh u) / 2 is the sigmoid of 2u, which keeps digits in its tail.
    return x * (1.0f / (1.0f + expf(-1.59576912160573071f * (x + 0.044715f * x * x * x))));
  case ExprCode::Silu:
    return x / (1.0f + expf(-x));
  case ExprCode::Sqrt:
    return sqrtf(x);
  case ExprCode::Rsqrt:
    return 1.0f / sqrtf(x);
  case ExprCode::Sin:
    return sinf(x);
  case ExprCode::Cos:
    return cosf(x);
  case ExprCode::Abs:
    return fabsf(x);
  case ExprCode::Erf:
    return erff(x);
  case ExprCode::Not:
    return x == 0 ? 1.0f : 0.0f;
  default:
    return x;
  }
}

__device__ inline float power(float x, float y) {
  return y == 2.0f ? x * x : y == 3.0f ? x * x * x : powf(x, y);
}

__device__ inline float binary(ExprCode code, float a, float b) {
  switch (code) {
  case ExprCode::Add:
    return a + b;
  case ExprCode::Sub:
    return a - b;
  case ExprCode::Mul:
    return a * b;
  case ExprCode::Div:
    return a / b;
  case ExprCode::Pow:
    return power(a, b);
  case ExprCode::Max: // NaN stays.
    return a > b || a != a ? a : b;
  case ExprCode::Min:
    return a < b || a != a ? a : b;
  case ExprCode::Eq:
    return a == b;
  case ExprCode::Ne:
    return a != b;
  case ExprCode::Lt:
    return a < b;
  case ExprCode::Le:
    return a <= b;
  case ExprCode::Gt:
    return a > b;
  case ExprCode::Ge:
    return a >= b;
  case ExprCode::And:
    return a != 0 && b != 0;
  case ExprCode::Or:
    return a != 0 || b != 0;
  default:
    return a;
  }
}

/// Where each operand's row begins. Divides in 32 bits where they suffice.
template <int N>
__device__ inline void rowBegins(const ElementwiseTask<N> &task, long long row,
                                 long long (&at)[N + 1]) {
  for (int j = 0; j <= N; ++j)
    at[j] = 0;
  for (int d = task.depth - 1; d >= 0; --d) {
    const long long size = task.sizes[d];
    const long long next =
        (row | size) >> 32 ? row / size : static_cast<unsigned>(row) / static_cast<unsigned>(size);
    const long long index = row - next * size;
    row = next;
    for (int j = 0; j <= N; ++j)
      at[j] += index * task.strides[j][d];
  }
}

/// One column per thread and turn.
template <int N, typename F>
__device__ inline void elementwiseScalars(const ElementwiseTask<N> &task, F f) {
  const long long units = task.rows * task.columns;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    const long long row = (unit | task.columns) >> 32
                              ? unit / task.columns
                              : static_cast<unsigned>(unit) / static_cast<unsigned>(task.columns);
    const long long column = unit - row * task.columns;
    long long at[N + 1];
    rowBegins(task, row, at);
    float x[N];
#pragma unroll
    for (int j = 0; j < N; ++j)
      x[j] = loadFloat(task.types[j], task.data[j], at[j] + column * task.steps[j]);
    storeFloat(task.types[N], task.data[N], at[N] + column * task.steps[N], f(x));
  }
}

/// Eight columns per thread and turn: every step is 1 and aligned, or 0; columns are a multiple
/// of 8.
template <int N, typename F>
__device__ inline void elementwisePacks(const ElementwiseTask<N> &task, F f) {
  const long long perRow = task.columns / 8, units = task.rows * perRow;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    const long long row = (unit | perRow) >> 32
                              ? unit / perRow
                              : static_cast<unsigned>(unit) / static_cast<unsigned>(perRow);
    const long long column = (unit - row * perRow) * 8;
    long long at[N + 1];
    rowBegins(task, row, at);
    Pack8 in[N], out;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (task.steps[j]) {
        in[j] = loadPack(task.types[j], task.data[j], at[j] + column);
      } else {
        const float value = loadFloat(task.types[j], task.data[j], at[j]);
#pragma unroll
        for (int i = 0; i < 8; ++i)
          in[j].v[i] = value;
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float x[N];
#pragma unroll
      for (int j = 0; j < N; ++j)
        x[j] = in[j].v[i];
      out.v[i] = f(x);
    }
    storePack(task.types[N], task.data[N], at[N] + column, out);
  }
}

#endif

} // namespace tenon::runtime::cuda
