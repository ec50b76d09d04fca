// SPDX-License-Identifier: Apache-2.0
// The only file that sees oneDNN. Its exceptions end here.
#include "MatMulPrimitive.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <omp.h>

namespace tenon::runtime::cpu {
namespace {

dnnl::memory::data_type dnnlType(plan::DataType type) {
  return type == plan::DataType::BF16 ? dnnl::memory::data_type::bf16
                                      : dnnl::memory::data_type::f32;
}

dnnl::memory::desc plainDesc(int64_t batch, int64_t rows, int64_t columns,
                             const std::array<int64_t, 3> &strides, plan::DataType type) {
  // A repeated operand is one of batch size 1, which oneDNN broadcasts. A stride of a dimension of
  // size 1 is never used but must still look plain.
  int64_t repeats = batch > 1 && strides[0] == 0 ? 1 : batch;
  int64_t columnStride = columns == 1 ? 1 : strides[2];
  int64_t rowStride = rows == 1 ? columns * columnStride : strides[1];
  if (columns == 1)
    columnStride = 1;
  if (columns == 1 && rowStride == 1)
    columnStride = rows;
  int64_t span = std::max(rows * rowStride, columns * columnStride);
  int64_t batchStride = repeats == 1 ? span : strides[0];
  if (batch == 1)
    return {{rows, columns}, dnnlType(type), dnnl::memory::dims{rowStride, columnStride}};
  return {{repeats, rows, columns},
          dnnlType(type),
          dnnl::memory::dims{batchStride, rowStride, columnStride}};
}

class DnnlMatMul : public MatMulPrimitive {
public:
  DnnlMatMul(const MatMulShape &shape, int threads)
      : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    auto a = plainDesc(shape.batch, shape.m, shape.k, shape.aStrides, shape.inType);
    auto b = plainDesc(shape.batch, shape.k, shape.n, shape.bStrides, shape.inType);
    auto c = plainDesc(shape.batch, shape.m, shape.n, shape.cStrides, shape.outType);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (shape.accumulate) {
      dnnl::post_ops ops;
      ops.append_sum(1.0f);
      attr.set_post_ops(ops);
    }
    dnnl::memory::desc bias;
    if (shape.bias)
      bias = shape.batch == 1 ? dnnl::memory::desc({1, shape.n}, dnnlType(shape.biasType),
                                                   dnnl::memory::dims{shape.n, 1})
                              : dnnl::memory::desc({1, 1, shape.n}, dnnlType(shape.biasType),
                                                   dnnl::memory::dims{shape.n, shape.n, 1});
    dnnl::matmul::desc desc =
        shape.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    dnnl::matmul::primitive_desc primitive(desc, attr, engine_);
    matmul_ = dnnl::matmul(primitive);
    memories_[kA] = dnnl::memory(a, engine_, nullptr);
    memories_[kB] = dnnl::memory(b, engine_, nullptr);
    memories_[kC] = dnnl::memory(c, engine_, nullptr);
    memories_[kScratch] = dnnl::memory(primitive.scratchpad_desc(), engine_, nullptr);
    if (shape.bias)
      memories_[kBias] = dnnl::memory(bias, engine_, nullptr);
    scratchBytes_ = int64_t(primitive.scratchpad_desc().get_size());
    constexpr int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD,
                             DNNL_ARG_BIAS};
    arguments_ = shape.bias ? kCount : kCount - 1;
    for (int i = 0; i < arguments_; ++i)
      args_[i] = {names[i], memories_[i].get()};
  }

  int64_t scratchBytes() const override { return scratchBytes_; }

  // The C interface: the C++ one builds an unordered_map of arguments for each call.
  Status run(const void *a, const void *b, const void *bias, void *c, void *scratch) override {
    const void *handles[] = {a, b, c, scratch, bias};
    for (int i = 0; i < arguments_; ++i)
      if (dnnl_memory_set_data_handle(args_[i].memory, const_cast<void *>(handles[i])) !=
          dnnl_success)
        return Status(Code::Device, "oneDNN refused an address");
    omp_set_num_threads(threads_);
    dnnl_status_t status =
        dnnl_primitive_execute(matmul_.get(), stream_.get(), arguments_, args_.data());
    if (status != dnnl_success)
      return Status(Code::Device, "oneDNN matmul failed with status " + std::to_string(status));
    return Status();
  }

private:
  enum { kA, kB, kC, kScratch, kBias, kCount };
  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::array<dnnl::memory, kCount> memories_;
  std::array<dnnl_exec_arg_t, kCount> args_{};
  int arguments_ = 0;
  int64_t scratchBytes_ = 0;
};

} // namespace

MatMulPrimitives::MatMulPrimitives(Isa isa, int threads) : threads_(threads) {
  // Refused once oneDNN has run; what counts then is what it says below.
  if (isa == Isa::Sse2)
    (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
  if (isa == Isa::Avx2)
    (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
  dnnl_cpu_isa_t effective = dnnl_get_effective_cpu_isa();
  bf16_ = isa == Isa::Avx512 &&
          (effective & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

MatMulPrimitives::~MatMulPrimitives() = default;

Expected<MatMulPrimitive *> MatMulPrimitives::get(const MatMulShape &shape) {
  auto found = cache_.find(shape);
  if (found != cache_.end())
    return found->second.get();
  try {
    // The number of threads becomes part of the primitive.
    omp_set_num_threads(threads_);
    auto made = std::make_unique<DnnlMatMul>(shape, threads_);
    return cache_.emplace(shape, std::move(made)).first->second.get();
  } catch (const dnnl::error &error) {
    return Status(error.status == dnnl_out_of_memory ? Code::Memory : Code::Device,
                  "oneDNN has no matmul of " + std::to_string(shape.batch) + "x" +
                      std::to_string(shape.m) + "x" + std::to_string(shape.n) + "x" +
                      std::to_string(shape.k) + ": " + error.what());
  }
}

} // namespace tenon::runtime::cpu
