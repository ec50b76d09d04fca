// SPDX-License-Identifier: Apache-2.0
// MatMulAlgorithms: which of cuBLASLt's algorithms each matmul of a plan runs. The heuristic
// proposes up to eight; rank 0 times them once on the real operands, all ranks take its choice and
// keep it for the run, so that every rank rounds alike and a replayed step is the step that was
// recorded. Choices are kept on disk by GPU, library version and shape.
#pragma once

#include "Work.h"

#include <array>
#include <cublasLt.h>
#include <map>
#include <string>
#include <vector>

namespace tenon::runtime::cuda {

Status statusOf(cublasStatus_t error, const std::string &what);

/// One product as cuBLASLt sees it, column-major: d[m,n] = epilogue(op(a)[m,k] op(b)[k,n] + c).
struct ProductShape {
  int64_t m = 0, n = 0, k = 0, batch = 1;
  bool aTransposed = false, bTransposed = false;
  int64_t lda = 0, ldb = 0, ldc = 0, ldd = 0;
  int64_t aStep = 0, bStep = 0, cStep = 0, dStep = 0; ///< From one of the batch to the next.
  plan::DataType in = plan::DataType::F32, out = plan::DataType::F32;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  bool bias = false;
  bool tf32 = false;
  /// Whether c is read (and added).
  bool adds = false;
  /// Powers of two that the addresses are multiples of, at most 256.
  int aAlignment = 16, bAlignment = 16, cAlignment = 16, dAlignment = 16;

  /// A text that is equal for equal shapes: the key on disk.
  std::string key() const;
};

/// A shape's descriptors and its algorithm.
class Product {
public:
  Product() = default;
  ~Product();
  Product(const Product &) = delete;

  std::string key;
  ProductShape shape;
  std::vector<cublasLtMatmulAlgo_t> candidates;
  cublasLtMatmulAlgo_t algorithm = {}; ///< The first candidate until settle().

  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;
};

/// Addresses of one product. `c` may equal `d`.
struct ProductOperands {
  const void *a = nullptr, *b = nullptr, *c = nullptr, *bias = nullptr;
  void *d = nullptr;
};

class MatMulAlgorithms {
public:
  explicit MatMulAlgorithms(Context &context) : context_(context) {}
  ~MatMulAlgorithms();

  /// Describes a shape and asks the heuristic; null without failure when cuBLASLt has no algorithm
  /// for it. `example` are addresses to time it with; they outlive settle(). Equal shapes share a
  /// product.
  Expected<Product *> get(const ProductShape &shape, const ProductOperands &example);

  /// Collective: rank 0 chooses, everyone follows. Fails with Code::Disagree when this GPU cannot
  /// run the choice.
  Status settle(Communicator &mesh, cudaStream_t stream);

  /// Puts a product on a stream.
  cublasStatus_t enqueue(const Product &product, const ProductOperands &operands,
                         const cublasLtMatmulAlgo_t &algorithm, cudaStream_t stream);

  int64_t workspaceBytes() const { return workspace_.bytes(); }

private:
  Status open();
  Status describe(Product &product);
  Status propose(Product &product);
  Status time(Product &product, cudaStream_t stream);
  std::string cacheFile() const;
  void readCache();
  void writeCache() const;

  Context &context_;
  cublasLtHandle_t handle_ = nullptr;
  Allocation workspace_;
  std::map<std::string, std::unique_ptr<Product>> products_;
  std::map<std::string, std::vector<ProductOperands>> examples_;
  /// Choices of earlier runs, by key.
  std::map<std::string, cublasLtMatmulAlgo_t> known_;
};

} // namespace tenon::runtime::cuda
