// SPDX-License-Identifier: Apache-2.0
// MatMulPrimitive: one oneDNN matmul over plain strides, and the cache of them. Layers of equal
// shapes share one primitive: 96 layers create it once (0.1-0.25 ms each).
#pragma once

#include "Isa.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

namespace tenon::runtime::cpu {

/// c[batch, m, n] (+)= a[batch, m, k] b[batch, k, n] + bias[n]. Strides in elements, in that order;
/// a batch stride of 0 repeats the operand.
struct MatMulShape {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  std::array<int64_t, 3> aStrides{}, bStrides{}, cStrides{};
  plan::DataType inType = plan::DataType::F32;  ///< Of a and b.
  plan::DataType outType = plan::DataType::F32; ///< Of c.
  bool bias = false;                            ///< bias[n], contiguous, of biasType.
  plan::DataType biasType = plan::DataType::F32;
  bool accumulate = false; ///< Adds to c; needs outType F32.

  auto key() const {
    return std::tuple(batch, m, n, k, aStrides, bStrides, cStrides, inType, outType, bias, biasType,
                      accumulate);
  }
  bool operator<(const MatMulShape &other) const { return key() < other.key(); }
};

class MatMulPrimitive {
public:
  virtual ~MatMulPrimitive() = default;
  virtual int64_t scratchBytes() const = 0;
  /// Runs on the calling thread and the threads of its device; does not allocate.
  virtual Status run(const void *a, const void *b, const void *bias, void *c, void *scratch) = 0;
};

class MatMulPrimitives {
public:
  /// Limits oneDNN to `isa`, for the whole process: the first device decides.
  MatMulPrimitives(Isa isa, int threads);
  ~MatMulPrimitives();

  /// Returns the primitive for a shape, owned here. Fails with Code::Device when oneDNN has none.
  Expected<MatMulPrimitive *> get(const MatMulShape &shape);
  /// Whether bf16 products run on instructions made for them.
  bool hasBf16() const { return bf16_; }
  int64_t created() const { return int64_t(cache_.size()); }

private:
  int threads_;
  bool bf16_;
  std::map<MatMulShape, std::unique_ptr<MatMulPrimitive>> cache_;
};

} // namespace tenon::runtime::cpu
