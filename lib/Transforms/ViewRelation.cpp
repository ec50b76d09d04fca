// SPDX-License-Identifier: Apache-2.0

#include "ViewRelation.h"

#include "llvm/ADT/DenseSet.h"

using namespace tenon;

DenseView tenon::denseView(tp::ViewAttr view) {
  DenseView dense;
  dense.offset = view.getOffset();
  for (auto [size, stride] : llvm::zip_equal(view.getSizes(), view.getStrides())) {
    if (size == 1)
      continue;
    if (!dense.dims.empty() && dense.dims.back().second == size * stride)
      dense.dims.back() = {dense.dims.back().first * size, stride};
    else
      dense.dims.push_back({size, stride});
  }
  return dense;
}

namespace {

constexpr int64_t kEnumerate = 1 << 20;

/// A view whose outer dimensions are stripped one by one.
struct Rest {
  int64_t offset;
  llvm::ArrayRef<std::pair<int64_t, int64_t>> dims;

  int64_t reach() const {
    int64_t last = 0;
    for (auto [size, stride] : dims)
      last += (size - 1) * stride;
    return last;
  }
  int64_t count() const {
    int64_t n = 1;
    for (auto [size, stride] : dims)
      n = n > kEnumerate ? n : n * size;
    return n;
  }
  void collect(llvm::DenseSet<int64_t> &elements) const {
    if (dims.empty()) {
      elements.insert(offset);
      return;
    }
    for (int64_t i = 0; i < dims.front().first; ++i)
      Rest{offset + i * dims.front().second, dims.drop_front()}.collect(elements);
  }
};

ViewRelation enumerate(const Rest &a, const Rest &b) {
  if (a.count() > kEnumerate || b.count() > kEnumerate)
    return ViewRelation::Overlapping;
  llvm::DenseSet<int64_t> left, right;
  a.collect(left);
  b.collect(right);
  int64_t common = llvm::count_if(left, [&](int64_t element) { return right.contains(element); });
  if (common == 0)
    return ViewRelation::Disjoint;
  return common == int64_t(left.size()) && left.size() == right.size() ? ViewRelation::Equal
                                                                       : ViewRelation::Overlapping;
}

ViewRelation compare(const Rest &a, const Rest &b) {
  if (a.offset == b.offset && a.dims == b.dims)
    return ViewRelation::Equal;
  if (a.offset + a.reach() < b.offset || b.offset + b.reach() < a.offset)
    return ViewRelation::Disjoint;
  // Two ranges of neighbouring elements that meet, and are not equal.
  auto isRange = [](const Rest &rest) {
    return rest.dims.empty() || (rest.dims.size() == 1 && rest.dims[0].second == 1);
  };
  if (isRange(a) && isRange(b))
    return ViewRelation::Overlapping;
  if (a.dims.empty() || b.dims.empty() || a.dims.front().second != b.dims.front().second ||
      a.dims.front().second == 0)
    return enumerate(a, b);
  // Both step by the same stride; the rest decides where neither reaches over one step.
  int64_t step = a.dims.front().second;
  Rest innerA{a.offset % step, a.dims.drop_front()}, innerB{b.offset % step, b.dims.drop_front()};
  if (innerA.offset + innerA.reach() >= step || innerB.offset + innerB.reach() >= step)
    return enumerate(a, b);
  int64_t beginA = a.offset / step, endA = beginA + a.dims.front().first, beginB = b.offset / step,
          endB = beginB + b.dims.front().first;
  if (endA <= beginB || endB <= beginA)
    return ViewRelation::Disjoint;
  ViewRelation inner = compare(innerA, innerB);
  if (inner == ViewRelation::Equal && (beginA != beginB || endA != endB))
    return ViewRelation::Overlapping;
  return inner;
}

} // namespace

ViewRelation tenon::relate(tp::ViewAttr a, tp::ViewAttr b) {
  DenseView left = denseView(a), right = denseView(b);
  return compare({left.offset, left.dims}, {right.offset, right.dims});
}
