// SPDX-License-Identifier: Apache-2.0
// Registration of the plan dialect, and the text of its types, attributes and regions.

#include "tenon/Dialect/Plan/IR/PlanDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::plan;
using Kind = plan::RankValue::Kind;

//===----------------------------------------------------------------------===//
// Rank-dependent values: 7, or start 5 over {"a", "b"} * 64 + 3
//===----------------------------------------------------------------------===//

static void printValue(AsmPrinter &printer, ValueAttr value) {
  if (value.getKind() == Kind::Constant) {
    printer << value.getBase();
    return;
  }
  printer << (value.getKind() == Kind::Start ? "start " : "length ") << value.getN() << " over {";
  llvm::interleaveComma(value.getAxes(), printer, [&](Attribute axis) { printer << axis; });
  printer << "}";
  if (value.getStride() != 1)
    printer << " * " << value.getStride();
  if (value.getBase() != 0)
    printer << " + " << value.getBase();
}

static ParseResult parseValue(AsmParser &parser, ValueAttr &value) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef word;
  Kind kind = Kind::Constant;
  int64_t base = 0, stride = 1, n = 0;
  SmallVector<Attribute> axes;
  if (succeeded(parser.parseOptionalKeyword(&word, {"start", "length"}))) {
    kind = word == "start" ? Kind::Start : Kind::Length;
    auto axis = [&]() -> ParseResult {
      std::string name;
      if (parser.parseString(&name))
        return failure();
      axes.push_back(parser.getBuilder().getStringAttr(name));
      return success();
    };
    if (parser.parseInteger(n) || parser.parseKeyword("over") ||
        parser.parseCommaSeparatedList(AsmParser::Delimiter::Braces, axis) ||
        (succeeded(parser.parseOptionalStar()) && parser.parseInteger(stride)) ||
        (succeeded(parser.parseOptionalPlus()) && parser.parseInteger(base)))
      return failure();
  } else if (parser.parseInteger(base)) {
    return failure();
  }
  value = ValueAttr::getChecked([&] { return parser.emitError(loc); }, parser.getContext(), kind,
                                base, stride, n, parser.getBuilder().getArrayAttr(axes));
  return success(value != nullptr);
}

void ValueAttr::print(AsmPrinter &printer) const {
  printer << "<";
  printValue(printer, *this);
  printer << ">";
}

Attribute ValueAttr::parse(AsmParser &parser, Type) {
  ValueAttr value;
  if (parser.parseLess() || parseValue(parser, value) || parser.parseGreater())
    return {};
  return value;
}

LogicalResult ValueAttr::verify(function_ref<InFlightDiagnostic()> error, Kind kind, int64_t,
                                int64_t, int64_t n, ArrayAttr axes) {
  if (kind == Kind::Constant)
    return success();
  // ValueAttr C1
  if (n < 0)
    return error() << "expected a number of elements, found " << n;
  // ValueAttr C2
  if (axes.empty())
    return error() << "a number that depends on the rank needs at least one axis";
  llvm::SmallDenseSet<Attribute> seen;
  for (Attribute axis : axes)
    if (!seen.insert(axis).second)
      return error() << "axis " << axis << " is named more than once";
  return success();
}

//===----------------------------------------------------------------------===//
// Other attributes and the type
//===----------------------------------------------------------------------===//

#define GET_ATTRDEF_CLASSES
#include "tenon/Dialect/Plan/IR/PlanAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "tenon/Dialect/Plan/IR/PlanTypes.cpp.inc"

#include "tenon/Dialect/Plan/IR/PlanDialect.cpp.inc"

void PlanDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "tenon/Dialect/Plan/IR/PlanAttributes.cpp.inc"
      >();
}

void PlanDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "tenon/Dialect/Plan/IR/PlanTypes.cpp.inc"
      >();
}

void PlanDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "tenon/Dialect/Plan/IR/PlanOps.cpp.inc"
      >();
  registerAttributes();
  registerTypes();
}

LogicalResult BufferType::verify(function_ref<InFlightDiagnostic()> error, Type elementType) {
  // BufferType C1
  if (failed(toDataType(elementType)))
    return error() << "expected f32, bf16, f16, i32, i64 or i1, found " << elementType;
  return success();
}

LogicalResult SliceAttr::verify(function_ref<InFlightDiagnostic()> error, ValueAttr,
                                ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  // SliceAttr C1
  if (sizes.size() != strides.size())
    return error() << "expected as many strides as sizes (" << sizes.size() << "), found "
                   << strides.size();
  // SliceAttr C2
  if (llvm::any_of(sizes, [](int64_t size) { return size < 0; }))
    return error() << "sizes are not negative";
  return success();
}

LogicalResult PartAttr::verify(function_ref<InFlightDiagnostic()> error, StringRef, Type type,
                               ArrayRef<int64_t>, int64_t, ArrayRef<int64_t> sizes,
                               ArrayRef<int64_t> strides, ArrayAttr axes, ArrayAttr, int64_t,
                               ArrayRef<int64_t> to) {
  if (failed(toDataType(type)))
    return error() << "expected f32, bf16, f16, i32, i64 or i1, found " << type;
  // PartAttr C1
  if (strides.size() != sizes.size() || axes.size() != sizes.size() || to.size() != sizes.size())
    return error() << "sizes, strides, axes and `to` of a part differ in length: " << sizes.size()
                   << ", " << strides.size() << ", " << axes.size() << ", " << to.size();
  // PartAttr C2
  if (llvm::any_of(sizes, [](int64_t size) { return size < 0; }))
    return error() << "sizes are not negative";
  return success();
}

FailureOr<plan::DataType> plan::toDataType(Type type) {
  return llvm::TypeSwitch<Type, FailureOr<plan::DataType>>(type)
      .Case<Float32Type>([](auto) { return plan::DataType::F32; })
      .Case<BFloat16Type>([](auto) { return plan::DataType::BF16; })
      .Case<Float16Type>([](auto) { return plan::DataType::F16; })
      .Case<IntegerType>([](IntegerType integer) -> FailureOr<plan::DataType> {
        if (integer.isSignlessInteger(1))
          return plan::DataType::I1;
        if (integer.isSignlessInteger(32))
          return plan::DataType::I32;
        if (integer.isSignlessInteger(64))
          return plan::DataType::I64;
        return failure();
      })
      .Default([](Type) { return failure(); });
}

Type plan::toType(MLIRContext *context, plan::DataType type) {
  Builder builder(context);
  switch (type) {
  case plan::DataType::F32:
    return builder.getF32Type();
  case plan::DataType::BF16:
    return builder.getBF16Type();
  case plan::DataType::F16:
    return builder.getF16Type();
  case plan::DataType::I32:
    return builder.getI32Type();
  case plan::DataType::I64:
    return builder.getI64Type();
  case plan::DataType::I1:
    return builder.getI1Type();
  }
  llvm_unreachable("all element types are listed");
}

std::vector<int64_t> plan::contiguousStrides(ArrayRef<int64_t> sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t next = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = next;
    next *= sizes[i];
  }
  return strides;
}

//===----------------------------------------------------------------------===//
// Regions: [4, 2x3xf32 by 8x1]
//===----------------------------------------------------------------------===//

void plan::printRegion(OpAsmPrinter &printer, SliceAttr slice, BufferType type) {
  printer << "[";
  printValue(printer, slice.getOffset());
  printer << ", ";
  for (int64_t size : slice.getSizes())
    printer << size << "x";
  printer << type.getElementType();
  if (ArrayRef<int64_t>(contiguousStrides(slice.getSizes())) != slice.getStrides()) {
    printer << " by ";
    llvm::interleave(slice.getStrides(), printer, "x");
  }
  printer << "]";
}

ParseResult plan::parseRegion(OpAsmParser &parser, SliceAttr &slice, BufferType &type) {
  ValueAttr offset;
  SmallVector<int64_t> sizes, strides;
  Type element;
  if (parser.parseLSquare() || parseValue(parser, offset) || parser.parseComma() ||
      parser.parseDimensionList(sizes, /*allowDynamic=*/false))
    return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseType(element))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("by"))) {
    if (parser.parseDimensionList(strides, /*allowDynamic=*/false, /*withTrailingX=*/false))
      return failure();
  } else {
    llvm::append_range(strides, contiguousStrides(sizes));
  }
  if (parser.parseRSquare())
    return failure();
  auto error = [&] { return parser.emitError(loc); };
  type = BufferType::getChecked(error, parser.getContext(), element);
  slice = SliceAttr::getChecked(error, parser.getContext(), offset, sizes, strides);
  return success(type && slice);
}
