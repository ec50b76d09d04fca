// SPDX-License-Identifier: Apache-2.0
// Copy: strided, with cast. Runs that are contiguous on both sides are memcpy; a transposition goes
// in tiles of 32 x 32, so that both sides use whole cache lines.
#include "CastRun.h"
#include "Work.h"

#include <cstring>

namespace tenon::runtime::cpu {
namespace {

template <typename T>
void sameRun(const RowKernels &, const std::byte *from, int64_t fromStride, std::byte *to,
             int64_t toStride, int64_t n) {
  if (fromStride == 1 && toStride == 1) {
    std::memcpy(to, from, size_t(n) * sizeof(T));
    return;
  }
  const T *src = reinterpret_cast<const T *>(from);
  T *dst = reinterpret_cast<T *>(to);
  for (int64_t i = 0; i < n; ++i)
    dst[i * toStride] = src[i * fromStride];
}

template <typename From, typename To, bool ToBool>
void integerRun(const RowKernels &, const std::byte *from, int64_t fromStride, std::byte *to,
                int64_t toStride, int64_t n) {
  const From *src = reinterpret_cast<const From *>(from);
  To *dst = reinterpret_cast<To *>(to);
  for (int64_t i = 0; i < n; ++i)
    dst[i * toStride] = ToBool ? To(src[i * fromStride] != 0) : To(src[i * fromStride]);
}

template <plan::DataType From, plan::DataType To>
void floatRun(const RowKernels &rows, const std::byte *from, int64_t fromStride, std::byte *to,
              int64_t toStride, int64_t n) {
  if (To == plan::DataType::F32 && toStride == 1)
    return rows.load(From, from, fromStride, reinterpret_cast<float *>(to), n);
  if (From == plan::DataType::F32 && fromStride == 1)
    return rows.store(To, to, toStride, reinterpret_cast<const float *>(from), n);
  constexpr int64_t kChunk = 256;
  float staged[kChunk];
  int64_t fromWidth = plan::byteWidth(From), toWidth = plan::byteWidth(To);
  for (int64_t i = 0; i < n; i += kChunk) {
    int64_t count = std::min(kChunk, n - i);
    rows.load(From, from + i * fromStride * fromWidth, fromStride, staged, count);
    rows.store(To, to + i * toStride * toWidth, toStride, staged, count);
  }
}

template <plan::DataType From> CastRun castFrom(plan::DataType to) {
  using plan::DataType;
  switch (to) {
  case DataType::F32:
    return floatRun<From, DataType::F32>;
  case DataType::BF16:
    return floatRun<From, DataType::BF16>;
  case DataType::F16:
    return floatRun<From, DataType::F16>;
  case DataType::I32:
    return floatRun<From, DataType::I32>;
  case DataType::I64:
    return floatRun<From, DataType::I64>;
  case DataType::I1:
    return floatRun<From, DataType::I1>;
  }
  return nullptr;
}

template <typename From> CastRun integerTo(plan::DataType to, CastRun floats) {
  using plan::DataType;
  if (to == DataType::I32)
    return integerRun<From, int32_t, false>;
  if (to == DataType::I64)
    return integerRun<From, int64_t, false>;
  if (to == DataType::I1)
    return integerRun<From, uint8_t, true>;
  return floats;
}

CastRun sameType(plan::DataType type) {
  switch (plan::byteWidth(type)) {
  case 1:
    return sameRun<uint8_t>;
  case 2:
    return sameRun<uint16_t>;
  case 4:
    return sameRun<uint32_t>;
  default:
    return sameRun<uint64_t>;
  }
}

template <typename T>
void transposeTile(const std::byte *from, int64_t fromRow, std::byte *to, int64_t toColumn,
                   int64_t rows, int64_t columns) {
  const T *src = reinterpret_cast<const T *>(from);
  T *dst = reinterpret_cast<T *>(to);
  // Through a local tile: with steps of 4 KiB all lines of a column fall on the same few places of
  // the cache, so both sides are touched in whole rows only. One element more per row keeps the
  // tile itself from that.
  constexpr int64_t kTile = 32;
  T local[kTile][kTile + 1];
  for (int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      int64_t height = std::min(rows - r0, kTile), width = std::min(columns - c0, kTile);
      for (int64_t r = 0; r < height; ++r)
        std::memcpy(local[r], src + (r0 + r) * fromRow + c0, size_t(width) * sizeof(T));
      for (int64_t c = 0; c < width; ++c)
        for (int64_t r = 0; r < height; ++r)
          dst[(c0 + c) * toColumn + r0 + r] = local[r][c];
    }
}

class CopyWork : public Work {
public:
  CopyWork(const Region &from, const Region &to, Context &context)
      : from_(from), to_(to), context_(context), run_(castRun(from.type, to.type)) {
    const Region *both[] = {&to, &from};
    outer_ = nestOf(both, 0, to.rank());
    outer_.sortBy(0);
    outer_.collapse();
    empty_ = to.empty();
    LoopNest inner = outer_.popInner();
    n_ = inner.sizes[0];
    toStride_ = inner.strides[0][0];
    fromStride_ = inner.strides[0][1];
    takeTile();
  }

  Status run() override {
    if (empty_)
      return Status();
    int64_t columns = tileColumns_ ? tileColumns_ : 1;
    parallelFor(context_, outer_.iterations(), n_ * columns, [&](int, int64_t begin, int64_t end) {
      NestCursor cursor(outer_, begin);
      for (int64_t i = begin; i < end; ++i, cursor.next()) {
        const std::byte *from = from_.at(cursor[1]);
        std::byte *to = to_.at(cursor[0]);
        if (tileColumns_)
          tile(from, to);
        else
          run_(*context_.rows, from, fromStride_, to, toStride_, n_);
      }
    });
    return Status();
  }

private:
  // Pairs the inner loop (unit step in `to`) with the loop that has unit step in `from`.
  void takeTile() {
    if (from_.type != to_.type || toStride_ != 1 || fromStride_ <= 1)
      return;
    for (size_t d = 0; d < outer_.sizes.size(); ++d)
      if (outer_.strides[d][1] == 1) {
        tileColumns_ = outer_.sizes[d];
        tileToColumn_ = outer_.strides[d][0];
        outer_.sizes.erase(outer_.sizes.begin() + d);
        outer_.strides.erase(outer_.strides.begin() + d);
        return;
      }
  }

  void tile(const std::byte *from, std::byte *to) const {
    switch (to_.width()) {
    case 1:
      return transposeTile<uint8_t>(from, fromStride_, to, tileToColumn_, n_, tileColumns_);
    case 2:
      return transposeTile<uint16_t>(from, fromStride_, to, tileToColumn_, n_, tileColumns_);
    case 4:
      return transposeTile<uint32_t>(from, fromStride_, to, tileToColumn_, n_, tileColumns_);
    default:
      return transposeTile<uint64_t>(from, fromStride_, to, tileToColumn_, n_, tileColumns_);
    }
  }

  Region from_, to_;
  Context &context_;
  CastRun run_;
  LoopNest outer_;
  bool empty_ = false;
  int64_t n_ = 1, toStride_ = 0, fromStride_ = 0;
  int64_t tileColumns_ = 0, tileToColumn_ = 0;
};

} // namespace

CastRun castRun(plan::DataType from, plan::DataType to) {
  using plan::DataType;
  if (from == to)
    return sameType(from);
  switch (from) {
  case DataType::F32:
    return castFrom<DataType::F32>(to);
  case DataType::BF16:
    return castFrom<DataType::BF16>(to);
  case DataType::F16:
    return castFrom<DataType::F16>(to);
  case DataType::I32:
    return integerTo<int32_t>(to, castFrom<DataType::I32>(to));
  case DataType::I64:
    return integerTo<int64_t>(to, castFrom<DataType::I64>(to));
  case DataType::I1:
    return integerTo<uint8_t>(to, castFrom<DataType::I1>(to));
  }
  return nullptr;
}

std::unique_ptr<Work> makeCopy(const Region &from, const Region &to, Context &context) {
  return std::make_unique<CopyWork>(from, to, context);
}

PreparedWork prepare(const plan::Copy &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.same(x, out, "x and out");
  if (!bind.status().ok())
    return bind.status();
  return makeCopy(x, out, context);
}

} // namespace tenon::runtime::cpu
