// SPDX-License-Identifier: Apache-2.0
// Text and checks of #tp.sharding, #tp.strategy, #tp.rank, #tp.view, and their translation to the
// plain values of the sharding library.

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

#define GET_ATTRDEF_CLASSES
#include "tenon/Dialect/TP/IR/TPAttributes.cpp.inc"

void TPDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "tenon/Dialect/TP/IR/TPAttributes.cpp.inc"
      >();
}

/// `{"a", "b"}`.
static void printAxes(AsmPrinter &printer, ArrayAttr axes) {
  printer << "{";
  llvm::interleaveComma(axes, printer, [&](Attribute axis) { printer << axis; });
  printer << "}";
}

static FailureOr<ArrayAttr> parseAxes(AsmParser &parser) {
  SmallVector<Attribute> axes;
  auto one = [&]() -> ParseResult {
    std::string name;
    if (parser.parseString(&name))
      return failure();
    axes.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Braces, one))
    return failure();
  return parser.getBuilder().getArrayAttr(axes);
}

static LogicalResult checkDistinct(function_ref<InFlightDiagnostic()> error,
                                   ArrayRef<ArrayAttr> lists) {
  llvm::SmallDenseSet<Attribute> seen;
  for (ArrayAttr list : lists)
    for (Attribute axis : list)
      if (!seen.insert(axis).second)
        return error() << "axis " << axis << " is named more than once";
  return success();
}

//===----------------------------------------------------------------------===//
// View
//===----------------------------------------------------------------------===//

void ViewAttr::print(AsmPrinter &printer) const {
  auto list = [&](StringRef name, ArrayRef<int64_t> values) {
    printer << ", " << name << " = [";
    llvm::interleaveComma(values, printer);
    printer << "]";
  };
  printer << "<";
  printer.printString(getKey());
  list("shape", getShape());
  printer << ", offset = " << getOffset();
  list("sizes", getSizes());
  list("strides", getStrides());
  printer << ">";
}

Attribute ViewAttr::parse(AsmParser &parser, Type) {
  std::string key;
  int64_t offset = 0;
  SmallVector<int64_t> shape, sizes, strides;
  auto list = [&](StringRef name, SmallVector<int64_t> &values) -> ParseResult {
    return failure(parser.parseComma() || parser.parseKeyword(name) || parser.parseEqual() ||
                   parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&]() {
                     return parser.parseInteger(values.emplace_back());
                   }));
  };
  if (parser.parseLess() || parser.parseString(&key) || list("shape", shape) ||
      parser.parseComma() || parser.parseKeyword("offset") || parser.parseEqual() ||
      parser.parseInteger(offset) || list("sizes", sizes) || list("strides", strides) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<ViewAttr>(parser.getContext(), key, shape, offset, sizes, strides);
}

LogicalResult ViewAttr::verify(function_ref<InFlightDiagnostic()> error, StringRef key,
                               ArrayRef<int64_t> shape, int64_t offset, ArrayRef<int64_t> sizes,
                               ArrayRef<int64_t> strides) {
  // ViewAttr C1
  if (sizes.size() != strides.size())
    return error() << "expected as many strides as sizes (" << sizes.size() << "), found "
                   << strides.size();
  int64_t total = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(total, size, &total))
      return error() << "stored shape of '" << key << "' is negative or overflows";
  // ViewAttr C2
  int64_t last = offset;
  bool empty = false;
  for (auto [size, stride] : llvm::zip_equal(sizes, strides)) {
    if (size < 0 || stride < 0)
      return error() << "sizes and strides of a view are not negative, found " << size << " and "
                     << stride;
    empty |= size == 0;
    int64_t reach = 0;
    if (size > 0 && (__builtin_mul_overflow(size - 1, stride, &reach) ||
                     __builtin_add_overflow(last, reach, &last)))
      return error() << "view of '" << key << "' overflows";
  }
  if (offset < 0 || (!empty && last >= total))
    return error() << "view of '" << key << "' reaches element " << last << " of a tensor with "
                   << total;
  return success();
}

//===----------------------------------------------------------------------===//
// Sharding
//===----------------------------------------------------------------------===//

static StringRef spell(sharding::Reduction reduction) {
  switch (reduction) {
  case sharding::Reduction::Sum:
    return "sum";
  case sharding::Reduction::Max:
    return "max";
  case sharding::Reduction::Min:
    return "min";
  }
  llvm_unreachable("all reductions are listed");
}

void ShardingAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(getDims(), printer,
                        [&](Attribute dim) { printAxes(printer, cast<ArrayAttr>(dim)); });
  printer << "]";
  if (!getPartial().empty()) {
    printer << ", partial = " << spell(getReduction()) << " ";
    printAxes(printer, getPartial());
  }
  printer << ">";
}

Attribute ShardingAttr::parse(AsmParser &parser, Type) {
  SmallVector<Attribute> dims;
  auto dim = [&]() -> ParseResult {
    FailureOr<ArrayAttr> axes = parseAxes(parser);
    if (failed(axes))
      return failure();
    dims.push_back(*axes);
    return success();
  };
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, dim))
    return {};
  ArrayAttr partial = parser.getBuilder().getArrayAttr({});
  sharding::Reduction reduction = sharding::Reduction::Sum;
  if (succeeded(parser.parseOptionalComma())) {
    StringRef kind;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseKeyword("partial") || parser.parseEqual() || parser.parseKeyword(&kind))
      return {};
    if (kind == "max")
      reduction = sharding::Reduction::Max;
    else if (kind == "min")
      reduction = sharding::Reduction::Min;
    else if (kind != "sum")
      return parser.emitError(loc, "expected sum, max or min, found ") << kind, Attribute();
    FailureOr<ArrayAttr> axes = parseAxes(parser);
    if (failed(axes))
      return {};
    partial = *axes;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<ShardingAttr>(
      parser.getContext(), parser.getBuilder().getArrayAttr(dims), partial, reduction);
}

LogicalResult ShardingAttr::verify(function_ref<InFlightDiagnostic()> error, ArrayAttr dims,
                                   ArrayAttr partial, sharding::Reduction) {
  // ShardingAttr C1
  SmallVector<ArrayAttr> lists{partial};
  for (Attribute dim : dims)
    lists.push_back(cast<ArrayAttr>(dim));
  return checkDistinct(error, lists);
}

//===----------------------------------------------------------------------===//
// Strategy
//===----------------------------------------------------------------------===//

void StrategyAttr::print(AsmPrinter &printer) const {
  printer << "<";
  bool first = true;
  for (auto [factor, axes] : llvm::zip_equal(getFactors(), getAxes())) {
    printer << (first ? "" : ", ") << factor << " = ";
    printAxes(printer, cast<ArrayAttr>(axes));
    first = false;
  }
  if (!getPartial().empty()) {
    printer << (first ? "" : ", ") << "partial = ";
    printAxes(printer, getPartial());
    if (getOperand() >= 0)
      printer << " operand " << getOperand();
  }
  printer << ">";
}

Attribute StrategyAttr::parse(AsmParser &parser, Type) {
  SmallVector<Attribute> factors, axes;
  Builder &builder = parser.getBuilder();
  ArrayAttr partial = builder.getArrayAttr({});
  int64_t operand = -1;
  if (parser.parseLess())
    return {};
  if (failed(parser.parseOptionalGreater())) {
    do {
      if (succeeded(parser.parseOptionalKeyword("partial"))) {
        if (parser.parseEqual())
          return {};
        FailureOr<ArrayAttr> list = parseAxes(parser);
        if (failed(list))
          return {};
        partial = *list;
        if (succeeded(parser.parseOptionalKeyword("operand")) && parser.parseInteger(operand))
          return {};
        break;
      }
      std::string name;
      if (parser.parseString(&name) || parser.parseEqual())
        return {};
      FailureOr<ArrayAttr> list = parseAxes(parser);
      if (failed(list))
        return {};
      factors.push_back(builder.getStringAttr(name));
      axes.push_back(*list);
    } while (succeeded(parser.parseOptionalComma()));
    if (parser.parseGreater())
      return {};
  }
  return parser.getChecked<StrategyAttr>(parser.getContext(), builder.getArrayAttr(factors),
                                         builder.getArrayAttr(axes), partial, operand);
}

LogicalResult StrategyAttr::verify(function_ref<InFlightDiagnostic()> error, ArrayAttr factors,
                                   ArrayAttr axes, ArrayAttr partial, int64_t) {
  // StrategyAttr C1
  llvm::SmallDenseSet<Attribute> seen;
  for (Attribute factor : factors)
    if (!seen.insert(factor).second)
      return error() << "factor " << factor << " is named more than once";
  SmallVector<ArrayAttr> lists{partial};
  for (Attribute list : axes)
    lists.push_back(cast<ArrayAttr>(list));
  return checkDistinct(error, lists);
}

//===----------------------------------------------------------------------===//
// RankValue
//===----------------------------------------------------------------------===//

void RankValueAttr::print(AsmPrinter &printer) const {
  printer << "<" << (getLength() ? "length " : "start ") << getN() << " over ";
  printAxes(printer, getAxes());
  printer << ">";
}

Attribute RankValueAttr::parse(AsmParser &parser, Type) {
  StringRef kind;
  int64_t n;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&kind))
    return {};
  if (kind != "start" && kind != "length")
    return parser.emitError(loc, "expected start or length, found ") << kind, Attribute();
  if (parser.parseInteger(n) || parser.parseKeyword("over"))
    return {};
  FailureOr<ArrayAttr> axes = parseAxes(parser);
  if (failed(axes) || parser.parseGreater())
    return {};
  return get(parser.getContext(), kind == "length", n, *axes);
}

//===----------------------------------------------------------------------===//
// Translation
//===----------------------------------------------------------------------===//

MeshOp tp::findMesh(ModuleOp module) {
  auto meshes = module.getOps<MeshOp>();
  return meshes.empty() ? MeshOp() : *meshes.begin();
}

sharding::Mesh tp::toMesh(MeshOp op) {
  sharding::Mesh mesh;
  for (auto [name, size, parent] : llvm::zip_equal(op.getAxes(), op.getSizes(), op.getParents()))
    mesh.axes.push_back({cast<StringAttr>(name).str(), size, cast<StringAttr>(parent).str()});
  return mesh;
}

ArrayAttr tp::toAttr(MLIRContext *context, const sharding::AxisList &axes,
                     const sharding::Mesh &mesh) {
  SmallVector<Attribute> names;
  for (int axis : axes)
    names.push_back(StringAttr::get(context, mesh.axes[axis].name));
  return ArrayAttr::get(context, names);
}

FailureOr<sharding::AxisList> tp::toAxes(ArrayAttr names, const sharding::Mesh &mesh,
                                         function_ref<InFlightDiagnostic()> error) {
  sharding::AxisList axes;
  for (Attribute attr : names) {
    StringRef name = cast<StringAttr>(attr).getValue();
    // A user's axis that was split stands for its parts; an axis of one rank cuts nothing, so that
    // a pin holds on every mesh.
    bool found = false;
    for (auto [index, axis] : llvm::enumerate(mesh.axes)) {
      if (axis.name != name && axis.parent != name)
        continue;
      found = true;
      if (axis.size > 1)
        axes.push_back(static_cast<int>(index));
    }
    if (!found) {
      InFlightDiagnostic diagnostic = error() << "the mesh has no axis \"" << name << "\"; it has ";
      llvm::interleaveComma(mesh.axes, diagnostic, [&](const sharding::MeshAxis &axis) {
        diagnostic << '"' << axis.name << '"';
      });
      return failure();
    }
  }
  return axes;
}

ShardingAttr tp::toAttr(MLIRContext *context, const sharding::Sharding &value,
                        const sharding::Mesh &mesh) {
  SmallVector<Attribute> dims;
  for (const sharding::AxisList &axes : value.dims)
    dims.push_back(toAttr(context, axes, mesh));
  return ShardingAttr::get(context, ArrayAttr::get(context, dims),
                           toAttr(context, value.partial, mesh), value.reduction);
}

FailureOr<sharding::Sharding> tp::toSharding(ShardingAttr attr, int64_t rank,
                                             const sharding::Mesh &mesh,
                                             function_ref<InFlightDiagnostic()> error) {
  // ShardingAttr C2
  if (static_cast<int64_t>(attr.getDims().size()) != rank)
    return error() << "sharding has " << attr.getDims().size() << " dimensions, the value has "
                   << rank,
           failure();
  sharding::Sharding result;
  result.reduction = attr.getReduction();
  for (Attribute dim : attr.getDims()) {
    // ShardingAttr C3
    FailureOr<sharding::AxisList> axes = toAxes(cast<ArrayAttr>(dim), mesh, error);
    if (failed(axes))
      return failure();
    result.dims.push_back(std::move(*axes));
  }
  FailureOr<sharding::AxisList> partial = toAxes(attr.getPartial(), mesh, error);
  if (failed(partial))
    return failure();
  result.partial = std::move(*partial);
  llvm::sort(result.partial);
  if (result.partial.empty())
    result.reduction = sharding::Reduction::Sum;
  // A user's axis and a part of it are two names of one thing.
  llvm::SmallDenseSet<int> seen;
  for (const sharding::AxisList &axes : result.dims)
    for (int axis : axes)
      if (!seen.insert(axis).second)
        return error() << "axis \"" << mesh.axes[axis].name << "\" is named more than once",
               failure();
  for (int axis : result.partial)
    if (!seen.insert(axis).second)
      return error() << "axis \"" << mesh.axes[axis].name << "\" is named more than once",
             failure();
  return result;
}

StrategyAttr tp::toAttr(MLIRContext *context, const sharding::Strategy &strategy,
                        const sharding::Rule &rule, const sharding::Mesh &mesh) {
  SmallVector<Attribute> factors, axes;
  for (auto [factor, list] : llvm::zip_equal(rule.factors, strategy.factorAxes)) {
    if (list.empty())
      continue;
    factors.push_back(StringAttr::get(context, factor.name));
    axes.push_back(toAttr(context, list, mesh));
  }
  return StrategyAttr::get(context, ArrayAttr::get(context, factors), ArrayAttr::get(context, axes),
                           toAttr(context, strategy.partial, mesh), strategy.partialOperand);
}

FailureOr<sharding::Strategy> tp::toStrategy(StrategyAttr attr, const sharding::Rule &rule,
                                             const sharding::Mesh &mesh,
                                             function_ref<InFlightDiagnostic()> error) {
  sharding::Strategy strategy;
  strategy.factorAxes.resize(rule.factors.size());
  for (auto [name, list] : llvm::zip_equal(attr.getFactors(), attr.getAxes())) {
    StringRef factorName = cast<StringAttr>(name).getValue();
    auto it = llvm::find_if(rule.factors,
                            [&](const sharding::Factor &f) { return f.name == factorName; });
    if (it == rule.factors.end()) {
      InFlightDiagnostic diagnostic = error()
                                      << "the op has no factor \"" << factorName << "\"; it has ";
      llvm::interleaveComma(rule.factors, diagnostic,
                            [&](const sharding::Factor &f) { diagnostic << '"' << f.name << '"'; });
      return failure();
    }
    FailureOr<sharding::AxisList> axes = toAxes(cast<ArrayAttr>(list), mesh, error);
    if (failed(axes))
      return failure();
    strategy.factorAxes[it - rule.factors.begin()] = std::move(*axes);
  }
  FailureOr<sharding::AxisList> partial = toAxes(attr.getPartial(), mesh, error);
  if (failed(partial))
    return failure();
  strategy.partial = std::move(*partial);
  strategy.partialOperand = strategy.partial.empty() ? -1 : static_cast<int>(attr.getOperand());
  if (std::string why = sharding::illegal(rule, strategy, mesh); !why.empty())
    return error() << "illegal strategy: " << why, failure();
  return strategy;
}

RankValueAttr tp::rankValue(MLIRContext *context, bool length, int64_t n,
                            const sharding::AxisList &axes, const sharding::Mesh &mesh) {
  return RankValueAttr::get(context, length, n, toAttr(context, axes, mesh));
}

RankedTensorType tp::localType(RankedTensorType global, const sharding::Sharding &sharding,
                               const sharding::Mesh &mesh) {
  std::vector<int64_t> shape =
      sharding::localShape({global.getShape().begin(), global.getShape().end()}, sharding, mesh);
  return RankedTensorType::get(shape, global.getElementType());
}
