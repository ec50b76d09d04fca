// SPDX-License-Identifier: Apache-2.0
// Verifiers of reshards and collectives: each collective is one legal step between its two
// shardings.

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

LogicalResult ReshardOp::verify() {
  int64_t rank = cast<RankedTensorType>(getInput().getType()).getRank();
  // ReshardOp C1
  for (ShardingAttr sharding : {getFrom(), getTo()})
    if (static_cast<int64_t>(sharding.getDims().size()) != rank)
      return emitOpError() << "sharding " << sharding << " has " << sharding.getDims().size()
                           << " dimensions, the value has " << rank;
  // ReshardOp C2
  if (getFrom() == getTo())
    return emitOpError() << "from and to are equal";
  // ReshardOp C3
  for (Attribute axis : getTo().getPartial())
    if (!llvm::is_contained(getFrom().getPartial(), axis))
      return emitOpError() << "a reshard cannot make a value partial over " << axis;
  return success();
}

/// What a step does to the axis lists, told by the op kind.
static LogicalResult verifyStep(Operation *op, ArrayAttr axes, ShardingAttr from, ShardingAttr to,
                                ArrayRef<int64_t> shape, bool reduces, bool removes, bool adds) {
  auto error = [&]() { return op->emitOpError(); };
  if (from.getDims().size() != shape.size() || to.getDims().size() != shape.size())
    return error() << "shardings and shape have different ranks";
  // AllReduceOp C1, AllGatherOp C1, ReduceScatterOp C1, AllToAllOp C1, LocalSliceOp C1
  int added = 0, removed = 0;
  for (auto [before, after] : llvm::zip_equal(from.getDims(), to.getDims())) {
    ArrayRef<Attribute> b = cast<ArrayAttr>(before).getValue(),
                        a = cast<ArrayAttr>(after).getValue();
    if (a == b)
      continue;
    if (a.size() == b.size() + axes.size() && a.drop_back(axes.size()) == b &&
        a.take_back(axes.size()) == axes.getValue())
      ++added;
    else if (b.size() == a.size() + axes.size() && b.drop_back(axes.size()) == a &&
             b.take_back(axes.size()) == axes.getValue())
      ++removed;
    else
      return error() << "no single step over " << axes << " leads from " << from << " to " << to;
  }
  bool partialShrinks = llvm::all_of(axes, [&](Attribute axis) {
    return llvm::is_contained(from.getPartial(), axis) &&
           !llvm::is_contained(to.getPartial(), axis);
  });
  size_t left = from.getPartial().size() - (reduces ? axes.size() : 0);
  if (added != (adds ? 1 : 0) || removed != (removes ? 1 : 0) || (reduces && !partialShrinks) ||
      to.getPartial().size() != left)
    return error() << "no single step over " << axes << " leads from " << from << " to " << to;
  // AllReduceOp C2, AllGatherOp C2, ReduceScatterOp C2, AllToAllOp C2, LocalSliceOp C2
  auto input = cast<RankedTensorType>(op->getOperand(0).getType()),
       result = cast<RankedTensorType>(op->getResult(0).getType());
  if (input.getShape() == shape && result.getShape() == shape &&
      input.getElementType() == result.getElementType())
    return success();
  auto module = op->getParentOfType<ModuleOp>();
  MeshOp meshOp = module ? findMesh(module) : MeshOp();
  if (!meshOp)
    return error() << "local types need a tp.mesh in the module";
  sharding::Mesh mesh = toMesh(meshOp);
  auto global = RankedTensorType::get(shape, input.getElementType());
  FailureOr<sharding::Sharding> f = toSharding(from, shape.size(), mesh, error),
                                t = toSharding(to, shape.size(), mesh, error);
  if (failed(f) || failed(t))
    return failure();
  if (localType(global, *f, mesh) != input || localType(global, *t, mesh) != result)
    return error() << "expected " << localType(global, *f, mesh) << " to "
                   << localType(global, *t, mesh) << ", found " << input << " to " << result;
  return success();
}

#define TENON_COLLECTIVE(OP, KIND, REDUCES, REMOVES, ADDS)                                         \
  LogicalResult OP::verify() {                                                                     \
    return verifyStep(*this, getAxes(), getFrom(), getTo(), getShape(), REDUCES, REMOVES, ADDS);   \
  }                                                                                                \
  ArrayAttr OP::getGroupAxes() { return getAxes(); }                                               \
  StringRef OP::getKindName() { return KIND; }

TENON_COLLECTIVE(AllReduceOp, "all_reduce", true, false, false)
TENON_COLLECTIVE(AllGatherOp, "all_gather", false, true, false)
TENON_COLLECTIVE(ReduceScatterOp, "reduce_scatter", true, false, true)
TENON_COLLECTIVE(AllToAllOp, "all_to_all", false, true, true)
TENON_COLLECTIVE(LocalSliceOp, "local_slice", false, false, true)
#undef TENON_COLLECTIVE

LogicalResult MaskPaddingOp::verify() {
  // MaskPaddingOp C1
  if (int64_t rank = cast<RankedTensorType>(getInput().getType()).getRank();
      getDim() >= static_cast<uint64_t>(rank))
    return emitOpError() << "dim " << getDim() << " is outside the rank " << rank;
  return success();
}
