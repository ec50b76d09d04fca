// SPDX-License-Identifier: Apache-2.0
// Rope: rotates each row by the angles at its position. A position outside the tables fails the
// step.
#include "Work.h"

#include <atomic>

namespace tenon::runtime::cpu {
namespace {

enum Slot { X, Out, Positions, kSlots };

class RopeWork : public Work {
public:
  RopeWork(const plan::Rope &op, std::vector<Region> regions, Region cosines, Region sines,
           Context &context)
      : regions_(std::move(regions)), cosines_(std::move(cosines)), sines_(std::move(sines)),
        interleaved_(op.interleaved), context_(context) {
    const Region &x = regions_[X], &out = regions_[Out], &positions = regions_[Positions];
    n_ = x.sizes.back();
    half_ = cosines_.sizes[1];
    rows_.operands = kSlots;
    for (int64_t d = 0; d + 1 < x.rank(); ++d)
      rows_.push(x.sizes[d], {x.strides[d], out.strides[d], d < 2 ? positions.strides[d] : 0});
    empty_ = x.empty();
    xDirect_ = x.type == plan::DataType::F32 && x.strides.back() == 1;
    outDirect_ = out.type == plan::DataType::F32 && out.strides.back() == 1;
    tablesDirect_ = (half_ <= 1 || (cosines_.strides[1] == 1 && sines_.strides[1] == 1));
  }

  Status prepareScratch() { return context_.reserveRows(*this, floatsPerThread()); }

  Status run() override {
    if (empty_)
      return Status();
    const int64_t capacity = cosines_.sizes[0];
    const RowKernels &rows = *context_.rows;
    std::atomic<int64_t> outside = -1;
    std::atomic<bool> failed = false;
    parallelFor(context_, rows_.iterations(), n_ * 2, [&](int thread, int64_t begin, int64_t end) {
      float *xRow = context_.threadRows(thread, floatsPerThread());
      float *outRow = xRow + paddedFloats(n_);
      float *cosRow = outRow + paddedFloats(n_), *sinRow = cosRow + paddedFloats(half_);
      NestCursor cursor(rows_, begin);
      for (int64_t i = begin; i < end; ++i, cursor.next()) {
        int64_t position = positionAt(cursor[Positions]);
        if (position < 0 || position >= capacity) {
          outside = position;
          failed = true;
          return;
        }
        const float *x = reinterpret_cast<const float *>(regions_[X].at(cursor[X]));
        if (!xDirect_) {
          rows.load(regions_[X].type, x, regions_[X].strides.back(), xRow, n_);
          x = xRow;
        }
        float *out = reinterpret_cast<float *>(regions_[Out].at(cursor[Out]));
        rows.rope(x, tableRow(cosines_, position, cosRow), tableRow(sines_, position, sinRow),
                  outDirect_ ? out : outRow, half_, n_, interleaved_);
        if (!outDirect_)
          rows.store(regions_[Out].type, out, regions_[Out].strides.back(), outRow, n_);
      }
    });
    if (failed)
      return Status(Code::Device, "position " + std::to_string(outside.load()) +
                                      " is outside the tables of " + std::to_string(capacity));
    return Status();
  }

private:
  int64_t floatsPerThread() const { return 2 * paddedFloats(n_) + 2 * paddedFloats(half_); }

  int64_t positionAt(int64_t offset) const {
    const Region &positions = regions_[Positions];
    if (positions.type == plan::DataType::I64)
      return reinterpret_cast<const int64_t *>(positions.data)[offset];
    return reinterpret_cast<const int32_t *>(positions.data)[offset];
  }

  const float *tableRow(const Region &table, int64_t position, float *staged) const {
    std::byte *row = table.at(position * table.strides[0]);
    if (tablesDirect_)
      return reinterpret_cast<const float *>(row);
    context_.rows->load(table.type, row, table.strides[1], staged, half_);
    return staged;
  }

  std::vector<Region> regions_;
  Region cosines_, sines_;
  bool interleaved_;
  Context &context_;
  LoopNest rows_;
  int64_t n_ = 0, half_ = 0;
  bool empty_ = false, xDirect_ = false, outDirect_ = false, tablesDirect_ = false;
};

} // namespace

PreparedWork prepare(const plan::Rope &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out), positions = bind(op.positions);
  Region cosines = bind(op.cos), sines = bind(op.sin);
  bind.same(x, out, "x and out");
  bind.same(cosines, sines, "cos and sin");
  bind.require(x.rank() >= 3, "expected x of at least 3 dimensions, found " + shapeText(x.sizes));
  bind.require(positions.rank() == 2 && x.rank() >= 3 && positions.sizes[0] == x.sizes[0] &&
                   positions.sizes[1] == x.sizes[1],
               "positions " + shapeText(positions.sizes) + " do not fit x " + shapeText(x.sizes));
  bind.require(positions.type == plan::DataType::I32 || positions.type == plan::DataType::I64,
               std::string("expected positions of i32 or i64, found ") +
                   plan::name(positions.type));
  bind.require(cosines.type == plan::DataType::F32 && sines.type == plan::DataType::F32,
               "expected tables of f32");
  bind.require(cosines.rank() == 2 && x.rank() >= 3 && 2 * cosines.sizes[1] <= x.sizes.back(),
               "tables " + shapeText(cosines.sizes) + " do not fit x " + shapeText(x.sizes));
  if (!bind.status().ok())
    return bind.status();
  std::vector<Region> regions = {std::move(x), std::move(out), std::move(positions)};
  auto work = std::make_unique<RopeWork>(op, std::move(regions), std::move(cosines),
                                         std::move(sines), context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu
