// SPDX-License-Identifier: Apache-2.0
// GatherRows: table rows by id; an id that another rank owns gives a row of zeros. Rows that are
// one aligned run of the same type move in 128-bit pieces, all others element by element.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 16; // Bytes.

struct GatherTask {
  const void *ids = nullptr, *table = nullptr;
  void *out = nullptr;
  Type idType = Type::I32, tableType = Type::F32, outType = Type::F32;
  long long base = 0, rows = 0, tableStep = 0; ///< Elements from one table row to the next.
  long long lookups = 0, perRow = 0;           ///< Pieces or elements of a row.
  long long width = 1;                         ///< Bytes of an element, where pieces are moved.
  Loops<2> outer;                              ///< ids, out.
  Loops<2> row;                                ///< table, out.
};

/// The row of the table that an id names, or -1.
__device__ inline long long rowOf(const GatherTask &task, long long offset) {
  long long id = loadInteger(task.idType, task.ids, offset);
  // An unsigned difference: ids near the ends of int64 must not overflow into the range.
  unsigned long long at =
      static_cast<unsigned long long>(id) - static_cast<unsigned long long>(task.base);
  return at < static_cast<unsigned long long>(task.rows) ? static_cast<long long>(at) : -1;
}

__global__ void gatherPieces(GatherTask task) {
  const long long units = task.lookups * task.perRow;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  const unsigned char *table = static_cast<const unsigned char *>(task.table);
  unsigned char *out = static_cast<unsigned char *>(task.out);
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    long long lookup = quotient(unit, task.perRow), piece = unit - lookup * task.perRow, at[2];
    offsetsAt(task.outer, lookup, at);
    long long row = rowOf(task, at[0]);
    uint4 value = make_uint4(0, 0, 0, 0);
    if (row >= 0)
      value = reinterpret_cast<const uint4 *>(table + row * task.tableStep * task.width)[piece];
    reinterpret_cast<uint4 *>(out + at[1] * task.width)[piece] = value;
  }
}

__global__ void gatherElements(GatherTask task) {
  const long long units = task.lookups * task.perRow;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    long long lookup = quotient(unit, task.perRow), i = unit - lookup * task.perRow, at[2],
              within[2];
    offsetsAt(task.outer, lookup, at);
    offsetsAt(task.row, i, within);
    long long row = rowOf(task, at[0]);
    if (row >= 0)
      moveElement(task.tableType, task.table, row * task.tableStep + within[0], task.outType,
                  task.out, at[1] + within[1]);
    else
      storeInteger(task.outType, task.out, at[1] + within[1], 0);
  }
}

class GatherRowsWork : public Work {
public:
  GatherRowsWork(const plan::GatherRows &op, const Region &ids, const Region &table,
                 const Region &out, Context &context)
      : context_(context) {
    task_.ids = ids.data;
    task_.table = table.data;
    task_.out = out.data;
    task_.idType = typeOf(ids);
    task_.tableType = typeOf(table);
    task_.outType = typeOf(out);
    task_.base = op.base.base;
    task_.rows = std::max<int64_t>(std::min(op.rows.base, table.sizes[0]), 0);
    task_.tableStep = table.strides[0];
    LoopNest lookups, row;
    lookups.operands = row.operands = 2;
    const size_t split = ids.sizes.size();
    for (size_t d = 0; d < split; ++d)
      lookups.push(ids.sizes[d], {ids.strides[d], out.strides[d]});
    for (size_t d = split; d < out.sizes.size(); ++d)
      row.push(out.sizes[d], {table.strides[d - split + 1], out.strides[d]});
    lookups.collapse();
    row.collapse();
    task_.lookups = lookups.iterations();
    task_.perRow = row.iterations();
    task_.outer = loopsOf<2>(lookups);
    task_.row = loopsOf<2>(row);
    const bool oneRun = row.depth() == 1 && row.strides[0][0] == 1 && row.strides[0][1] == 1;
    if (oneRun && table.type == out.type && task_.perRow * out.width() % kPiece == 0 &&
        reinterpret_cast<uintptr_t>(table.data) % kPiece == 0 &&
        task_.tableStep * table.width() % kPiece == 0 && rowsAligned(out, lookups, 1)) {
      kernel_ = gatherPieces;
      task_.width = out.width();
      task_.perRow = task_.perRow * task_.width / kPiece;
    }
  }

  void enqueue(cudaStream_t stream) override {
    const int64_t units = task_.lookups * task_.perRow;
    if (units > 0)
      context_.note(
          launch(kernel_, gridFor(units, kThreads), dim3(unsigned(kThreads)), 0, stream, task_),
          "gather_rows");
  }

private:
  Context &context_;
  GatherTask task_;
  void (*kernel_)(GatherTask) = gatherElements;
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
  return std::unique_ptr<Work>(new GatherRowsWork(op, ids, table, out, context));
}

} // namespace tenon::runtime::cuda
