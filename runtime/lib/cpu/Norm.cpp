// SPDX-License-Identifier: Apache-2.0
// Norm: layer and RMS normalisation, one row at a time. A row is f32 and contiguous where it lies,
// or staged.
#include "Work.h"

namespace tenon::runtime::cpu {
namespace {

enum Slot { X, Out, Scale, Bias, Residual, Sum, kSlots };

class NormWork : public Work {
public:
  NormWork(const plan::Norm &op, std::vector<Region> regions, Context &context)
      : regions_(std::move(regions)), eps_(op.eps), rms_(op.kind == plan::Norm::Kind::Rms),
        rounds_(op.rounded && regions_[Out].type != plan::DataType::F32), context_(context) {
    // Absent operands walk along with x and are never touched.
    std::vector<const Region *> pointers;
    for (const Region &region : regions_)
      pointers.push_back(region.data ? &region : &regions_[X]);
    int64_t split = regions_[X].rank() - op.dims;
    empty_ = regions_[X].empty();
    rows_ = nestOf(pointers, 0, split);
    rows_.collapse();
    row_ = nestOf(pointers, split, regions_[X].rank());
    n_ = row_.iterations();
    row_.collapse();
    inner_ = row_.popInner();
    for (int slot = 0; slot < kSlots; ++slot)
      direct_[slot] = regions_[slot].type == plan::DataType::F32 && row_.depth() == 0 &&
                      (inner_.strides[0][slot] == 1 || n_ == 1);
  }

  Status prepareScratch() { return context_.reserveRows(*this, floatsPerThread()); }

  Status run() override {
    if (empty_)
      return Status();
    parallelFor(context_, rows_.iterations(), n_ * 4, [&](int thread, int64_t begin, int64_t end) {
      float *staged = context_.threadRows(thread, floatsPerThread());
      int64_t heldScale = -1, heldBias = -1;
      NestCursor cursor(rows_, begin);
      for (int64_t i = begin; i < end; ++i, cursor.next()) {
        NormRow row;
        row.n = n_;
        row.eps = eps_;
        row.rms = rms_;
        row.x = read(X, cursor[X], staged);
        const float *scale = readOnce(Scale, cursor[Scale], staged, heldScale);
        const float *bias = readOnce(Bias, cursor[Bias], staged, heldBias);
        // Rounding stands between the quotient and them.
        row.scale = rounds_ ? nullptr : scale;
        row.bias = rounds_ ? nullptr : bias;
        row.residual = read(Residual, cursor[Residual], staged);
        row.out = place(Out, cursor[Out], staged);
        row.sum = place(Sum, cursor[Sum], staged);
        if (!row.sum && row.residual)
          row.sum = staged + Sum * paddedFloats(n_);
        context_.rows->norm(row);
        if (rounds_)
          roundAndScale(row.out, scale, bias, staged + kSlots * paddedFloats(n_));
        write(Out, cursor[Out], row.out);
        write(Sum, cursor[Sum], row.sum);
      }
    });
    return Status();
  }

private:
  // One row more holds a row in the result's type.
  int64_t floatsPerThread() const { return (kSlots + rounds_) * paddedFloats(n_); }

  void roundAndScale(float *row, const float *scale, const float *bias, float *narrow) const {
    const RowKernels &rows = *context_.rows;
    rows.store(regions_[Out].type, narrow, 1, row, n_);
    rows.load(regions_[Out].type, narrow, 1, row, n_);
    if (scale)
      rows.binary(plan::ExprOp::Mul, row, scale, row, n_);
    if (bias)
      rows.binary(plan::ExprOp::Add, row, bias, row, n_);
  }

  float *place(int slot, int64_t offset, float *staged) const {
    if (!regions_[slot].data)
      return nullptr;
    return direct_[slot] ? reinterpret_cast<float *>(regions_[slot].at(offset))
                         : staged + slot * paddedFloats(n_);
  }

  float *read(int slot, int64_t offset, float *staged) const {
    float *row = place(slot, offset, staged);
    if (!row || direct_[slot])
      return row;
    NestCursor cursor(row_, 0);
    int64_t n = inner_.sizes[0];
    for (int64_t i = 0, pieces = row_.iterations(); i < pieces; ++i, cursor.next())
      context_.rows->load(regions_[slot].type, regions_[slot].at(offset + cursor[slot]),
                          inner_.strides[0][slot], row + i * n, n);
    return row;
  }

  // As read(), but keeps the staged row while the offset stays: scale and bias are the same for all
  // rows.
  float *readOnce(int slot, int64_t offset, float *staged, int64_t &held) const {
    if (held == offset)
      return place(slot, offset, staged);
    held = offset;
    return read(slot, offset, staged);
  }

  void write(int slot, int64_t offset, const float *row) const {
    if (!regions_[slot].data || direct_[slot])
      return;
    NestCursor cursor(row_, 0);
    int64_t n = inner_.sizes[0];
    for (int64_t i = 0, pieces = row_.iterations(); i < pieces; ++i, cursor.next())
      context_.rows->store(regions_[slot].type, regions_[slot].at(offset + cursor[slot]),
                           inner_.strides[0][slot], row + i * n, n);
  }

  std::vector<Region> regions_;
  float eps_;
  bool rms_, rounds_;
  Context &context_;
  LoopNest rows_, row_, inner_;
  int64_t n_ = 0;
  bool empty_ = false;
  bool direct_[kSlots] = {};
};

} // namespace

PreparedWork prepare(const plan::Norm &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.x),
                                 bind(op.out),
                                 bind.optional(op.scale),
                                 bind.optional(op.bias),
                                 bind.optional(op.residual),
                                 bind.optional(op.sum)};
  for (const Region &region : regions)
    if (region.data)
      bind.same(regions[X], region, "x and another operand");
  bind.require(op.dims >= 1 && op.dims <= regions[X].rank(),
               "cannot normalise " + std::to_string(op.dims) + " dimensions of " +
                   shapeText(regions[X].sizes));
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<NormWork>(op, std::move(regions), context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu
