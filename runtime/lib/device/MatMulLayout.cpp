// SPDX-License-Identifier: Apache-2.0
#include "MatMulLayout.h"

#include "Binder.h"

namespace tenon::runtime {
namespace {

/// Takes the loop that suits the library best out of a group: one with step 1 in either unit if
/// that is long enough, else the longest. Returns size 1 and steps 0 from an empty group.
LoopNest takeMain(LoopNest &group, int unit, int otherUnit) {
  if (group.sizes.empty())
    return group.popInner();
  size_t best = 0;
  auto weight = [&](size_t d) {
    bool steps = group.strides[d][unit] == 1 || group.strides[d][otherUnit] == 1;
    return group.sizes[d] * (steps ? 8 : 1);
  };
  for (size_t d = 1; d < group.sizes.size(); ++d)
    if (weight(d) >= weight(best))
      best = d;
  LoopNest main;
  main.operands = group.operands;
  main.push(group.sizes[best], group.strides[best]);
  group.sizes.erase(group.sizes.begin() + best);
  group.strides.erase(group.strides.begin() + best);
  return main;
}

// Whether a library takes a matrix with these steps as it is: one step is 1 and the lines do not
// overlap.
bool isPlainMatrix(int64_t rows, int64_t rowStep, int64_t columns, int64_t columnStep) {
  if (columns == 1)
    return rows == 1 || rowStep >= 1;
  if (rows == 1)
    return columnStep == 1;
  return (columnStep == 1 && rowStep >= columns) || (rowStep == 1 && columnStep >= rows);
}

} // namespace

Expected<MatMulLayout> MatMulLayout::make(const plan::MatMul &op, std::vector<Region> regions) {
  MatMulLayout layout;
  layout.regions = std::move(regions);
  layout.labels[A] = op.aDims;
  layout.labels[B] = op.bDims;
  layout.labels[C] = op.cDims;
  if (Status status = layout.checkLabels(); !status)
    return status;
  layout.arrange();
  return layout;
}

int64_t MatMulLayout::stride(Slot slot, char label) const {
  Slot names = slot == Bias || slot == Residual ? C : slot;
  size_t at = labels[names].find(label);
  return at == std::string::npos || !regions[slot].data ? 0 : regions[slot].strides[at];
}

int64_t MatMulLayout::size(char label) const {
  for (Slot slot : {A, B, C})
    if (size_t at = labels[slot].find(label); at != std::string::npos)
      return regions[slot].sizes[at];
  return 1;
}

Status MatMulLayout::checkLabels() const {
  for (Slot slot : {A, B, C}) {
    const char *name = slot == A ? "a" : slot == B ? "b" : "c";
    const std::string &own = labels[slot];
    if (own.size() != regions[slot].sizes.size())
      return Status(Code::Plan, std::string(name) + " has labels '" + own + "' for " +
                                    shapeText(regions[slot].sizes));
    for (size_t i = 0; i < own.size(); ++i) {
      const std::string label = "label '" + std::string(1, own[i]) + "' ";
      if (own.find(own[i], i + 1) != std::string::npos)
        return Status(Code::Plan, label + "stands twice in " + name);
      int holders = 0;
      for (Slot other : {A, B, C})
        holders += labels[other].find(own[i]) != std::string::npos;
      if (holders < 2)
        return Status(Code::Plan, label + "stands only in " + name);
      if (regions[slot].sizes[i] != size(own[i]))
        return Status(Code::Plan, label + "has sizes " + std::to_string(size(own[i])) + " and " +
                                      std::to_string(regions[slot].sizes[i]));
    }
  }
  return Status();
}

MatMulLayout::Group MatMulLayout::groupOf(char label) const {
  bool a = labels[A].find(label) != std::string::npos;
  bool b = labels[B].find(label) != std::string::npos;
  bool c = labels[C].find(label) != std::string::npos;
  if (!c)
    return Contracted;
  if (a && b)
    return Batch;
  return a != swapped ? Rows : Columns;
}

void MatMulLayout::sortIntoGroups(LoopNest (&groups)[kGroups]) const {
  for (LoopNest &group : groups) {
    group = LoopNest();
    group.operands = kSlots;
  }
  std::string all = labels[C];
  for (char label : labels[A])
    if (all.find(label) == std::string::npos)
      all += label;
  for (char label : all)
    groups[groupOf(label)].push(size(label), {stride(A, label), stride(B, label), stride(C, label),
                                              stride(Bias, label), stride(Residual, label)});
  for (LoopNest &group : groups) {
    group.sortBy(&group == &groups[Contracted] ? B : C);
    group.collapse();
  }
}

void MatMulLayout::arrange() {
  LoopNest rest[kGroups];
  swapped = false;
  sortIntoGroups(rest);
  auto hasUnitStep = [&](Group group) {
    for (const std::vector<int64_t> &steps : rest[group].strides)
      if (steps[C] == 1)
        return true;
    return false;
  };
  // Libraries want the result's rows contiguous; otherwise compute its transpose.
  if (hasUnitStep(Rows) && !hasUnitStep(Columns)) {
    swapped = true;
    sortIntoGroups(rest);
  }
  batch = takeMain(rest[Batch], C, C);
  if (batch.strides[0][A] == 0 && batch.strides[0][B] == 0 && batch.sizes[0] > 1) {
    rest[Batch].push(batch.sizes[0], batch.strides[0]);
    batch = LoopNest();
    batch.operands = kSlots;
    batch.push(1, std::vector<int64_t>(kSlots, 0));
  }
  rows = takeMain(rest[Rows], C, C);
  columns = takeMain(rest[Columns], C, C);
  sum = takeMain(rest[Contracted], A, B);
  loops = LoopNest();
  loops.operands = kSlots;
  for (Group group : {Batch, Rows, Columns})
    for (size_t d = 0; d < rest[group].sizes.size(); ++d)
      loops.push(rest[group].sizes[d], rest[group].strides[d]);
  sums = rest[Contracted];
}

bool MatMulLayout::isPlain(Slot slot) const {
  const LoopNest &kept = slot == left() ? rows : columns;
  return isPlainMatrix(kept.sizes[0], kept.strides[0][slot], sum.sizes[0], sum.strides[0][slot]);
}

Region MatMulLayout::denseOf(Slot slot) const {
  Region dense = regions[slot];
  dense.data = nullptr;
  int64_t step = 1;
  auto assign = [&](bool contracted) {
    for (size_t i = labels[slot].size(); i-- > 0;)
      if ((groupOf(labels[slot][i]) == Contracted) == contracted) {
        dense.strides[i] = step;
        step *= dense.sizes[i];
      }
  };
  assign(true);
  assign(false);
  return dense;
}

void MatMulLayout::replace(Slot slot, Region region) {
  regions[slot] = std::move(region);
  arrange();
}

} // namespace tenon::runtime
