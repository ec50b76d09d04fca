// SPDX-License-Identifier: Apache-2.0
// Weights: what the loader will read and where it will put it, for all ranks at once (blocks have
// the same size everywhere).
#include "Checked.h"
#include "VerifyParts.h"

#include <algorithm>

namespace tenon::plan {
namespace {

struct Dimension {
  int64_t size, stride;
};

struct Region {
  int64_t offset = 0;
  std::vector<Dimension> dims; ///< Sizes above 1, largest stride first.

  int64_t reach() const {
    int64_t result = 0;
    for (const Dimension &d : dims)
      result += (d.size - 1) * d.stride;
    return result;
  }
};

/// Splits off the dimension of the given stride: a region without it has size 1 there. Returns
/// false when the rest leaves its cell of `stride` elements.
bool splitOuter(Region &region, int64_t stride, int64_t &begin, int64_t &end) {
  int64_t size = 1;
  if (!region.dims.empty() && region.dims.front().stride == stride) {
    size = region.dims.front().size;
    region.dims.erase(region.dims.begin());
  }
  begin = region.offset / stride;
  end = begin + size;
  region.offset %= stride;
  return region.offset + region.reach() < stride;
}

/// True when the regions are seen to share no element: their spans are apart, or, on the grid of
/// the larger outer stride, their cells are apart or the contents of a cell are. Rows of q, k, v
/// merged to [in, q + k + v] have the same outer stride and different columns.
bool areDisjoint(Region a, Region b) {
  while (true) {
    if (a.offset + a.reach() < b.offset || b.offset + b.reach() < a.offset)
      return true;
    int64_t stride = std::max(a.dims.empty() ? 0 : a.dims.front().stride,
                              b.dims.empty() ? 0 : b.dims.front().stride);
    if (stride == 0)
      return false;
    int64_t aBegin, aEnd, bBegin, bEnd;
    bool aStays = splitOuter(a, stride, aBegin, aEnd), bStays = splitOuter(b, stride, bBegin, bEnd);
    if (!aStays || !bStays)
      return false;
    if (aEnd <= bBegin || bEnd <= aBegin)
      return true;
  }
}

std::string number(size_t i) { return std::to_string(i); }

Complaint checkView(const View &view) {
  if (view.key.empty())
    return "has no key";
  if (view.sizes.size() != view.strides.size())
    return "view has " + number(view.sizes.size()) + " sizes and " + number(view.strides.size()) +
           " strides";
  if (view.sizes.size() > limits::dimensions || view.storedShape.size() > limits::dimensions)
    return "has more than " + number(limits::dimensions) + " dimensions";
  auto stored = checked::product(view.storedShape);
  auto count = checked::product(view.sizes);
  auto reach = checked::reach(view.sizes, view.strides);
  if (!stored || !count || !reach)
    return "has a size or stride that is negative or too large";
  if (view.offset < 0 || view.offset > *stored || (*count > 0 && view.offset + *reach >= *stored))
    return "view at " + std::to_string(view.offset) + " of sizes " + text(view.sizes) +
           ", strides " + text(view.strides) + " leaves the stored tensor " +
           text(view.storedShape);
  return "";
}

} // namespace

Complaint checkWeight(const Plan &plan, const Weight &weight) {
  if (weight.elements < 0 || weight.elements > limits::elements)
    return "has " + std::to_string(weight.elements) + " elements, expected 0 to " +
           std::to_string(limits::elements);
  if (weight.parts.empty() || weight.parts.size() > limits::weightParts)
    return "has " + number(weight.parts.size()) + " parts, expected 1 to " +
           number(limits::weightParts);

  std::vector<Region> regions;
  for (size_t i = 0; i < weight.parts.size(); ++i) {
    const WeightPart &part = weight.parts[i];
    std::string place = "part " + number(i) + " '" + part.view.key + "' ";
    if (Complaint c = checkView(part.view); !c.empty())
      return place + c;
    if (part.view.type != weight.type && !(isFloat(part.view.type) && isFloat(weight.type)))
      return place + "is stored as " + name(part.view.type) + ", cannot become " +
             name(weight.type);
    std::vector<int64_t> blocks;
    if (Complaint c = checkCut(plan, part.view.sizes, part.dimAxes, blocks); !c.empty())
      return place + c;
    if (Complaint c = checkAxes(plan, part.partialAxes); !c.empty())
      return place + "partial axes: " + c;
    for (const Axes &axes : part.dimAxes)
      for (int32_t axis : axes)
        if (std::find(part.partialAxes.begin(), part.partialAxes.end(), axis) !=
            part.partialAxes.end())
          return place + "is both cut over and partial on axis " + plan.mesh[axis].name;
    auto reach = checked::reach(blocks, part.dstStrides);
    auto count = checked::product(blocks);
    if (!reach || !count || part.dstOffset < 0 || part.dstOffset > weight.elements ||
        (*count > 0 && part.dstOffset + *reach >= weight.elements))
      return place + "of block sizes " + text(blocks) + " at " + std::to_string(part.dstOffset) +
             " with strides " + text(part.dstStrides) + " leaves the weight of " +
             std::to_string(weight.elements) + " elements";
    if (!hasDistinctElements(blocks, part.dstStrides))
      return place + "writes an element twice: sizes " + text(blocks) + ", strides " +
             text(part.dstStrides);
    if (*count == 0)
      continue;
    Region region{part.dstOffset, {}};
    for (size_t d = 0; d < blocks.size(); ++d)
      if (blocks[d] > 1)
        region.dims.push_back({blocks[d], part.dstStrides[d]});
    std::stable_sort(region.dims.begin(), region.dims.end(),
                     [](const Dimension &x, const Dimension &y) { return x.stride > y.stride; });
    for (const Region &other : regions)
      if (!areDisjoint(region, other))
        return place + "overlaps an earlier part";
    regions.push_back(std::move(region));
  }
  return "";
}

} // namespace tenon::plan
