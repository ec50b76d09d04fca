// SPDX-License-Identifier: Apache-2.0

#include "RaiseLayout.h"
#include "RaiseGraph.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

//===----------------------------------------------------------------------===//
// Layout
//===----------------------------------------------------------------------===//

static void setDefaultOrder(Layout &layout) {
  layout.order.clear();
  for (auto [dim, parts] : llvm::enumerate(layout.dims))
    for (size_t part = 0; part < parts.parts.size(); ++part)
      layout.order.push_back({static_cast<int>(dim), static_cast<int>(part)});
}

Layout Layout::identity(ArrayRef<int64_t> shape) {
  Layout layout;
  for (int64_t size : shape)
    layout.dims.push_back({0, {{size, 1}}});
  setDefaultOrder(layout);
  return layout;
}

Layout Layout::split(ArrayRef<SmallVector<int64_t>> parts) {
  Layout layout;
  for (ArrayRef<int64_t> sizes : parts) {
    DimLayout dim;
    int64_t stride = 1;
    for (int64_t size : llvm::reverse(sizes)) {
      dim.parts.insert(dim.parts.begin(), {size, stride});
      stride *= size;
    }
    layout.dims.push_back(std::move(dim));
  }
  setDefaultOrder(layout);
  return layout;
}

Layout Layout::slice(ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                     ArrayRef<int64_t> strides) {
  Layout layout;
  for (auto [offset, size, stride] : llvm::zip_equal(offsets, sizes, strides))
    layout.dims.push_back({offset, {{size, stride}}});
  setDefaultOrder(layout);
  return layout;
}

Layout Layout::permuted(ArrayRef<int64_t> permutation) const {
  Layout layout = *this;
  for (auto [to, from] : llvm::enumerate(permutation))
    layout.order[to] = order[from];
  return layout;
}

bool Layout::isIdentity(ArrayRef<int64_t> shape, int dim) const {
  const DimLayout &layout = dims[dim];
  return layout.offset == 0 && layout.parts.size() == 1 && layout.parts[0].size == shape[dim] &&
         (shape[dim] == 1 || layout.parts[0].stride == 1);
}
bool Layout::isSorted() const { return llvm::is_sorted(order); }
bool Layout::isIdentity(ArrayRef<int64_t> shape) const {
  return isSorted() &&
         llvm::all_of(llvm::seq<int>(dims.size()), [&](int dim) { return isIdentity(shape, dim); });
}
bool Layout::isWhole(int64_t n, int dim) const {
  int64_t stride = 1;
  for (const Part &part : llvm::reverse(dims[dim].parts)) {
    if (part.size != 1 && part.stride != stride)
      return false;
    stride *= part.size;
  }
  return dims[dim].offset == 0 && stride == n;
}
bool Layout::isWhole(ArrayRef<int64_t> shape) const {
  return llvm::all_of(llvm::enumerate(shape),
                      [&](auto p) { return isWhole(p.value(), static_cast<int>(p.index())); });
}
bool Layout::isUnitReshape(ArrayRef<int64_t> shape) const {
  auto isUnit = [&](std::pair<int, int> entry) {
    return dims[entry.first].parts[entry.second].size == 1;
  };
  SmallVector<std::pair<int, int>> large;
  llvm::copy_if(order, std::back_inserter(large), [&](auto entry) { return !isUnit(entry); });
  return isWhole(shape) && llvm::is_sorted(large) && llvm::all_of(dims, [](const DimLayout &dim) {
           return llvm::count_if(dim.parts, [](const Part &part) { return part.size != 1; }) <= 1;
         });
}
SmallVector<int64_t> Layout::resultShape() const {
  SmallVector<int64_t> shape;
  for (auto [dim, part] : order)
    shape.push_back(dims[dim].parts[part].size);
  return shape;
}

//===----------------------------------------------------------------------===//
// Layouts through ops that move elements
//===----------------------------------------------------------------------===//

SmallVector<ReshapeGroup> raise::reshapeGroups(ArrayRef<int64_t> from, ArrayRef<int64_t> to,
                                               bool unitsRight) {
  if (llvm::is_contained(from, 0) || llvm::is_contained(to, 0))
    return {{0, static_cast<int>(from.size()), 0, static_cast<int>(to.size())}};
  SmallVector<ReshapeGroup> groups;
  int i = 0, j = 0, n = static_cast<int>(from.size()), m = static_cast<int>(to.size());
  SmallVector<std::pair<size_t, int>>
      orphans; // Dimensions of size 1 of `to`, and the group that they stand before.
  while (i < n || j < m) {
    if (i < n && from[i] == 1 && (j == m || to[j] != 1)) {
      groups.push_back({i, i + 1, j, j});
      ++i;
    } else if (j < m && to[j] == 1 && (i == n || from[i] != 1)) {
      orphans.push_back({groups.size(), j++});
    } else {
      ReshapeGroup group{i, i + 1, j, j + 1};
      int64_t left = from[i++], right = to[j++];
      while (left != right)
        if (left < right)
          left *= from[i++];
        else
          right *= to[j++];
      group.fromEnd = i;
      group.toEnd = j;
      groups.push_back(group);
    }
  }
  // A dimension of size 1 goes to the right-hand neighbour when that one is split anyway (768 ->
  // 1x12x64).
  auto isSplit = [&](const ReshapeGroup &group) {
    return llvm::count_if(llvm::seq(group.to, group.toEnd), [&](int d) { return to[d] != 1; }) > 1;
  };
  size_t k = 0;
  while (k < orphans.size()) {
    size_t end = k + 1;
    while (end < orphans.size() && orphans[end].first == orphans[k].first)
      ++end;
    size_t at = orphans[k].first;
    bool hasLeft = at > 0 && groups[at - 1].toEnd > groups[at - 1].to,
         hasRight = at < groups.size() && groups[at].toEnd > groups[at].to;
    if (hasRight && (!hasLeft || isSplit(groups[at]) || unitsRight))
      groups[at].to = orphans[k].second;
    else if (hasLeft)
      groups[at - 1].toEnd = orphans[end - 1].second + 1;
    else
      groups.push_back({n, n, orphans[k].second, orphans[end - 1].second + 1});
    k = end;
  }
  return groups;
}

namespace {

SmallVector<int64_t> rowMajor(ArrayRef<int64_t> sizes) {
  SmallVector<int64_t> strides(sizes.size(), 1);
  for (int i = static_cast<int>(sizes.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * sizes[i + 1];
  return strides;
}

/// Several dimensions `from` (at index `base` of the operand) joined to one, of which `want` asks
/// parts. Returns for each part the operand's parts that make it up, or nothing when the parts cut
/// across the dimensions.
std::optional<SmallVector<SmallVector<std::pair<int, int>>>>
throughJoin(ArrayRef<int64_t> from, int base, const DimLayout &want, Layout &layout) {
  SmallVector<int64_t> strides = rowMajor(from);
  for (auto [i, size, stride] : llvm::enumerate(from, strides))
    layout.dims[base + i].offset = want.offset / stride % size;
  SmallVector<SmallVector<std::pair<int, int>>> result;
  for (Part part : want.parts) {
    SmallVector<std::pair<int, int>> &list = result.emplace_back();
    if (part.size == 1)
      continue;
    int at = static_cast<int>(from.size()) - 1;
    while (at > 0 && strides[at] * from[at] <= part.stride)
      --at;
    if (part.stride % strides[at] != 0)
      return std::nullopt;
    int64_t step = part.stride / strides[at], left = part.size;
    // Take what fits into this dimension; where more is wanted, all of it, and the rest from the
    // dimension before it.
    while (true) {
      DimLayout &dim = layout.dims[base + at];
      int64_t take = left;
      if (left * step > from[at]) {
        take = from[at] / step;
        if (at == 0 || from[at] % step != 0 || left % take != 0 || dim.offset >= step)
          return std::nullopt;
      }
      if (take > 1) {
        dim.parts.push_back({take, step});
        list.insert(list.begin(), {base + at, static_cast<int>(dim.parts.size()) - 1});
      }
      left /= take;
      if (left == 1)
        break;
      --at;
      step = 1;
    }
  }
  for (auto [i, size] : llvm::enumerate(from)) {
    int64_t last = layout.dims[base + i].offset;
    for (const Part &part : layout.dims[base + i].parts)
      last += (part.size - 1) * part.stride;
    if (last >= size)
      return std::nullopt;
  }
  return result;
}

/// Parts of the operand, per dimension and part of the result.
using PartLists = SmallVector<SmallVector<SmallVector<std::pair<int, int>>>>;

/// Dimensions of size 1 of a reshape's operand have no place of their own in the result, and parts
/// of size 1 of the result none in the operand. Pairs them where that keeps the order; what is left
/// of the operand's is dropped (one index) or stands by its neighbour. Otherwise identical forms
/// would look different.
void placeUnits(ArrayRef<int64_t> from, const Layout &want, bool drop, PartLists &lists,
                Layout &layout) {
  auto listOf = [&](size_t k) -> SmallVector<std::pair<int, int>> & {
    return lists[want.order[k].first][want.order[k].second];
  };
  auto isUnit = [&](size_t k) {
    return want.dims[want.order[k].first].parts[want.order[k].second].size == 1;
  };
  SmallVector<int> free;
  for (auto [dim, size] : llvm::enumerate(from))
    if (size == 1)
      free.push_back(static_cast<int>(dim));
  llvm::SmallDenseSet<std::pair<int, int>> removed;
  for (size_t k = 0; k < want.order.size() && !free.empty(); ++k) {
    if (!isUnit(k))
      continue;
    int last = -1, next = static_cast<int>(from.size());
    for (size_t l = k; l-- > 0 && last < 0;)
      if (!listOf(l).empty())
        last = listOf(l).back().first;
    for (size_t l = k + 1; l < want.order.size(); ++l)
      if (!isUnit(l) && !listOf(l).empty()) {
        next = listOf(l).front().first;
        break;
      }
    int *it = llvm::find_if(free, [&](int dim) { return dim > last && dim < next; });
    if (it == free.end())
      continue;
    for (std::pair<int, int> part : listOf(k))
      removed.insert(part);
    listOf(k).assign({{*it, 0}});
    layout.dims[*it].parts.assign({{1, 1}});
    free.erase(it);
  }
  for (int unit : free) {
    SmallVector<std::pair<int, int>> *list = nullptr;
    for (size_t k = 0; k < want.order.size() && !drop; ++k)
      if (!listOf(k).empty() && (!list || listOf(k).front().first < unit))
        list = &listOf(k);
    if (!list)
      continue;
    layout.dims[unit].parts.assign({{1, 1}});
    std::pair<int, int> part{unit, 0};
    list->insert(llvm::upper_bound(*list, part), part);
  }
  // Parts that found a dimension of size 1 leave the one that they were cut from.
  for (auto [dim, parts] : llvm::enumerate(layout.dims))
    for (int part = static_cast<int>(parts.parts.size()); part-- > 0;) {
      if (!removed.contains({static_cast<int>(dim), part}))
        continue;
      parts.parts.erase(parts.parts.begin() + part);
      for (auto &perDim : lists)
        for (auto &list : perDim)
          for (auto &[d, p] : list)
            p -= d == static_cast<int>(dim) && p > part;
    }
}

/// A layout of a reshape's operand that gives the layout of its result, but for dimensions that are
/// still to be joined (or of size 1 to be added). With `drop`, dimensions of size 1 of the operand
/// that the result lacks are not computed at all.
std::optional<Layout> throughReshape(ArrayRef<int64_t> from, ArrayRef<int64_t> to,
                                     const Layout &want, bool unitsRight, bool drop) {
  Layout result;
  result.dims.resize(from.size());
  PartLists parts(to.size());
  for (auto [dim, wanted] : llvm::enumerate(want.dims))
    parts[dim].resize(wanted.parts.size());
  for (const ReshapeGroup &group : reshapeGroups(from, to, unitsRight)) {
    ArrayRef<int64_t> left = from.slice(group.from, group.fromEnd - group.from),
                      right = to.slice(group.to, group.toEnd - group.to);
    if (left.size() == 1 && left[0] == 1)
      continue;
    if (left.size() == 1) {
      SmallVector<int64_t> strides = rowMajor(right);
      DimLayout &dim = result.dims[group.from];
      for (auto [j, stride] : llvm::enumerate(strides)) {
        const DimLayout &wanted = want.dims[group.to + j];
        dim.offset += wanted.offset * stride;
        for (auto [k, part] : llvm::enumerate(wanted.parts)) {
          parts[group.to + j][k].push_back({group.from, static_cast<int>(dim.parts.size())});
          dim.parts.push_back({part.size, part.stride * stride});
        }
      }
      continue;
    }
    if (llvm::count_if(right, [](int64_t size) { return size != 1; }) > 1)
      return std::nullopt;
    bool joined = false;
    for (auto [j, size] : llvm::enumerate(right)) {
      if (left.empty() || joined || (size == 1 && j + 1 != right.size()))
        continue;
      joined = true;
      auto lists = throughJoin(left, group.from, want.dims[group.to + j], result);
      if (!lists)
        return std::nullopt;
      parts[group.to + j] = std::move(*lists);
    }
  }
  placeUnits(from, want, drop, parts, result);
  for (auto [dim, part] : want.order) {
    llvm::append_range(result.order, parts[dim][part]);
  }
  return result;
}

Layout throughTranspose(ArrayRef<int64_t> permutation, const Layout &want) {
  Layout layout = want;
  for (auto [to, from] : llvm::enumerate(permutation))
    layout.dims[from] = want.dims[to];
  for (auto &[dim, part] : layout.order)
    dim = static_cast<int>(permutation[dim]);
  return layout;
}

Layout throughSlice(SliceOp op, const Layout &want) {
  Layout layout = want;
  for (auto [dim, offset, stride] :
       llvm::zip_equal(layout.dims, op.getOffsets(), op.getStrides())) {
    dim.offset = offset + stride * dim.offset;
    for (Part &part : dim.parts)
      part.stride *= stride;
  }
  return layout;
}

/// The layout of a slice's operand that gives the result's when it is sliced then. Nothing where a
/// sliced dimension changes.
std::optional<Layout> besideSlice(SliceOp op, const Layout &want) {
  ArrayRef<int64_t> from = shapeOf(op.getInput()), to = shapeOf(op.getResult());
  Layout layout = want;
  for (auto [dim, n] : llvm::enumerate(from)) {
    if (to[dim] == n)
      continue;
    if (!want.isIdentity(to, static_cast<int>(dim)))
      return std::nullopt;
    layout.dims[dim] = {0, {{n, 1}}};
  }
  return layout;
}

/// The layout of an operand that broadcasts to a result of this layout; nothing when dimensions of
/// size 1 would have to be inserted.
std::optional<Layout> throughBroadcast(ArrayRef<int64_t> result, ArrayRef<int64_t> operand,
                                       const Layout &want) {
  int missing = static_cast<int>(result.size() - operand.size());
  Layout layout;
  for (auto [i, size] : llvm::enumerate(operand)) {
    DimLayout dim = want.dims[i + missing];
    if (size == 1) {
      dim.offset = 0;
      for (Part &part : dim.parts)
        part = {1, 1};
    }
    layout.dims.push_back(std::move(dim));
  }
  for (auto [dim, part] : want.order) {
    if (dim < missing && !layout.order.empty())
      return std::nullopt;
    if (dim >= missing)
      layout.order.push_back({dim - missing, part});
  }
  return layout;
}

/// True when these dimensions stay as they are, at the end and in order (`fromEnd` of them).
bool keepsLast(ArrayRef<int64_t> shape, const Layout &layout, int64_t fromEnd) {
  int rank = static_cast<int>(shape.size());
  for (int64_t k = 1; k <= fromEnd; ++k)
    if (!layout.isIdentity(shape, rank - k) ||
        layout.order[layout.order.size() - k] != std::pair<int, int>{rank - k, 0})
      return false;
  return true;
}

/// Where dimension `dim`, which stays whole, stands in the new form; -1 when it does not stay.
int64_t positionOf(ArrayRef<int64_t> shape, const Layout &layout, int dim) {
  if (!layout.isIdentity(shape, dim))
    return -1;
  return llvm::find(layout.order, std::pair<int, int>{dim, 0}) - layout.order.begin();
}

/// Terms of an einsum whose result is wanted in a layout.
struct MatMulLayout {
  Layout lhs, rhs;
  std::string einsum;
};

std::optional<MatMulLayout> throughMatMul(MatMulOp op, const Layout &want) {
  if (op.getBias() || op.getResidual() || op.getActivation() != ActivationKind::None)
    return std::nullopt;
  Einsum einsum = *parseEinsum(op.getEinsum());
  FreshLetters fresh(op.getEinsum());
  llvm::SmallDenseMap<char, std::pair<std::string, int>>
      letters; // Letter of the result -> its new letters, its dimension.
  for (auto [dim, letter] : llvm::enumerate(einsum.result)) {
    std::string &parts = letters[letter].first;
    letters[letter].second = static_cast<int>(dim);
    if (want.dims[dim].parts.size() == 1) {
      parts = std::string(1, letter);
      continue;
    }
    for (size_t i = 0; i < want.dims[dim].parts.size(); ++i) {
      std::optional<char> next = fresh.next();
      if (!next)
        return std::nullopt;
      parts.push_back(*next);
    }
  }
  MatMulLayout result;
  auto term = [&](StringRef term, Value operand, Layout &layout) {
    std::string text;
    for (auto [letter, size] : llvm::zip_equal(term, shapeOf(operand))) {
      auto it = letters.find(letter);
      layout.dims.push_back(it == letters.end() ? DimLayout{0, {{size, 1}}}
                                                : want.dims[it->second.second]);
      text += it == letters.end() ? std::string(1, letter) : it->second.first;
    }
    setDefaultOrder(layout);
    return text;
  };
  result.einsum = term(einsum.lhs, op.getLhs(), result.lhs);
  result.einsum += "," + term(einsum.rhs, op.getRhs(), result.rhs) + "->";
  for (auto [dim, part] : want.order)
    result.einsum += letters[einsum.result[dim]].first[part];
  return result;
}

} // namespace

//===----------------------------------------------------------------------===//
// LayoutRewriter
//===----------------------------------------------------------------------===//

LayoutRewriter::Entry *LayoutRewriter::find(Value value, const Layout &layout) {
  auto it = entries.find(value);
  if (it == entries.end())
    return nullptr;
  auto entry =
      llvm::find_if(it->second, [&](const Entry &entry) { return entry.layout == layout; });
  return entry == it->second.end() ? nullptr : &*entry;
}

bool LayoutRewriter::can(Value value, const Layout &layout) {
  if (layout.isIdentity(shapeOf(value)))
    return true;
  if (Entry *entry = find(value, layout))
    return entry->possible;
  // Every step back through the graph is one level of recursion; a limit keeps the stack small.
  if (depth == kMostSteps)
    return false;
  ++depth;
  bool possible = decide(value, layout);
  --depth;
  entries[value].push_back({layout, possible, Value()});
  return possible;
}

/// An operand that broadcasts may also get dimensions of size 1 by a reshape: it is small.
bool LayoutRewriter::canOperand(Value result, const Layout &layout, Value operand) {
  std::optional<Layout> wanted = throughBroadcast(shapeOf(result), shapeOf(operand), layout);
  if (!wanted)
    return false;
  return can(operand, *wanted) ||
         (sizeOf(operand) < sizeOf(result) && wanted->isUnitReshape(shapeOf(operand)));
}

Value LayoutRewriter::makeOperand(Value result, const Layout &layout, Value operand) {
  Layout wanted = *throughBroadcast(shapeOf(result), shapeOf(operand), layout);
  if (can(operand, wanted))
    return make(operand, wanted);
  OpBuilder builder(operand.getContext());
  builder.setInsertionPointAfterValue(operand);
  return ReshapeOp::create(builder, operand.getLoc(), typeWith(operand, wanted.resultShape()),
                           operand);
}

std::optional<Layout> LayoutRewriter::reshapeLayout(ReshapeOp op, const Layout &layout) {
  for (bool drop : {true, false})
    for (bool unitsRight : {false, true}) {
      std::optional<Layout> through =
          throughReshape(shapeOf(op.getInput()), shapeOf(op.getResult()), layout, unitsRight, drop);
      if (through && can(op.getInput(), *through))
        return through;
    }
  return std::nullopt;
}

bool LayoutRewriter::decide(Value value, const Layout &layout) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  ArrayRef<int64_t> shape = shapeOf(value);
  if (isa<ml_program::GlobalLoadConstOp>(op))
    return weights.globalOf(value) && layout.isSorted() &&
           (layout.isWhole(shape) || weights.mayCut(value));
  if (auto constant = dyn_cast<ConstantOp>(op))
    return constant.getValue().isSplat();
  // A part of a value is worth computing alone only when nothing needs the whole.
  auto onlySliced = [](Value value) {
    return value.hasOneUse() ||
           llvm::all_of(value.getUsers(), [](Operation *user) { return isa<SliceOp>(user); });
  };
  if (!layout.isWhole(shape) && !onlySliced(value))
    return false;
  if (auto transpose = dyn_cast<TransposeOp>(op))
    return can(transpose.getInput(), throughTranspose(transpose.getPermutation(), layout));
  if (auto reshape = dyn_cast<ReshapeOp>(op))
    return reshapeLayout(reshape, layout).has_value();
  if (auto slice = dyn_cast<SliceOp>(op)) {
    if (onlySliced(slice.getInput()) && can(slice.getInput(), throughSlice(slice, layout)))
      return true;
    std::optional<Layout> beside = besideSlice(slice, layout);
    return beside && can(slice.getInput(), *beside);
  }
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<UnaryOp, ConvertOp, BinaryOp, CompareOp, SelectOp, BroadcastOp>([&](Operation *op) {
        return llvm::all_of(op->getOperands(),
                            [&](Value operand) { return canOperand(value, layout, operand); });
      })
      .Case<MatMulOp>([&](MatMulOp op) {
        std::optional<MatMulLayout> through = throughMatMul(op, layout);
        // Only weights are cut; a sequence or batch is not computed in parts.
        auto cuts = [&](Value operand, const Layout &layout) {
          return !layout.isWhole(shapeOf(operand)) && !isWeight(operand);
        };
        return through && !cuts(op.getLhs(), through->lhs) && !cuts(op.getRhs(), through->rhs) &&
               can(op.getLhs(), through->lhs) && can(op.getRhs(), through->rhs);
      })
      .Case<RmsNormOp, LayerNormOp>([&](auto op) {
        return keepsLast(shape, layout, op.getDims()) && can(op.getInput(), layout);
      })
      .Case<SoftmaxOp>([&](SoftmaxOp op) {
        return positionOf(shape, layout, op.getDim()) >= 0 && can(op.getInput(), layout);
      })
      .Case<RopeOp>([&](RopeOp op) {
        return positionOf(shape, layout, 0) == 0 && positionOf(shape, layout, 1) == 1 &&
               keepsLast(shape, layout, 1) && can(op.getInput(), layout);
      })
      .Case<ConcatOp>([&](ConcatOp op) {
        return positionOf(shape, layout, op.getDim()) >= 0 &&
               llvm::all_of(op.getInputs(), [&](Value input) {
                 Layout wanted = layout;
                 wanted.dims[op.getDim()].parts[0] = {shapeOf(input)[op.getDim()], 1};
                 return can(input, wanted);
               });
      })
      .Default([](Operation *) { return false; });
}

Value LayoutRewriter::make(Value value, const Layout &layout) {
  if (layout.isIdentity(shapeOf(value)))
    return value;
  Entry *entry = find(value, layout);
  assert(entry && entry->possible && "make() follows can()");
  if (entry->made)
    return entry->made;
  Value made = build(value, layout);
  find(value, layout)->made = made; // build() may have grown the list.
  order.push_back({value, layout});
  return made;
}

Value LayoutRewriter::build(Value value, const Layout &layout) {
  Operation *op = value.getDefiningOp();
  Location loc = op->getLoc();
  ArrayRef<int64_t> shape = shapeOf(value);
  RankedTensorType type = typeWith(value, layout.resultShape());
  if (isa<ml_program::GlobalLoadConstOp>(op)) {
    ViewAttr view = weights.viewOf(value);
    int64_t offset = view.getOffset();
    SmallVector<int64_t> strides;
    for (auto [dim, stride] : llvm::zip_equal(layout.dims, view.getStrides())) {
      offset += dim.offset * stride;
      for (const Part &part : dim.parts)
        strides.push_back(part.stride * stride);
    }
    return weights.load(value, offset, layout.resultShape(), strides);
  }
  if (auto transpose = dyn_cast<TransposeOp>(op))
    return make(transpose.getInput(), throughTranspose(transpose.getPermutation(), layout));
  OpBuilder builder(op);
  if (auto slice = dyn_cast<SliceOp>(op)) {
    Layout through = throughSlice(slice, layout);
    if (Entry *entry = find(slice.getInput(), through); entry && entry->possible)
      return make(slice.getInput(), through);
    Layout beside = *besideSlice(slice, layout);
    Value input = make(slice.getInput(), beside);
    SmallVector<int64_t> offsets, strides;
    for (auto [dim, part] : layout.order) {
      bool isSliced = shapeOf(slice.getInput())[dim] != shape[dim];
      offsets.push_back(isSliced ? slice.getOffsets()[dim] : 0);
      strides.push_back(isSliced ? slice.getStrides()[dim] : 1);
    }
    return SliceOp::create(builder, loc, type, input, offsets, type.getShape(), strides);
  }
  if (auto reshape = dyn_cast<ReshapeOp>(op)) {
    Value input = make(reshape.getInput(), *reshapeLayout(reshape, layout));
    return input.getType() == type ? input
                                   : ReshapeOp::create(builder, loc, type, input).getResult();
  }
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<ConstantOp>([&](ConstantOp op) -> Value {
        return ConstantOp::create(builder, loc, type,
                                  cast<DenseElementsAttr>(op.getValue()).resizeSplat(type));
      })
      .Case<MatMulOp>([&](MatMulOp op) -> Value {
        MatMulLayout through = *throughMatMul(op, layout);
        Value lhs = make(op.getLhs(), through.lhs), rhs = make(op.getRhs(), through.rhs);
        return MatMulOp::create(builder, loc, type, through.einsum, lhs, rhs, Value(), Value(),
                                ActivationKind::None);
      })
      .Default([&](Operation *op) -> Value {
        // The other ops keep their form; only operands, the result's type and the number of a
        // dimension change.
        SmallVector<Value> operands(op->getOperands());
        if (isa<UnaryOp, ConvertOp, BinaryOp, CompareOp, SelectOp, BroadcastOp>(op)) {
          for (Value &operand : operands)
            operand = makeOperand(value, layout, operand);
        } else if (auto concat = dyn_cast<ConcatOp>(op)) {
          for (Value &operand : operands) {
            Layout wanted = layout;
            wanted.dims[concat.getDim()].parts[0] = {shapeOf(operand)[concat.getDim()], 1};
            operand = make(operand, wanted);
          }
        } else {
          operands[0] = make(operands[0], layout);
        }
        Operation *copy = builder.clone(*op);
        copy->setOperands(operands);
        copy->getResult(0).setType(type);
        if (auto softmax = dyn_cast<SoftmaxOp>(copy))
          softmax.setDim(positionOf(shapeOf(value), layout, softmax.getDim()));
        if (auto concat = dyn_cast<ConcatOp>(copy))
          concat.setDim(positionOf(shapeOf(value), layout, concat.getDim()));
        return copy->getResult(0);
      });
}

void LayoutRewriter::finish(func::FuncOp function) {
  llvm::DenseSet<Operation *> live = liveOps(function);
  for (auto &[value, layout] : order) {
    Operation *op = value.getDefiningOp();
    Value made = find(value, layout)->made;
    if (!live.contains(op) || !made.getDefiningOp() || !live.contains(made.getDefiningOp()) ||
        !layout.isWhole(shapeOf(value)) ||
        isa<ml_program::GlobalLoadConstOp, ConstantOp, ReshapeOp, TransposeOp, SliceOp>(op))
      continue;
    // Back to the order of the dimensions, then joined again.
    OpBuilder builder(op->getContext());
    builder.setInsertionPointAfter(made.getDefiningOp());
    SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, layout.order.size()));
    llvm::sort(permutation,
               [&](int64_t a, int64_t b) { return layout.order[a] < layout.order[b]; });
    Value back =
        makeReshape(builder, op->getLoc(), makeTranspose(builder, op->getLoc(), made, permutation),
                    shapeOf(value));
    value.replaceAllUsesWith(back);
  }
}
