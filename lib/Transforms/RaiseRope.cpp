// SPDX-License-Identifier: Apache-2.0
// Rotary embedding spelled out -> tp.rope: x * cos + concat(-x2, x1) * sin with tables whose halves
// are equal. A table is then a view [s, rot/2] of its stored constant, so all uses of a table are
// raised or none. A table of one value, as a single position 0 has, is a constant. Partial
// rotation, concat(rope(x[:rot]), x[rot:]), becomes one op on x.

#include "RaiseGraph.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

namespace {

struct Table {
  Value load;                  ///< Unless all elements are `splat`.
  int64_t sequenceDim = 0;     ///< Of the rotated value.
  int64_t sequenceStride = 0;  ///< In the stored tensor.
  std::optional<double> splat; ///< It fits any sequence dimension.
};

struct Rotation {
  Operation *root; ///< Its result is the rotated value.
  Value input;
  Table cos, sin;
  Operation *cosProduct, *sinProduct;
};

/// A constant of one value that broadcasts to `x`. It fits the first dimension of size 1, or the
/// second one.
std::optional<Table> matchSplat(Value value, Value x) {
  ArrayRef<int64_t> full = shapeOf(x);
  std::optional<double> splat = splatOf(value);
  if (!splat || shapeOf(value).size() > full.size() || full.size() < 2 || full.back() % 2 != 0)
    return std::nullopt;
  Table table;
  table.splat = splat;
  table.sequenceDim = full.size() == 2 ? 0 : 1;
  for (int64_t dim = full.size() - 2; dim > 0; --dim)
    if (full[dim] == 1)
      table.sequenceDim = dim;
  return table;
}

/// A constant with equal halves, broadcast over all dimensions of `x` but one and the last.
std::optional<Table> matchTable(Value value, Value x, WeightViews &weights) {
  if (std::optional<Table> table = matchSplat(value, x))
    return table;
  ArrayRef<int64_t> shape = shapeOf(value), full = shapeOf(x);
  Value load = value;
  while (auto reshape = load.getDefiningOp<ReshapeOp>())
    load = reshape.getInput();
  ml_program::GlobalOp global = weights.globalOf(load);
  if (!global || !global->hasAttr(kEqualHalvesAttr) || !weights.mayCut(load) || shape.empty() ||
      shape.size() > full.size() || full.size() < 2 || shape.back() != full.back() ||
      shape.back() % 2 != 0 || shapeOf(load).empty() || shapeOf(load).back() != shape.back())
    return std::nullopt;
  auto onlyLarge = [](ArrayRef<int64_t> sizes) -> std::optional<int64_t> {
    std::optional<int64_t> found;
    for (auto [dim, size] : llvm::enumerate(sizes))
      if (size != 1) {
        if (found)
          return std::nullopt;
        found = dim;
      }
    return found.value_or(-1);
  };
  std::optional<int64_t> inValue = onlyLarge(shape.drop_back()),
                         inLoad = onlyLarge(shapeOf(load).drop_back());
  if (!inValue || !inLoad)
    return std::nullopt;
  int64_t rank = full.size(),
          dim = *inValue < 0 ? rank - 2 : *inValue + rank - static_cast<int64_t>(shape.size());
  int64_t rows = *inValue < 0 ? 1 : shape[*inValue];
  if (full[dim] != rows)
    return std::nullopt;
  return Table{load, dim, *inLoad < 0 ? 1 : weights.viewOf(load).getStrides()[*inLoad], {}};
}

/// True for elements [offset, offset + size) of the last dimension of `x`.
bool isLastSlice(Value value, Value x, int64_t offset, int64_t size) {
  auto slice = value.getDefiningOp<SliceOp>();
  if (!slice || slice.getInput() != x || slice.getSizes().back() != size ||
      slice.getOffsets().back() != offset)
    return false;
  return llvm::all_of(slice.getStrides(), [](int64_t stride) { return stride == 1; }) &&
         shapeOf(value).drop_back() == shapeOf(x).drop_back();
}

/// concat(-x2, x1) along the last dimension; returns x.
Value matchRotateHalf(Value value) {
  auto concat = value.getDefiningOp<ConcatOp>();
  int64_t rank = shapeOf(value).size();
  if (!concat || concat.getInputs().size() != 2 ||
      static_cast<int64_t>(concat.getDim()) != rank - 1)
    return {};
  auto neg = concat.getInputs()[0].getDefiningOp<UnaryOp>();
  auto low = concat.getInputs()[1].getDefiningOp<SliceOp>();
  if (!neg || neg.getKind() != UnaryKind::Neg || !low)
    return {};
  Value x = low.getInput();
  int64_t half = shapeOf(x).back() / 2;
  bool matches = shapeOf(x) == shapeOf(value) && isLastSlice(low, x, 0, half) &&
                 isLastSlice(neg.getInput(), x, half, half);
  return matches ? x : Value();
}

std::optional<Rotation> matchRotation(BinaryOp sum, WeightViews &weights) {
  if (sum.getKind() != BinaryKind::Add)
    return std::nullopt;
  for (bool swapped : {false, true}) {
    auto straight = (swapped ? sum.getRhs() : sum.getLhs()).getDefiningOp<BinaryOp>();
    auto rotated = (swapped ? sum.getLhs() : sum.getRhs()).getDefiningOp<BinaryOp>();
    if (!straight || !rotated || !straight->hasOneUse() || !rotated->hasOneUse())
      continue;
    Value x;
    Value sin = otherOperand(rotated, BinaryKind::Mul,
                             [&](Value value) { return bool(x = matchRotateHalf(value)); });
    Value cos =
        sin ? otherOperand(straight, BinaryKind::Mul, [&](Value value) { return value == x; })
            : Value();
    if (!cos || x.getType() != sum.getType())
      continue;
    std::optional<Table> cosTable = matchTable(cos, x, weights),
                         sinTable = matchTable(sin, x, weights);
    if (!cosTable || !sinTable)
      continue;
    if (cosTable->splat)
      cosTable->sequenceDim = sinTable->sequenceDim;
    if (sinTable->splat)
      sinTable->sequenceDim = cosTable->sequenceDim;
    if (cosTable->sequenceDim != sinTable->sequenceDim)
      continue;
    Rotation rotation{sum, x, *cosTable, *sinTable, straight, rotated};
    // Only the first elements rotate, and the rest is joined to them again.
    auto first = x.getDefiningOp<SliceOp>();
    auto concat = sum->hasOneUse() ? dyn_cast<ConcatOp>(*sum->getUsers().begin()) : ConcatOp();
    if (first && concat && concat.getInputs().size() == 2 &&
        concat.getInputs()[0] == sum.getResult() &&
        concat.getType() == first.getInput().getType() &&
        isLastSlice(x, first.getInput(), 0, shapeOf(x).back()) &&
        isLastSlice(concat.getInputs()[1], first.getInput(), shapeOf(x).back(),
                    shapeOf(concat.getInputs()[1]).back())) {
      rotation.root = concat;
      rotation.input = first.getInput();
    }
    return rotation;
  }
  return std::nullopt;
}

/// f32 [rows, pairs].
Value makeTable(OpBuilder &builder, Location loc, const Table &table, int64_t rows, int64_t pairs,
                WeightViews &weights) {
  if (table.splat) {
    auto type = RankedTensorType::get({rows, pairs}, builder.getF32Type());
    return ConstantOp::create(builder, loc, type,
                              DenseElementsAttr::get(type, static_cast<float>(*table.splat)));
  }
  ViewAttr view = weights.viewOf(table.load);
  Value half = weights.load(table.load, view.getOffset(), {rows, pairs},
                            {table.sequenceStride, view.getStrides().back()});
  if (elementOf(half).isF32())
    return half;
  return ConvertOp::create(builder, loc, RankedTensorType::get(shapeOf(half), builder.getF32Type()),
                           half);
}

void replace(const Rotation &rotation, WeightViews &weights) {
  OpBuilder builder(rotation.root);
  Location loc = rotation.root->getLoc();
  Value x = rotation.input;
  SmallVector<int64_t> shape(shapeOf(x));
  int64_t dim = rotation.cos.sequenceDim, rows = shape[dim];
  if (dim == 0) { // A batch of one.
    shape.insert(shape.begin(), 1);
    x = makeReshape(builder, loc, x, shape);
    dim = 1;
  }
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, shape.size())),
                       back(shape.size());
  permutation.erase(permutation.begin() + dim);
  permutation.insert(permutation.begin() + 1, dim);
  for (auto [to, from] : llvm::enumerate(permutation))
    back[from] = to;
  x = makeTranspose(builder, loc, x, permutation);
  int64_t pairs = shapeOf(rotation.cosProduct->getResult(0)).back() / 2;
  Value cos = makeTable(builder, loc, rotation.cos, rows, pairs, weights),
        sin = makeTable(builder, loc, rotation.sin, rows, pairs, weights);
  Value rope = RopeOp::create(builder, loc, x.getType(), x, Value(), cos, sin,
                              builder.getBoolAttr(false), nullptr);
  rope = makeReshape(builder, loc, makeTranspose(builder, loc, rope, back),
                     shapeOf(rotation.root->getResult(0)));
  rotation.root->getResult(0).replaceAllUsesWith(rope);
}

/// True when a table is read elsewhere than in these products.
bool hasOtherUsers(Value table, const llvm::DenseSet<Operation *> &products) {
  return llvm::any_of(table.getUsers(), [&](Operation *user) {
    if (auto reshape = dyn_cast<ReshapeOp>(user))
      return hasOtherUsers(reshape, products);
    return !products.contains(user);
  });
}

} // namespace

void raise::raiseRope(func::FuncOp function, WeightViews &weights) {
  std::vector<Rotation> rotations;
  for (auto op : function.getOps<BinaryOp>())
    if (std::optional<Rotation> rotation = matchRotation(op, weights))
      rotations.push_back(*rotation);
  // A table that something else reads stays whole, and so do the tables that go with it.
  for (bool changed = true; changed;) {
    llvm::DenseSet<Operation *> products;
    for (const Rotation &rotation : rotations) {
      products.insert(rotation.cosProduct);
      products.insert(rotation.sinProduct);
    }
    llvm::DenseSet<Operation *> shared;
    for (auto load : function.getOps<ml_program::GlobalLoadConstOp>())
      if (hasOtherUsers(load.getResult(), products))
        shared.insert(weights.globalOf(load.getResult()));
    size_t before = rotations.size();
    llvm::erase_if(rotations, [&](const Rotation &rotation) {
      return shared.contains(weights.globalOf(rotation.cos.load)) ||
             shared.contains(weights.globalOf(rotation.sin.load));
    });
    changed = rotations.size() != before;
  }
  for (const Rotation &rotation : rotations)
    replace(rotation, weights);
  eraseDead(function);
}
