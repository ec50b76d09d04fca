// SPDX-License-Identifier: Apache-2.0
// Reduce and softmax. Where x's fastest dimension is reduced, whole runs are summed; where it is
// kept, runs are added to a row of accumulators. Integers go element by element in int64.
#include "CastRun.h"
#include "Work.h"

#include <limits>

namespace tenon::runtime::cpu {
namespace {

constexpr int64_t kChunk = 1024;

float identity(plan::ReduceKind kind) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return kind == plan::ReduceKind::Sum   ? 0.0f
         : kind == plan::ReduceKind::Max ? -infinity
                                         : infinity;
}

/// The loops over kept and reduced dimensions; operand 0 is x, operand 1 is out.
struct ReduceLoops {
  LoopNest kept, reduced;

  ReduceLoops(const plan::Reduce &op, const Region &x, const Region &out) {
    kept.operands = reduced.operands = 2;
    for (int64_t d = 0; d < x.rank(); ++d) {
      if (op.reduced[d])
        reduced.push(x.sizes[d], {x.strides[d], 0});
      else
        kept.push(x.sizes[d], {x.strides[d], out.strides[d]});
    }
    kept.sortBy(0);
    reduced.sortBy(0);
    kept.collapse();
    reduced.collapse();
  }
};

class FloatReduceWork : public Work {
public:
  FloatReduceWork(const plan::Reduce &op, Region x, Region out, Context &context)
      : x_(std::move(x)), out_(std::move(out)), kind_(op.kind), context_(context),
        loops_(op, x_, out_) {
    empty_ = out_.empty();
    reducedCount_ = loops_.reduced.iterations();
    keptInner_ = loops_.kept.sizes.empty() ? 0 : loops_.kept.strides.back()[0];
    reducedInner_ = loops_.reduced.sizes.empty() ? 0 : loops_.reduced.strides.back()[0];
    byRuns_ =
        loops_.kept.sizes.empty() || (!loops_.reduced.sizes.empty() && reducedInner_ <= keptInner_);
    inner_ = byRuns_ ? loops_.reduced.popInner() : loops_.kept.popInner();
  }

  Status prepareScratch() { return context_.reserveRows(*this, 2 * kChunk); }

  Status run() override {
    if (empty_)
      return Status();
    if (byRuns_)
      reduceRuns();
    else
      addRuns();
    return Status();
  }

private:
  // Returns n elements of x from `offset` as f32, in place or staged.
  const float *elements(int64_t offset, int64_t n, float *staged) const {
    int64_t stride = inner_.strides[0][0];
    if (x_.type == plan::DataType::F32 && stride == 1)
      return reinterpret_cast<const float *>(x_.at(offset));
    context_.rows->load(x_.type, x_.at(offset), stride, staged, n);
    return staged;
  }

  double combine(double a, double b) const {
    if (kind_ == plan::ReduceKind::Sum)
      return a + b;
    bool first = kind_ == plan::ReduceKind::Max ? a > b : a < b;
    return first || a != a ? a : b;
  }

  void reduceRuns() {
    const LoopNest &kept = loops_.kept, &outer = loops_.reduced;
    const int64_t n = reducedCount_ == 0 ? 0 : inner_.sizes[0];
    const int64_t pieces = reducedCount_ == 0 ? 0 : outer.iterations();
    parallelFor(
        context_, kept.iterations(), reducedCount_, [&](int thread, int64_t begin, int64_t end) {
          float *staged = context_.threadRows(thread, 2 * kChunk);
          NestCursor cursor(kept, begin);
          for (int64_t i = begin; i < end; ++i, cursor.next()) {
            double total = identity(kind_);
            NestCursor piece(outer, 0);
            for (int64_t j = 0; j < pieces; ++j, piece.next())
              for (int64_t at = 0; at < n; at += kChunk) {
                int64_t count = std::min(kChunk, n - at);
                int64_t offset = cursor[0] + piece[0] + at * inner_.strides[0][0];
                total = combine(
                    total, context_.rows->reduce(kind_, elements(offset, count, staged), count));
              }
            float result = float(total);
            context_.rows->store(out_.type, out_.at(cursor[1]), 1, &result, 1);
          }
        });
  }

  void addRuns() {
    const LoopNest &outer = loops_.kept, &reduced = loops_.reduced;
    const int64_t n = inner_.sizes[0], chunks = (n + kChunk - 1) / kChunk;
    parallelFor(context_, outer.iterations() * chunks, std::min(n, kChunk) * reducedCount_,
                [&](int thread, int64_t begin, int64_t end) {
                  float *staged = context_.threadRows(thread, 2 * kChunk), *sums = staged + kChunk;
                  for (int64_t i = begin; i < end; ++i) {
                    NestCursor row(outer, i / chunks);
                    int64_t at = i % chunks * kChunk, count = std::min(kChunk, n - at);
                    std::fill(sums, sums + count, identity(kind_));
                    NestCursor piece(reduced, 0);
                    for (int64_t j = 0; j < reducedCount_; ++j, piece.next()) {
                      int64_t offset = row[0] + piece[0] + at * inner_.strides[0][0];
                      context_.rows->accumulate(kind_, sums, elements(offset, count, staged),
                                                count);
                    }
                    context_.rows->store(out_.type, out_.at(row[1] + at * inner_.strides[0][1]),
                                         inner_.strides[0][1], sums, count);
                  }
                });
  }

  Region x_, out_;
  plan::ReduceKind kind_;
  Context &context_;
  ReduceLoops loops_;
  LoopNest inner_;
  bool empty_ = false, byRuns_ = true;
  int64_t reducedCount_ = 1, keptInner_ = 0, reducedInner_ = 0;
};

class IntegerReduceWork : public Work {
public:
  IntegerReduceWork(const plan::Reduce &op, Region x, Region out, Context &context)
      : x_(std::move(x)), out_(std::move(out)), kind_(op.kind), context_(context),
        loops_(op, x_, out_), load_(castRun(x_.type, plan::DataType::I64)),
        store_(castRun(plan::DataType::I64, out_.type)) {
    empty_ = out_.empty();
  }

  Status run() override {
    if (empty_)
      return Status();
    const LoopNest &kept = loops_.kept, &reduced = loops_.reduced;
    const int64_t count = reduced.iterations();
    NestCursor cursor(kept, 0);
    for (int64_t i = 0, n = kept.iterations(); i < n; ++i, cursor.next()) {
      int64_t total = kind_ == plan::ReduceKind::Sum   ? 0
                      : kind_ == plan::ReduceKind::Max ? std::numeric_limits<int64_t>::min()
                                                       : std::numeric_limits<int64_t>::max();
      NestCursor piece(reduced, 0);
      for (int64_t j = 0; j < count; ++j, piece.next()) {
        int64_t value;
        load_(*context_.rows, x_.at(cursor[0] + piece[0]), 1, reinterpret_cast<std::byte *>(&value),
              1, 1);
        total = kind_ == plan::ReduceKind::Sum   ? int64_t(uint64_t(total) + uint64_t(value))
                : kind_ == plan::ReduceKind::Max ? std::max(total, value)
                                                 : std::min(total, value);
      }
      store_(*context_.rows, reinterpret_cast<const std::byte *>(&total), 1, out_.at(cursor[1]), 1,
             1);
    }
    return Status();
  }

private:
  Region x_, out_;
  plan::ReduceKind kind_;
  Context &context_;
  ReduceLoops loops_;
  CastRun load_, store_;
  bool empty_ = false;
};

class SoftmaxWork : public Work {
public:
  SoftmaxWork(const plan::Softmax &op, Region x, Region out, Context &context)
      : x_(std::move(x)), out_(std::move(out)), context_(context) {
    n_ = x_.sizes[op.dim];
    xStride_ = x_.strides[op.dim];
    outStride_ = out_.strides[op.dim];
    empty_ = x_.empty();
    rows_.operands = 2;
    for (int64_t d = 0; d < x_.rank(); ++d)
      if (d != op.dim)
        rows_.push(x_.sizes[d], {x_.strides[d], out_.strides[d]});
    rows_.collapse();
  }

  Status prepareScratch() { return context_.reserveRows(*this, n_); }

  Status run() override {
    if (empty_)
      return Status();
    const RowKernels &rows = *context_.rows;
    bool xDirect = x_.type == plan::DataType::F32 && xStride_ == 1;
    bool outDirect = out_.type == plan::DataType::F32 && outStride_ == 1;
    parallelFor(context_, rows_.iterations(), n_ * 8, [&](int thread, int64_t begin, int64_t end) {
      float *staged = context_.threadRows(thread, n_);
      NestCursor cursor(rows_, begin);
      for (int64_t i = begin; i < end; ++i, cursor.next()) {
        std::byte *x = x_.at(cursor[0]), *out = out_.at(cursor[1]);
        float *to = outDirect ? reinterpret_cast<float *>(out) : staged;
        const float *from = xDirect ? reinterpret_cast<const float *>(x) : staged;
        if (!xDirect)
          rows.load(x_.type, x, xStride_, staged, n_);
        rows.softmax(from, to, n_);
        if (!outDirect)
          rows.store(out_.type, out, outStride_, staged, n_);
      }
    });
    return Status();
  }

private:
  Region x_, out_;
  Context &context_;
  LoopNest rows_;
  int64_t n_ = 0, xStride_ = 0, outStride_ = 0;
  bool empty_ = false;
};

} // namespace

PreparedWork prepare(const plan::Reduce &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.require(op.reduced.size() == x.sizes.size(), "expected one bit per dimension");
  if (!bind.status().ok())
    return bind.status();
  std::vector<int64_t> expected = x.sizes;
  for (size_t d = 0; d < expected.size(); ++d)
    if (op.reduced[d])
      expected[d] = 1;
  bind.require(out.sizes == expected,
               "expected out of " + shapeText(expected) + ", found " + shapeText(out.sizes));
  if (!bind.status().ok())
    return bind.status();
  if (!isFloat(x.type))
    return std::unique_ptr<Work>(new IntegerReduceWork(op, std::move(x), std::move(out), context));
  auto work = std::make_unique<FloatReduceWork>(op, std::move(x), std::move(out), context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

PreparedWork prepare(const plan::Softmax &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.same(x, out, "x and out");
  bind.require(op.dim >= 0 && op.dim < x.rank(),
               "dimension " + std::to_string(op.dim) + " of " + shapeText(x.sizes));
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<SoftmaxWork>(op, std::move(x), std::move(out), context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu
