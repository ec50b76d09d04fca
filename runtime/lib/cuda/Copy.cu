// SPDX-License-Identifier: Apache-2.0
// Copy: strided, with cast. Runs that are contiguous on both sides move in 128-bit pieces; a
// transposition goes through tiles in shared memory, so that both sides use whole lines; everything
// else goes element by element.
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 16; // Bytes.
constexpr int kTile = 32, kTileRows = 8;

/// Operand 0 is out, operand 1 is x, as the loops are sorted by out.
struct CopyTask {
  const void *x = nullptr;
  void *out = nullptr;
  Type xType = Type::F32, outType = Type::F32;
  long long elements = 0;
  Loops<2> loops;
};

__global__ void copyElements(CopyTask task) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < task.elements; i += step) {
    long long at[2];
    offsetsAt(task.loops, i, at);
    moveElement(task.xType, task.x, at[1], task.outType, task.out, at[0]);
  }
}

/// `elements` counts pieces; the innermost loop has been taken off.
struct PieceTask {
  const unsigned char *x = nullptr;
  unsigned char *out = nullptr;
  long long pieces = 0, perRun = 0;
  long long width = 1; ///< Bytes of an element.
  Loops<2> outer;
};

__global__ void copyPieces(PieceTask task) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < task.pieces;
       i += step) {
    long long run = quotient(i, task.perRun), piece = i - run * task.perRun, at[2];
    offsetsAt(task.outer, run, at);
    reinterpret_cast<uint4 *>(task.out + at[0] * task.width)[piece] =
        reinterpret_cast<const uint4 *>(task.x + at[1] * task.width)[piece];
  }
}

/// Eight elements at a time between float types.
struct PackTask {
  const void *x = nullptr;
  void *out = nullptr;
  Type xType = Type::F32, outType = Type::F32;
  long long packs = 0, perRun = 0;
  Loops<2> outer;
};

__global__ void copyPacks(PackTask task) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < task.packs;
       i += step) {
    long long run = quotient(i, task.perRun), column = (i - run * task.perRun) * 8, at[2];
    offsetsAt(task.outer, run, at);
    storePack(task.outType, task.out, at[0] + column, loadPack(task.xType, task.x, at[1] + column));
  }
}

/// out steps by 1 along `columns`, x along `rows`.
struct TileTask {
  const void *x = nullptr;
  void *out = nullptr;
  long long rows = 0, columns = 0;
  long long xColumn = 0, outRow = 0; ///< Steps of the other dimension on each side.
  long long tileRows = 0, tileColumns = 0, tiles = 0;
  Loops<2> outer;
};

template <typename T> __global__ void copyTiles(TileTask task) {
  // One element more per row keeps a column of the tile off one bank.
  __shared__ T tile[kTile][kTile + 1];
  const int lane = int(threadIdx.x) % kTile, first = int(threadIdx.x) / kTile;
  const T *x = static_cast<const T *>(task.x);
  T *out = static_cast<T *>(task.out);
  for (long long i = blockIdx.x; i < task.tiles; i += gridDim.x) {
    long long at[2];
    const long long perMatrix = task.tileRows * task.tileColumns;
    const long long matrix = quotient(i, perMatrix), place = i - matrix * perMatrix;
    const long long row = quotient(place, task.tileColumns) * kTile;
    const long long column = (place - row / kTile * task.tileColumns) * kTile;
    offsetsAt(task.outer, matrix, at);
    for (int j = first; j < kTile; j += kTileRows)
      if (column + j < task.columns && row + lane < task.rows)
        tile[j][lane] = x[at[1] + (column + j) * task.xColumn + row + lane];
    __syncthreads();
    for (int j = first; j < kTile; j += kTileRows)
      if (row + j < task.rows && column + lane < task.columns)
        out[at[0] + (row + j) * task.outRow + column + lane] = tile[lane][j];
    __syncthreads();
  }
}

class CopyWork : public Work {
public:
  CopyWork(const Region &from, const Region &to, Context &context) : context_(context) {
    const Region *both[] = {&to, &from};
    task_.x = from.data;
    task_.out = to.data;
    task_.xType = typeOf(from);
    task_.outType = typeOf(to);
    task_.elements = to.elements();
    if (task_.elements == 0)
      return;
    LoopNest nest = nestOf(both, 0, to.rank());
    nest.sortBy(0);
    nest.collapse();
    task_.loops = loopsOf<2>(nest);
    LoopNest outer = nest;
    LoopNest inner = outer.popInner();
    const bool runs = inner.strides[0][0] == 1 && inner.strides[0][1] == 1;
    if (runs && from.type == to.type)
      choosePieces(from, to, outer, inner.sizes[0]);
    else if (runs && isFloat(from.type) && isFloat(to.type))
      choosePacks(from, to, outer, inner.sizes[0]);
    else if (inner.strides[0][0] == 1 && from.type == to.type)
      chooseTiles(from, to, outer, inner);
  }

  void enqueue(cudaStream_t stream) override {
    if (task_.elements == 0)
      return;
    const dim3 block{unsigned(kThreads)};
    if (pieces_.pieces)
      context_.note(
          launch(copyPieces, gridFor(pieces_.pieces, kThreads), block, 0, stream, pieces_), "copy");
    else if (packs_.packs)
      context_.note(launch(copyPacks, gridFor(packs_.packs, kThreads), block, 0, stream, packs_),
                    "copy");
    else if (tiles_.tiles)
      context_.note(launch(tileKernel_, gridFor(tiles_.tiles, 1), block, 0, stream, tiles_),
                    "copy");
    else
      context_.note(
          launch(copyElements, gridFor(task_.elements, kThreads), block, 0, stream, task_), "copy");
  }

private:
  void choosePieces(const Region &from, const Region &to, const LoopNest &outer, int64_t run) {
    if (run * to.width() % kPiece != 0 || !rowsAligned(to, outer, 0) ||
        !rowsAligned(from, outer, 1))
      return;
    pieces_.x = reinterpret_cast<const unsigned char *>(from.data);
    pieces_.out = reinterpret_cast<unsigned char *>(to.data);
    pieces_.width = to.width();
    pieces_.perRun = run * to.width() / kPiece;
    pieces_.pieces = outer.iterations() * pieces_.perRun;
    pieces_.outer = loopsOf<2>(outer);
  }

  void choosePacks(const Region &from, const Region &to, const LoopNest &outer, int64_t run) {
    if (run % 8 != 0 || !rowsAligned(to, outer, 0) || !rowsAligned(from, outer, 1))
      return;
    packs_.x = from.data;
    packs_.out = to.data;
    packs_.xType = task_.xType;
    packs_.outType = task_.outType;
    packs_.perRun = run / 8;
    packs_.packs = outer.iterations() * packs_.perRun;
    packs_.outer = loopsOf<2>(outer);
  }

  // The dimension in which x steps by 1 becomes the rows of the tiles.
  void chooseTiles(const Region &from, const Region &to, LoopNest outer, const LoopNest &inner) {
    size_t unit = outer.sizes.size();
    for (size_t d = 0; d < outer.sizes.size(); ++d)
      if (outer.strides[d][1] == 1)
        unit = d;
    if (unit == outer.sizes.size() || outer.sizes[unit] < kTile / 2 || inner.sizes[0] < kTile / 2)
      return;
    tiles_.x = from.data;
    tiles_.out = to.data;
    tiles_.rows = outer.sizes[unit];
    tiles_.outRow = outer.strides[unit][0];
    tiles_.columns = inner.sizes[0];
    tiles_.xColumn = inner.strides[0][1];
    outer.sizes.erase(outer.sizes.begin() + long(unit));
    outer.strides.erase(outer.strides.begin() + long(unit));
    tiles_.tileRows = (tiles_.rows + kTile - 1) / kTile;
    tiles_.tileColumns = (tiles_.columns + kTile - 1) / kTile;
    tiles_.tiles = outer.iterations() * tiles_.tileRows * tiles_.tileColumns;
    tiles_.outer = loopsOf<2>(outer);
    tileKernel_ = to.width() == 1   ? copyTiles<unsigned char>
                  : to.width() == 2 ? copyTiles<unsigned short>
                  : to.width() == 4 ? copyTiles<unsigned>
                                    : copyTiles<unsigned long long>;
  }

  Context &context_;
  CopyTask task_;
  PieceTask pieces_;
  PackTask packs_;
  TileTask tiles_;
  void (*tileKernel_)(TileTask) = nullptr;
};

} // namespace

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

} // namespace tenon::runtime::cuda
