// SPDX-License-Identifier: Apache-2.0
// Fill: one value over a region, or over its end along one dimension; a contiguous region of zeros
// is CUDA's own memset.
#include "Fill.h"

#include "Rows.h"

#include <cmath>

namespace tenon::runtime::cuda {
namespace {

constexpr int kThreads = 256;

struct FillTask {
  void *out = nullptr;
  Type type = Type::F32;
  long long elements = 0;
  float real = 0;
  long long whole = 0;
  Loops<1> loops;
};

__global__ void fillElements(FillTask task) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < task.elements; i += step) {
    long long at[1];
    offsetsAt(task.loops, i, at);
    if (isInteger(task.type))
      storeInteger(task.type, task.out, at[0], task.whole);
    else
      storeFloat(task.type, task.out, at[0], task.real);
  }
}

class FillWork : public Work {
public:
  FillWork(const Region &out, double value, Context &context) : context_(context) {
    task_.out = out.data;
    task_.type = typeOf(out);
    task_.elements = out.elements();
    task_.real = float(value);
    const bool integer = out.type == plan::DataType::I32 || out.type == plan::DataType::I64;
    task_.whole = integer ? static_cast<long long>(value) : value != 0;
    if (task_.elements == 0)
      return;
    const Region *only[] = {&out};
    LoopNest nest = nestOf(only, 0, out.rank());
    nest.collapse();
    task_.loops = loopsOf<1>(nest);
    const bool contiguous = nest.depth() == 0 || (nest.depth() == 1 && nest.strides[0][0] == 1);
    // Minus zero has a bit set.
    if (contiguous && value == 0 && !std::signbit(value))
      zeroBytes_ = task_.elements * out.width();
  }

  void enqueue(cudaStream_t stream) override {
    if (task_.elements == 0)
      return;
    if (zeroBytes_)
      context_.note(cudaMemsetAsync(task_.out, 0, size_t(zeroBytes_), stream), "fill");
    else
      context_.note(launch(fillElements, gridFor(task_.elements, kThreads),
                           dim3(unsigned(kThreads)), 0, stream, task_),
                    "fill");
  }

private:
  Context &context_;
  FillTask task_;
  int64_t zeroBytes_ = 0;
};

} // namespace

std::unique_ptr<Work> makeFill(const Region &out, double value, Context &context) {
  return std::make_unique<FillWork>(out, value, context);
}

PreparedWork prepare(const plan::Fill &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region out = bind(op.out);
  bind.require(op.dim >= -1 && op.dim < out.rank(),
               "dimension " + std::to_string(op.dim) + " of " + shapeText(out.sizes));
  if (!bind.status().ok())
    return bind.status();
  if (op.dim >= 0) {
    int64_t size = out.sizes[size_t(op.dim)];
    int64_t from = std::clamp<int64_t>(op.from.base, 0, size);
    out.data = out.at(from * out.strides[size_t(op.dim)]);
    out.sizes[size_t(op.dim)] = size - from;
  }
  return makeFill(out, op.value, context);
}

} // namespace tenon::runtime::cuda
