// SPDX-License-Identifier: Apache-2.0
// GatherRows: table rows by id; an id that another rank owns gives a row of zeros.
#include "CastRun.h"
#include "Work.h"

#include <cstring>

namespace tenon::runtime::cpu {
namespace {

class GatherRowsWork : public Work {
public:
  GatherRowsWork(const plan::GatherRows &op, Region ids, Region table, Region out, Context &context)
      : ids_(std::move(ids)), table_(std::move(table)), out_(std::move(out)), context_(context),
        base_(op.base.base), rows_(std::min(op.rows.base, table_.sizes[0])),
        run_(castRun(table_.type, out_.type)), zero_(castRun(out_.type, out_.type)) {
    int64_t split = ids_.rank();
    lookups_.operands = 2;
    for (int64_t d = 0; d < split; ++d)
      lookups_.push(ids_.sizes[d], {ids_.strides[d], out_.strides[d]});
    lookups_.collapse();
    row_.operands = 2;
    for (int64_t d = split; d < out_.rank(); ++d)
      row_.push(out_.sizes[d], {table_.strides[d - split + 1], out_.strides[d]});
    rowElements_ = row_.iterations();
    row_.collapse();
    inner_ = row_.popInner();
  }

  Status run() override {
    if (out_.empty())
      return Status();
    parallelFor(context_, lookups_.iterations(), rowElements_,
                [&](int, int64_t begin, int64_t end) {
                  NestCursor cursor(lookups_, begin);
                  for (int64_t i = begin; i < end; ++i, cursor.next())
                    lookUp(idAt(cursor[0]), cursor[1]);
                });
    return Status();
  }

private:
  int64_t idAt(int64_t offset) const {
    if (ids_.type == plan::DataType::I64)
      return reinterpret_cast<const int64_t *>(ids_.data)[offset];
    return reinterpret_cast<const int32_t *>(ids_.data)[offset];
  }

  void lookUp(int64_t id, int64_t outOffset) const {
    // An unsigned difference: ids near the ends of int64 must not overflow into the range.
    uint64_t at = uint64_t(id) - uint64_t(base_);
    bool owned = rows_ > 0 && at < uint64_t(rows_);
    NestCursor cursor(row_, 0);
    int64_t n = inner_.sizes[0], toStride = inner_.strides[0][1];
    static constexpr std::byte zeros[8] = {};
    for (int64_t i = 0, pieces = row_.iterations(); i < pieces; ++i, cursor.next()) {
      std::byte *to = out_.at(outOffset + cursor[1]);
      if (owned)
        run_(*context_.rows, table_.at(int64_t(at) * table_.strides[0] + cursor[0]),
             inner_.strides[0][0], to, toStride, n);
      else
        zero_(*context_.rows, zeros, 0, to, toStride, n);
    }
  }

  Region ids_, table_, out_;
  Context &context_;
  int64_t base_, rows_;
  CastRun run_, zero_;
  LoopNest lookups_, row_, inner_;
  int64_t rowElements_ = 0;
};

} // namespace

PreparedWork prepare(const plan::GatherRows &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region ids = bind(op.ids), table = bind(op.table), out = bind(op.out);
  bind.require(ids.type == plan::DataType::I32 || ids.type == plan::DataType::I64,
               std::string("expected ids of i32 or i64, found ") + plan::name(ids.type));
  std::vector<int64_t> expected = ids.sizes;
  if (table.rank() > 0)
    expected.insert(expected.end(), table.sizes.begin() + 1, table.sizes.end());
  bind.require(table.rank() > 0 && out.sizes == expected,
               "expected out of " + shapeText(expected) + ", found " + shapeText(out.sizes));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(
      new GatherRowsWork(op, std::move(ids), std::move(table), std::move(out), context));
}

} // namespace tenon::runtime::cpu
