// SPDX-License-Identifier: Apache-2.0
// Registration of the tp dialect and checks of its discardable attributes.

#include "tenon/Dialect/TP/IR/TPDialect.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

#include "tenon/Dialect/TP/IR/TPDialect.cpp.inc"
#include "tenon/Dialect/TP/IR/TPEnums.cpp.inc"
#include "tenon/Dialect/TP/IR/TPInterfaces.cpp.inc"

void TPDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "tenon/Dialect/TP/IR/TPOps.cpp.inc"
      >();
  registerAttributes();
}

LogicalResult TPDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  auto expect = [&](bool holds, StringRef kind) -> LogicalResult {
    if (holds)
      return success();
    return op->emitOpError() << attribute.getName() << " must be " << kind << ", found "
                             << attribute.getValue();
  };
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  if (name == kKeyAttr || name == kModelAttr || name == kCauseAttr)
    return expect(isa<StringAttr>(value), "a string");
  if (name == kViewAttr) {
    if (!isa<ViewAttr>(value))
      return expect(false, "a #tp.view");
    auto global = dyn_cast<ml_program::GlobalOp>(op);
    if (global && !global->hasAttr(kShapeAttr) && !global->hasAttr(kPartsAttr))
      if (auto type = dyn_cast<RankedTensorType>(global.getType()))
        if (ArrayRef<int64_t> sizes = cast<ViewAttr>(value).getSizes(); sizes != type.getShape())
          return op->emitOpError() << "the sizes of its view differ from its type " << type;
    return success();
  }
  if (name == kShardingAttr)
    return expect(isa<ShardingAttr>(value), "a #tp.sharding");
  if (name == kStrategyAttr)
    return expect(isa<StrategyAttr>(value), "a #tp.strategy");
  if (name == kStoredAttr)
    return expect(isa<TypeAttr>(value), "a type");
  return success();
}

/// Attributes of entry arguments and results.
static LogicalResult verifyPortAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  auto expect = [&](bool good, StringRef kind) -> LogicalResult {
    if (good)
      return success();
    return op->emitOpError() << name << " must be " << kind << ", found " << value;
  };
  if (name == kNameAttr)
    return expect(isa<StringAttr>(value), "a string");
  if (name == kShardingAttr)
    return expect(isa<ShardingAttr>(value), "a #tp.sharding");
  if (name == kRangeAttr)
    return expect(isa<DenseI64ArrayAttr>(value) && cast<DenseI64ArrayAttr>(value).size() == 2,
                  "array<i64: LOW, HIGH>");
  if (name == kMaskRowsAttr)
    return expect(isa<UnitAttr>(value), "without a value");
  if (name == kShapeAttr)
    return expect(isa<DenseI64ArrayAttr>(value), "array<i64: ...>");
  return op->emitOpError() << "an argument or result cannot have " << name
                           << "; expected tp.name, tp.sharding, tp.range, tp.mask_rows or tp.shape";
}

LogicalResult TPDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned,
                                                  NamedAttribute attribute) {
  return verifyPortAttribute(op, attribute);
}

LogicalResult TPDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned,
                                                     NamedAttribute attribute) {
  return verifyPortAttribute(op, attribute);
}

Operation *tp::detail::cloneLocal(Operation *op, OpBuilder &builder, ValueRange operands,
                                  TypeRange resultTypes) {
  OperationState state(op->getLoc(), op->getName(), operands, resultTypes);
  for (NamedAttribute attribute : op->getDiscardableAttrs())
    if (attribute.getName() != kStrategyAttr && attribute.getName() != kShardingAttr)
      state.addAttribute(attribute.getName(), attribute.getValue());
  state.propertiesAttr = op->getPropertiesAsAttribute();
  return builder.create(state);
}
