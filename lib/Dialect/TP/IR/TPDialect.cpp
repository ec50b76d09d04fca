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
  if (name == kShapeAttr)
    return expect(isa<DenseI64ArrayAttr>(value), "array<i64: ...>");
  if (name == kPartsAttr)
    return expect(isa<ArrayAttr>(value), "an array");
  if (name == kPredictedAttr)
    return expect(isa<FloatAttr>(value), "a float");
  if (name == kCertificateAttr || name == kChoicesAttr || name == kMachineAttr)
    return expect(isa<StringAttr>(value), "a string");
  if (name == kLayerPlanAttr) {
    auto plan = dyn_cast<DictionaryAttr>(value);
    return expect(
        plan && llvm::all_of(
                    plan, [](NamedAttribute entry) { return isa<StringAttr>(entry.getValue()); }),
        "a dictionary of strings");
  }
  if (name == kEqualHalvesAttr)
    return expect(isa<UnitAttr>(value), "without a value");
  if (name == kPinAttr)
    return expect(isa<IntegerAttr>(value), "an integer");
  // A misspelt pin is a pin that does not hold.
  return op->emitOpError() << "has the unknown attribute " << name;
}

/// Attributes of entry arguments and results.
static LogicalResult verifyPortAttribute(Operation *op, NamedAttribute attribute, bool isArgument,
                                         unsigned index) {
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  auto expect = [&](bool good, StringRef kind) -> LogicalResult {
    if (good)
      return success();
    return op->emitOpError() << name << " must be " << kind << ", found " << value;
  };
  auto elementIs = [&](auto holds) {
    auto function = dyn_cast<func::FuncOp>(op);
    return function && holds(getElementTypeOrSelf(isArgument ? function.getArgumentTypes()[index]
                                                             : function.getResultTypes()[index]));
  };
  if (name == kNameAttr)
    return expect(isa<StringAttr>(value), "a string");
  if (name == kShardingAttr)
    return expect(isa<ShardingAttr>(value), "a #tp.sharding");
  if (name == kRangeAttr) {
    auto range = dyn_cast<DenseI64ArrayAttr>(value);
    return expect(range && range.size() == 2 && range[0] < range[1] && isArgument &&
                      elementIs([](Type type) { return type.isInteger(32) || type.isInteger(64); }),
                  "array<i64: LOW, HIGH> with LOW < HIGH, on an argument of i32 or i64");
  }
  if (name == kMaskRowsAttr)
    return expect(isa<UnitAttr>(value) && isArgument &&
                      elementIs([](Type type) { return type.isInteger(); }),
                  "without a value, on an argument of integers or booleans");
  if (name == kShapeAttr)
    return expect(isa<DenseI64ArrayAttr>(value), "array<i64: ...>");
  return op->emitOpError() << "an argument or result cannot have " << name
                           << "; expected tp.name, tp.sharding, tp.range, tp.mask_rows or tp.shape";
}

LogicalResult TPDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned index,
                                                  NamedAttribute attribute) {
  return verifyPortAttribute(op, attribute, true, index);
}

LogicalResult TPDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned index,
                                                     NamedAttribute attribute) {
  return verifyPortAttribute(op, attribute, false, index);
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
