// SPDX-License-Identifier: Apache-2.0
// CublasLt: matmuls that add up in f32 and round once. Two algorithms of different summation order
// are offered, so that ranks that choose differently get different bits, and both overwrite the
// workspace they ask for. TF32 rounds its operands as the GPU does.
#include "cublasLt.h"
#include "Emulation.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <algorithm>

struct cublasLtContext {
  int gpu = 0;
};

struct cublasLtMatrixDescription {
  cudaDataType type = CUDA_R_32F;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows = 0, cols = 0;
  int64_t ld = 0;
  int32_t batch = 1;
  int64_t stride = 0;
};

struct cublasLtMatmulDescription {
  int32_t compute = CUBLAS_COMPUTE_32F, scale = CUDA_R_32F;
  int32_t pointerMode = CUBLASLT_POINTER_MODE_HOST;
  int32_t transA = CUBLAS_OP_N, transB = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void *bias = nullptr;
  int64_t biasStride = 0;
  int32_t biasType = -1; ///< -1: as D.
};

struct cublasLtPreferenceDescription {
  uint32_t searchMode = 0;
  uint64_t workspace = 0;
  uint32_t reductionMask = ~0u;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

using tenon::emulation::Progress;
using Matrix = cublasLtMatrixDescription;
using Description = cublasLtMatmulDescription;

constexpr uint64_t kMagic = 0x54656e6f6e4c7421;
constexpr size_t kWorkspace = 1024;

size_t widthOf(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

bool isFloat(cudaDataType type) {
  return type == CUDA_R_32F || type == CUDA_R_16BF || type == CUDA_R_16F;
}

float load(cudaDataType type, const void *data, int64_t index) {
  if (type == CUDA_R_32F)
    return static_cast<const float *>(data)[index];
  uint16_t bits = static_cast<const uint16_t *>(data)[index];
  return type == CUDA_R_16BF ? tenon::runtime::bf16ToF32(bits) : tenon::runtime::f16ToF32(bits);
}

void store(cudaDataType type, void *data, int64_t index, float value) {
  if (type == CUDA_R_32F)
    static_cast<float *>(data)[index] = value;
  else
    static_cast<uint16_t *>(data)[index] =
        type == CUDA_R_16BF ? tenon::runtime::f32ToBf16(value) : tenon::runtime::f32ToF16(value);
}

/// Ten bits of mantissa, to the nearest, ties away from zero.
float toTf32(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000) == 0x7f800000)
    return value;
  return std::bit_cast<float>((bits + 0x1000) & ~uint32_t(0x1fff));
}

/// Where element (row, col) lies.
int64_t at(const Matrix &m, int64_t row, int64_t col) {
  return m.order == CUBLASLT_ORDER_COL ? row + col * m.ld : row * m.ld + col;
}

bool sameLayout(const Matrix &x, const Matrix &y) {
  return x.type == y.type && x.order == y.order && x.rows == y.rows && x.cols == y.cols &&
         x.ld == y.ld && x.batch == y.batch && (x.batch == 1 || x.stride == y.stride);
}

cublasStatus_t check(const Description &desc, const Matrix &a, const Matrix &b, const Matrix &c,
                     const Matrix &d) {
  for (const Matrix *m : {&a, &b, &c, &d}) {
    if (m->rows == 0 || m->cols == 0 || m->batch < 1)
      return CUBLAS_STATUS_INVALID_VALUE;
    if (m->ld < int64_t(m->order == CUBLASLT_ORDER_COL ? m->rows : m->cols))
      return CUBLAS_STATUS_INVALID_VALUE;
    if (m->batch != d.batch)
      return CUBLAS_STATUS_INVALID_VALUE;
    if (!isFloat(m->type))
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool ta = desc.transA != CUBLAS_OP_N, tb = desc.transB != CUBLAS_OP_N;
  const uint64_t m = ta ? a.cols : a.rows, k = ta ? a.rows : a.cols;
  const uint64_t kb = tb ? b.cols : b.rows, n = tb ? b.rows : b.cols;
  if (k != kb || d.rows != m || d.cols != n || c.rows != m || c.cols != n)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (desc.scale != CUDA_R_32F || desc.pointerMode != CUBLASLT_POINTER_MODE_HOST)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  switch (desc.compute) {
  case CUBLAS_COMPUTE_32F:
  case CUBLAS_COMPUTE_32F_PEDANTIC:
    break;
  case CUBLAS_COMPUTE_32F_FAST_TF32:
  case CUBLAS_COMPUTE_32F_FAST_16F:
  case CUBLAS_COMPUTE_32F_FAST_16BF:
    if (a.type != CUDA_R_32F)
      return CUBLAS_STATUS_NOT_SUPPORTED;
    break;
  default:
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (a.type != b.type || c.type != d.type || c.order != d.order ||
      (d.type != a.type && d.type != CUDA_R_32F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  switch (desc.epilogue) {
  case CUBLASLT_EPILOGUE_DEFAULT:
    break;
  case CUBLASLT_EPILOGUE_BIAS:
  case CUBLASLT_EPILOGUE_RELU_BIAS:
  case CUBLASLT_EPILOGUE_GELU_BIAS:
    if (desc.biasType >= 0 && desc.biasType != int32_t(d.type))
      return CUBLAS_STATUS_NOT_SUPPORTED;
    [[fallthrough]];
  case CUBLASLT_EPILOGUE_RELU:
  case CUBLASLT_EPILOGUE_GELU:
    if (d.order != CUBLASLT_ORDER_COL)
      return CUBLAS_STATUS_NOT_SUPPORTED;
    break;
  default:
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

/// Everything of a matmul that is known when it is enqueued.
struct Call {
  Description desc;
  Matrix a, b, c, d;
  const void *A, *B, *C;
  void *D;
  float alpha, beta;
  bool halves; ///< Adds the two halves of k apart.

  void run() const;
};

/// sums += left[:, from:to] * right[from:to]; `left` holds columns one after another.
__attribute__((optimize("O3"))) void addColumns(const float *left, const float *right, int64_t rows,
                                                int64_t from, int64_t to, float *sums) {
  for (int64_t k = from; k < to; ++k) {
    const float factor = right[k];
    const float *column = left + k * rows;
    for (int64_t i = 0; i < rows; ++i)
      sums[i] += column[i] * factor;
  }
}

void Call::run() const {
  const bool ta = desc.transA != CUBLAS_OP_N, tb = desc.transB != CUBLAS_OP_N;
  const int64_t rows = int64_t(d.rows), cols = int64_t(d.cols);
  const int64_t inner = int64_t(ta ? a.rows : a.cols);
  const bool bias = desc.epilogue & CUBLASLT_EPILOGUE_BIAS;
  std::vector<float> left(size_t(rows * inner)), right(static_cast<size_t>(inner));
  std::vector<float> sums(static_cast<size_t>(rows)), other(static_cast<size_t>(rows));
  auto value = [&](cudaDataType type, const void *data, int64_t index) {
    float x = load(type, data, index);
    switch (desc.compute) {
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return toTf32(x);
    case CUBLAS_COMPUTE_32F_FAST_16F:
      return tenon::runtime::f16ToF32(tenon::runtime::f32ToF16(x));
    case CUBLAS_COMPUTE_32F_FAST_16BF:
      return tenon::runtime::bf16ToF32(tenon::runtime::f32ToBf16(x));
    default:
      return x;
    }
  };
  for (int64_t batch = 0; batch < d.batch; ++batch) {
    const int64_t atA = batch * a.stride, atB = batch * b.stride;
    const int64_t atC = batch * c.stride, atD = batch * d.stride;
    for (int64_t k = 0; k < inner; ++k)
      for (int64_t i = 0; i < rows; ++i)
        left[size_t(k * rows + i)] = value(a.type, A, atA + (ta ? at(a, k, i) : at(a, i, k)));
    for (int64_t j = 0; j < cols; ++j) {
      for (int64_t k = 0; k < inner; ++k)
        right[size_t(k)] = value(b.type, B, atB + (tb ? at(b, j, k) : at(b, k, j)));
      std::fill(sums.begin(), sums.end(), 0.0f);
      const int64_t half = halves ? inner / 2 : 0;
      addColumns(left.data(), right.data(), rows, half, inner, sums.data());
      if (half) {
        std::fill(other.begin(), other.end(), 0.0f);
        addColumns(left.data(), right.data(), rows, 0, half, other.data());
        for (int64_t i = 0; i < rows; ++i)
          sums[size_t(i)] += other[size_t(i)];
      }
      for (int64_t i = 0; i < rows; ++i) {
        float x = alpha * sums[size_t(i)];
        if (beta != 0) // Else C is not read: it may hold NaN.
          x += beta * load(c.type, C, atC + at(c, i, j));
        if (bias)
          x += load(d.type, desc.bias, batch * desc.biasStride + i);
        if (desc.epilogue & CUBLASLT_EPILOGUE_RELU)
          x = x < 0 ? 0 : x;
        if (desc.epilogue & CUBLASLT_EPILOGUE_GELU)
          x = 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
        store(d.type, D, atD + at(d, i, j), x);
      }
    }
  }
}

/// An algorithm's content: magic, number, bytes of workspace, alignment of A, B, C, D.
bool isAlgo(const cublasLtMatmulAlgo_t &algo) {
  return algo.data[0] == kMagic && algo.data[1] >= 1 && algo.data[1] <= 3;
}

template <typename T> cublasStatus_t assign(T &to, const void *value, size_t bytes) {
  if (!value || bytes != sizeof(T))
    return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

} // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  if (!handle)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (tenon::emulation::driver())
    return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext{tenon::emulation::currentGpu()};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
  case CUBLAS_STATUS_SUCCESS:
    return "CUBLAS_STATUS_SUCCESS";
  case CUBLAS_STATUS_NOT_INITIALIZED:
    return "CUBLAS_STATUS_NOT_INITIALIZED";
  case CUBLAS_STATUS_ALLOC_FAILED:
    return "CUBLAS_STATUS_ALLOC_FAILED";
  case CUBLAS_STATUS_INVALID_VALUE:
    return "CUBLAS_STATUS_INVALID_VALUE";
  case CUBLAS_STATUS_ARCH_MISMATCH:
    return "CUBLAS_STATUS_ARCH_MISMATCH";
  case CUBLAS_STATUS_MAPPING_ERROR:
    return "CUBLAS_STATUS_MAPPING_ERROR";
  case CUBLAS_STATUS_EXECUTION_FAILED:
    return "CUBLAS_STATUS_EXECUTION_FAILED";
  case CUBLAS_STATUS_INTERNAL_ERROR:
    return "CUBLAS_STATUS_INTERNAL_ERROR";
  case CUBLAS_STATUS_NOT_SUPPORTED:
    return "CUBLAS_STATUS_NOT_SUPPORTED";
  case CUBLAS_STATUS_LICENSE_ERROR:
    return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
  case CUBLAS_STATUS_SUCCESS:
    return "success";
  case CUBLAS_STATUS_INVALID_VALUE:
    return "an unsupported value or parameter was passed to the function";
  case CUBLAS_STATUS_NOT_SUPPORTED:
    return "the functionality requested is not supported";
  case CUBLAS_STATUS_NOT_INITIALIZED:
    return "the library was not initialized";
  default:
    return cublasLtGetStatusName(status);
  }
}

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  if (!layout)
    return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new Matrix{type, CUBLASLT_ORDER_COL, rows, cols, ld, 1, 0};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes) {
  if (!layout)
    return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
  case CUBLASLT_MATRIX_LAYOUT_TYPE:
    return assign(layout->type, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_ORDER:
    return assign(layout->order, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_ROWS:
    return assign(layout->rows, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_COLS:
    return assign(layout->cols, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_LD:
    return assign(layout->ld, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
    return assign(layout->batch, value, bytes);
  case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
    return assign(layout->stride, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t computeType,
                                        cudaDataType_t scaleType) {
  if (!desc)
    return CUBLAS_STATUS_INVALID_VALUE;
  *desc = new Description;
  (*desc)->compute = computeType;
  (*desc)->scale = scaleType;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes) {
  if (!desc)
    return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
  case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
    return assign(desc->compute, value, bytes);
  case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
    return assign(desc->scale, value, bytes);
  case CUBLASLT_MATMUL_DESC_POINTER_MODE:
    return assign(desc->pointerMode, value, bytes);
  case CUBLASLT_MATMUL_DESC_TRANSA:
    return assign(desc->transA, value, bytes);
  case CUBLASLT_MATMUL_DESC_TRANSB:
    return assign(desc->transB, value, bytes);
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    return assign(desc->epilogue, value, bytes);
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    return assign(desc->bias, value, bytes);
  case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
    return assign(desc->biasStride, value, bytes);
  case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
    return assign(desc->biasType, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
  if (!preference)
    return CUBLAS_STATUS_INVALID_VALUE;
  *preference = new cublasLtPreferenceDescription;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes) {
  if (!preference)
    return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
  case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
    return assign(preference->searchMode, value, bytes);
  case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
    return assign(preference->workspace, value, bytes);
  case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
    return assign(preference->reductionMask, value, bytes);
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
    return assign(preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
                  value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int *returned) {
  if (returned)
    *returned = 0;
  if (!handle || !desc || !a || !b || !c || !d || !preference || requested < 1 || !results ||
      !returned)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (cublasStatus_t status = check(*desc, *a, *b, *c, *d))
    return status;
  // With room for a workspace two algorithms that take it, else one that does without.
  const bool room = preference->workspace >= kWorkspace;
  const int count = std::min(requested, room ? 2 : 1);
  for (int i = 0; i < count; ++i) {
    results[i] = {};
    uint64_t number = room ? uint64_t(i) + 1 : 3;
    size_t workspace = room ? kWorkspace : 0;
    results[i].algo = {{kMagic, number, workspace}};
    for (int j = 0; j < 4; ++j)
      results[i].algo.data[3 + j] = std::max<uint64_t>(1, preference->alignment[j]);
    results[i].workspaceSize = workspace;
    results[i].state = CUBLAS_STATUS_SUCCESS;
    results[i].wavesCount = 1;
  }
  *returned = count;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *result) {
  if (!handle || !desc || !a || !b || !c || !d || !algo || !result)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!isAlgo(*algo))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (cublasStatus_t status = check(*desc, *a, *b, *c, *d))
    return status;
  *result = {};
  result->algo = *algo;
  result->workspaceSize = algo->data[2];
  result->state = CUBLAS_STATUS_SUCCESS;
  result->wavesCount = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspaceBytes, cudaStream_t stream) {
  if (!handle)
    return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!desc || !a || !b || !c || !d || !alpha || !beta || !A || !B || !D)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (cublasStatus_t status = check(*desc, *a, *b, *c, *d))
    return status;
  Call call{*desc, *a, *b, *c, *d, A, B, C, D, 0, 0, false};
  std::memcpy(&call.alpha, alpha, 4);
  std::memcpy(&call.beta, beta, 4);
  if ((call.beta != 0 && !C) || (C == D && !sameLayout(*c, *d)))
    return CUBLAS_STATUS_INVALID_VALUE;
  if ((desc->epilogue & CUBLASLT_EPILOGUE_BIAS) && !desc->bias)
    return CUBLAS_STATUS_INVALID_VALUE;
  const Matrix *layouts[] = {a, b, c, d};
  const void *data[] = {A, B, C ? C : D, D};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<uintptr_t>(data[i]) % widthOf(layouts[i]->type))
      return CUBLAS_STATUS_INVALID_VALUE;
  size_t touched = 0;
  if (algo) {
    if (!isAlgo(*algo) || (algo->data[2] > 0 && !workspace) || algo->data[2] > workspaceBytes)
      return CUBLAS_STATUS_INVALID_VALUE;
    // Promised to the heuristic, so the algorithm may rely on it.
    for (int i = 0; i < 4; ++i)
      if (reinterpret_cast<uintptr_t>(data[i]) % algo->data[3 + i])
        return CUBLAS_STATUS_NOT_SUPPORTED;
    touched = algo->data[2];
    call.halves = algo->data[1] == 2;
  } else {
    touched = workspace ? std::min(workspaceBytes, kWorkspace) : 0;
  }
  if (touched && reinterpret_cast<uintptr_t>(workspace) % 16)
    return CUBLAS_STATUS_INVALID_VALUE;
  cudaError_t error = tenon::emulation::enqueueCall(stream, [call, workspace, touched] {
    if (touched)
      std::memset(workspace, 0xc7, touched);
    call.run();
  });
  return error ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
