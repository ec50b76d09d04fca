// SPDX-License-Identifier: Apache-2.0
// Attention: per batch and KV head, keys and values are packed into panels once; then blocks of up
// to 48 query rows (over all query heads of the group) compute scores, softmax and the weighted sum
// of values. Few rows, as in decoding, read keys and values where they lie.
#include "Work.h"

#include <limits>

namespace tenon::runtime::cpu {
namespace {

constexpr int64_t kRowsPerBlock = 48;
// Up to this many rows packing costs more than it saves.
constexpr int64_t kFewRows = 8;

enum Slot { Q, K, V, Out, Mask, Bias, kSlots };

class AttentionWork : public Work {
public:
  AttentionWork(const plan::Attention &op, std::vector<Region> regions, Context &context)
      : regions_(std::move(regions)), scale_(op.scale), causal_(op.causal),
        position_(op.position.base), context_(context) {
    const std::vector<int64_t> &q = regions_[Q].sizes;
    b_ = q[0];
    s_ = q[1];
    g_ = q[2];
    r_ = q[3];
    d_ = q[4];
    t_ = regions_[K].sizes[1];
    e_ = regions_[V].sizes[3];
    panel_ = context.rows->panel;
    rows_ = s_ * r_;
    block_ = std::min(rows_, kRowsPerBlock);
    // Keys that some query sees.
    keys_ = causal_ ? std::clamp<int64_t>(position_ + s_, 0, t_) : t_;
    auto direct = [&](Slot slot) {
      return regions_[slot].type == plan::DataType::F32 && regions_[slot].strides.back() == 1;
    };
    inPlace_ = rows_ <= kFewRows && direct(K) && direct(V);
    tPad_ = roundUp(keys_);
    ePad_ = roundUp(e_);
    int64_t at = 0;
    auto take = [&](int64_t floats) {
      int64_t offset = at;
      at += paddedFloats(floats);
      return offset;
    };
    keyPanels_ = take(inPlace_ ? 0 : tPad_ * d_);
    valuePanels_ = take(inPlace_ ? 0 : keys_ * ePad_);
    queries_ = take(block_ * d_);
    scores_ = take(block_ * tPad_);
    sums_ = take(block_ * ePad_);
    inverse_ = take(block_);
    staged_ = take(std::max({panel_ * d_, keys_, e_}));
    floats_ = at;
  }

  Status prepareScratch() { return context_.reserveRows(*this, floats_); }

  Status run() override {
    if (regions_[Out].empty())
      return Status();
    parallelFor(context_, b_ * g_, rows_ * keys_ * (d_ + e_) / 8 + 1,
                [&](int thread, int64_t begin, int64_t end) {
                  float *memory = context_.threadRows(thread, floats_);
                  for (int64_t i = begin; i < end; ++i)
                    runHead(i / g_, i % g_, memory);
                });
    return Status();
  }

private:
  int64_t roundUp(int64_t n) const { return (n + panel_ - 1) / panel_ * panel_; }

  int64_t offset(Slot slot, std::initializer_list<int64_t> index) const {
    int64_t at = 0;
    size_t d = 0;
    for (int64_t i : index)
      at += i * regions_[slot].strides[d++];
    return at;
  }

  void runHead(int64_t b, int64_t g, float *memory) const {
    if (!inPlace_) {
      packKeys(b, g, memory);
      packValues(b, g, memory);
    }
    for (int64_t row = 0; row < rows_; row += block_)
      runBlock(b, g, row, std::min(block_, rows_ - row), memory);
  }

  // Panel j holds keys [j * panel, (j + 1) * panel) as columns, d rows; what lies behind the last
  // key is 0.
  void packKeys(int64_t b, int64_t g, float *memory) const {
    const RowKernels &rows = *context_.rows;
    const Region &k = regions_[K];
    for (int64_t first = 0; first < keys_; first += panel_) {
      int64_t count = std::min(panel_, keys_ - first), stride = k.strides[1];
      const std::byte *from = k.at(offset(K, {b, first, g}));
      const float *matrix = reinterpret_cast<const float *>(from);
      if (k.type != plan::DataType::F32 || k.strides[3] != 1) {
        for (int64_t i = 0; i < count; ++i)
          rows.load(k.type, from + i * stride * k.width(), k.strides[3], memory + staged_ + i * d_,
                    d_);
        matrix = memory + staged_;
        stride = d_;
      }
      rows.packTransposed(matrix, stride, memory + keyPanels_ + first * d_, d_, count);
    }
  }

  // Panel j holds columns [j * panel, (j + 1) * panel) of the values, a row per key.
  void packValues(int64_t b, int64_t g, float *memory) const {
    const Region &v = regions_[V];
    for (int64_t column = 0; column < e_; column += panel_) {
      int64_t count = std::min(panel_, e_ - column);
      float *to = memory + valuePanels_ + column * keys_;
      for (int64_t i = 0; i < keys_; ++i, to += panel_) {
        context_.rows->load(v.type, v.at(offset(V, {b, i, g, column})), v.strides[3], to, count);
        std::fill(to + count, to + panel_, 0.0f);
      }
    }
  }

  // Number of keys that query i may see before masking.
  int64_t limit(int64_t i) const {
    return causal_ ? std::clamp<int64_t>(position_ + i + 1, 0, t_) : t_;
  }

  void runBlock(int64_t b, int64_t g, int64_t first, int64_t count, float *memory) const {
    const RowKernels &rows = *context_.rows;
    const Region &q = regions_[Q], &k = regions_[K], &v = regions_[V], &out = regions_[Out];
    float *queries = memory + queries_, *scores = memory + scores_, *sums = memory + sums_;
    float *inverse = memory + inverse_;
    int64_t seen = 0;
    for (int64_t i = 0; i < count; ++i) {
      int64_t r = (first + i) / s_, s = (first + i) % s_;
      rows.load(q.type, q.at(offset(Q, {b, s, g, r})), q.strides[4], queries + i * d_, d_);
      rows.scale(queries + i * d_, scale_, d_);
      seen = std::max(seen, limit(s));
    }
    for (int64_t key = 0; key < seen && !inPlace_; key += panel_)
      rows.product(queries, d_, memory + keyPanels_ + key * d_, panel_, scores + key, tPad_, count,
                   d_);
    if (inPlace_)
      rows.dotRows(queries, d_, count, reinterpret_cast<const float *>(k.at(offset(K, {b, 0, g}))),
                   k.strides[1], scores, tPad_, seen, d_);
    for (int64_t i = 0; i < count; ++i)
      inverse[i] = softmaxRow(b, g, (first + i) / s_, (first + i) % s_, seen, scores + i * tPad_,
                              memory + staged_);
    const float *values = reinterpret_cast<const float *>(v.at(offset(V, {b, 0, g})));
    // In place, what is left of the last panel would read beyond the values.
    const int64_t whole = inPlace_ ? e_ / panel_ * panel_ : e_;
    for (int64_t column = 0; column < whole; column += panel_)
      rows.product(scores, tPad_,
                   inPlace_ ? values + column : memory + valuePanels_ + column * keys_,
                   inPlace_ ? v.strides[1] : panel_, sums + column, ePad_, count, seen);
    for (int64_t i = 0; i < count; ++i) {
      int64_t r = (first + i) / s_, s = (first + i) % s_;
      float *sum = sums + i * ePad_;
      if (whole < e_) {
        std::fill(sum + whole, sum + e_, 0.0f);
        rows.addRows(scores + i * tPad_, values + whole, v.strides[1], sum + whole, e_ - whole,
                     seen);
      }
      // A row that attends to nothing has only zeros as weights and 0 as factor.
      rows.scale(sum, inverse[i], e_);
      rows.store(out.type, out.at(offset(Out, {b, s, g, r})), out.strides[4], sum, e_);
    }
  }

  // Turns scores into unnormalised weights, 0 where the query does not attend; returns 1 / their
  // sum, or 0.
  float softmaxRow(int64_t b, int64_t g, int64_t r, int64_t s, int64_t seen, float *scores,
                   float *staged) const {
    const RowKernels &rows = *context_.rows;
    const int64_t n = limit(s);
    if (regions_[Bias].data) {
      const Region &bias = regions_[Bias];
      rows.load(bias.type, bias.at(offset(Bias, {b, g, r, s})), bias.strides[4], staged, n);
      rows.binary(plan::ExprOp::Add, scores, staged, scores, n);
    }
    if (regions_[Mask].data) {
      const Region &mask = regions_[Mask];
      const uint8_t *attends = reinterpret_cast<const uint8_t *>(mask.at(offset(Mask, {b, s})));
      const int64_t stride = mask.strides[2];
      constexpr float infinity = std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < n; ++i)
        scores[i] = attends[i * stride] ? scores[i] : -infinity;
    }
    float sum = rows.expSum(scores, n);
    std::fill(scores + n, scores + seen, 0.0f);
    return sum == 0.0f ? 0.0f : 1.0f / sum;
  }

  std::vector<Region> regions_;
  float scale_;
  bool causal_;
  int64_t position_;
  Context &context_;
  int64_t b_, s_, g_, r_, d_, t_, e_, panel_, rows_, block_, keys_, tPad_, ePad_;
  bool inPlace_;
  /// Offsets into a thread's scratch, in floats.
  int64_t keyPanels_, valuePanels_, queries_, scores_, sums_, inverse_, staged_, floats_;
};

} // namespace

PreparedWork prepare(const plan::Attention &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.q),
                                 bind(op.k),
                                 bind(op.v),
                                 bind(op.out),
                                 bind.optional(op.mask),
                                 bind.optional(op.bias)};
  const Region &q = regions[Q], &k = regions[K], &v = regions[V], &out = regions[Out];
  bind.require(q.rank() == 5 && k.rank() == 4 && v.rank() == 4 && out.rank() == 5,
               "expected q and out of 5 dimensions, k and v of 4");
  if (!bind.status().ok())
    return bind.status();
  const int64_t b = q.sizes[0], s = q.sizes[1], g = q.sizes[2], r = q.sizes[3], t = k.sizes[1];
  auto expect = [&](Slot slot, const char *name, const std::vector<int64_t> &sizes) {
    bind.require(!regions[slot].data || regions[slot].sizes == sizes,
                 std::string("expected ") + name + " of " + shapeText(sizes) + ", found " +
                     shapeText(regions[slot].sizes));
  };
  expect(K, "k", {b, t, g, q.sizes[4]});
  expect(V, "v", {b, t, g, v.sizes[3]});
  expect(Out, "out", {b, s, g, r, v.sizes[3]});
  expect(Mask, "mask", {b, s, t});
  expect(Bias, "bias", {b, g, r, s, t});
  bind.require(!regions[Mask].data || regions[Mask].type == plan::DataType::I1,
               "expected a mask of i1");
  for (Slot slot : {Q, K, V, Out})
    bind.require(
        plan::byteWidth(regions[slot].type) != 8 && regions[slot].type != plan::DataType::I32 &&
            regions[slot].type != plan::DataType::I1,
        std::string("expected floating-point operands, found ") + plan::name(regions[slot].type));
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<AttentionWork>(op, std::move(regions), context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu
