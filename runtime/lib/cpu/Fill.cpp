// SPDX-License-Identifier: Apache-2.0
// Fill: one value over a region, or over its end along one dimension.
#include "Fill.h"

#include "CastRun.h"

#include <cstring>

namespace tenon::runtime::cpu {
namespace {

class FillWork : public Work {
public:
  FillWork(Region out, double value, Context &context) : out_(std::move(out)), context_(context) {
    const Region *only[] = {&out_};
    outer_ = nestOf(only, 0, out_.rank());
    outer_.collapse();
    LoopNest inner = outer_.popInner();
    n_ = out_.empty() ? 0 : inner.sizes[0];
    stride_ = inner.strides[0][0];
    run_ = castRun(out_.type, out_.type);
    // Integers are exact up to 2^63 this way; floats are rounded once from f32.
    if (out_.type == plan::DataType::I64 || out_.type == plan::DataType::I32) {
      int64_t wide = int64_t(value);
      castRun(plan::DataType::I64, out_.type)(*context.rows, reinterpret_cast<std::byte *>(&wide),
                                              1, element_, 1, 1);
    } else {
      float single = float(value);
      context.rows->store(out_.type, element_, 1, &single, 1);
    }
  }

  Status run() override {
    if (n_ == 0)
      return Status();
    parallelFor(context_, outer_.iterations(), n_, [&](int, int64_t begin, int64_t end) {
      NestCursor cursor(outer_, begin);
      for (int64_t i = begin; i < end; ++i, cursor.next())
        run_(*context_.rows, element_, 0, out_.at(cursor[0]), stride_, n_);
    });
    return Status();
  }

private:
  Region out_;
  Context &context_;
  LoopNest outer_;
  CastRun run_;
  int64_t n_ = 0, stride_ = 0;
  alignas(8) std::byte element_[8] = {};
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
    int64_t size = out.sizes[op.dim];
    int64_t from = std::clamp<int64_t>(op.from.base, 0, size);
    out.data = out.at(from * out.strides[op.dim]);
    out.sizes[op.dim] = size - from;
  }
  return makeFill(out, op.value, context);
}

} // namespace tenon::runtime::cpu
