// SPDX-License-Identifier: Apache-2.0
// The containers of the plan dialect: their checks. Instructions are in PlanInstructions.cpp.

#include "tenon/Dialect/Plan/IR/PlanDialect.h"

#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::plan;

LogicalResult MeshOp::verify() {
  // MeshOp C1
  if (getSizes().size() != getAxes().size() || getParents().size() != getAxes().size())
    return emitOpError() << "expected one size and one parent per axis (" << getAxes().size()
                         << "), found " << getSizes().size() << " and " << getParents().size();
  llvm::SmallDenseSet<Attribute> seen;
  for (auto [axis, size] : llvm::zip_equal(getAxes(), getSizes())) {
    // MeshOp C2
    if (size < 1)
      return emitOpError() << "axis " << axis << " has size " << size << ", expected at least 1";
    // MeshOp C3
    if (!seen.insert(axis).second)
      return emitOpError() << "axis " << axis << " is named more than once";
  }
  return success();
}

LogicalResult WeightOp::verify() {
  // WeightOp C1
  if (getParts().empty())
    return emitOpError() << "expected at least one part";
  for (Attribute part : getParts())
    if (!isa<PartAttr>(part))
      return emitOpError() << "expected #plan.part, found " << part;
  // WeightOp C2
  if (static_cast<int64_t>(getElements()) < 0)
    return emitOpError() << "expected a number of elements, found "
                         << static_cast<int64_t>(getElements());
  if (failed(toDataType(getType())))
    return emitOpError() << "expected f32, bf16, f16, i32, i64 or i1, found " << getType();
  return success();
}

/// Place of an op in an entry: buffers, inputs, instructions, outputs.
static int section(Operation *op) {
  if (isa<BufferOp, WeightBufferOp>(op))
    return 0;
  if (isa<InputOp>(op))
    return 1;
  return isa<OutputOp>(op) ? 3 : 2;
}

LogicalResult EntryOp::verify() {
  int reached = 0;
  for (Operation &op : getBody().front()) {
    // EntryOp C1
    if (!isa<PlanDialect>(op.getDialect()) || isa<MeshOp, WeightOp, EntryOp>(op))
      return op.emitOpError() << "may not stand in a plan.entry";
    if (section(&op) < reached)
      return op.emitOpError()
             << "stands too late: an entry lists buffers, inputs, instructions, outputs";
    reached = section(&op);
    // EntryOp C2
    if (auto event = op.getAttrOfType<IntegerAttr>("event"); event && event.getInt() >= getEvents())
      return op.emitOpError() << "names event " << event.getInt() << " of an entry with "
                              << getEvents();
  }
  return success();
}

LogicalResult BufferOp::verify() {
  // BufferOp C1
  if (static_cast<int64_t>(getElements()) < 0)
    return emitOpError() << "expected a number of elements, found "
                         << static_cast<int64_t>(getElements());
  // BufferOp C2
  if (std::optional<uint64_t> offset = getOffset(); offset && *offset % 64 != 0)
    return emitOpError() << "expected an offset that is a multiple of 64, found " << *offset;
  return success();
}

LogicalResult WeightBufferOp::verifySymbolUses(SymbolTableCollection &tables) {
  // WeightBufferOp C1
  auto weight = tables.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << "names no weight: " << getWeightAttr();
  if (weight.getType() != getType().getElementType())
    return emitOpError() << "is of " << getType().getElementType() << ", the weight of "
                         << weight.getType();
  return success();
}

LogicalResult InputOp::verify() {
  int64_t count = 1;
  for (int64_t size : getShape())
    count *= size;
  // InputOp C1
  auto buffer = getBuffer().getDefiningOp<BufferOp>();
  if (!buffer || static_cast<int64_t>(buffer.getElements()) != count)
    return emitOpError() << "needs a plan.buffer of " << count << " elements";
  // InputOp C2
  if (std::optional<ArrayRef<int64_t>> range = getRange();
      range && (range->size() != 2 || !getBuffer().getType().getElementType().isSignlessInteger()))
    return emitOpError() << "expected a range of two numbers on integers";
  return success();
}

/// A list of lists of axis names.
static bool areAxisLists(ArrayAttr lists) {
  return llvm::all_of(lists, [](Attribute list) {
    auto names = dyn_cast<ArrayAttr>(list);
    return names && llvm::all_of(names, [](Attribute name) { return isa<StringAttr>(name); });
  });
}

LogicalResult OutputOp::verify() {
  // OutputOp C1
  if (getAxes().size() != getShape().size() || !areAxisLists(getAxes()))
    return emitOpError() << "expected one list of axis names per dimension, found " << getAxes();
  return success();
}
