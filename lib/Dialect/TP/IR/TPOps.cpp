// SPDX-License-Identifier: Apache-2.0
// Verifiers of the graph ops. Labels (C1, C2, ..) are those of the ops' documentation.

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

#define GET_OP_CLASSES
#include "tenon/Dialect/TP/IR/TPOps.cpp.inc"

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}
static Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}
static std::string text(ArrayRef<int64_t> shape) {
  return shape.empty()
             ? "scalar"
             : llvm::join(llvm::map_range(shape, [](int64_t n) { return std::to_string(n); }), "x");
}

FailureOr<Einsum> tp::parseEinsum(StringRef text) {
  auto [operands, result] = text.split("->");
  auto [lhs, rhs] = operands.split(',');
  auto wellFormed = [](StringRef term) {
    llvm::SmallDenseSet<char> seen;
    return llvm::all_of(term, [&](char c) { return llvm::isAlpha(c) && seen.insert(c).second; });
  };
  if (!text.contains("->") || operands.count(',') != 1 || !wellFormed(lhs) || !wellFormed(rhs) ||
      !wellFormed(result))
    return failure();
  return Einsum{lhs.str(), rhs.str(), result.str()};
}

FailureOr<SmallVector<int64_t>> tp::broadcastShapes(ArrayRef<ArrayRef<int64_t>> shapes) {
  size_t rank = 0;
  for (ArrayRef<int64_t> shape : shapes)
    rank = std::max(rank, shape.size());
  SmallVector<int64_t> result(rank, 1);
  for (ArrayRef<int64_t> shape : shapes)
    for (auto [i, size] : llvm::enumerate(shape)) {
      int64_t &out = result[rank - shape.size() + i];
      if (size != 1 && out != 1 && size != out)
        return failure();
      if (size != 1)
        out = size;
    }
  return result;
}

/// Checks that the operands broadcast to the result's shape.
static LogicalResult verifyBroadcast(Operation *op, ValueRange operands) {
  SmallVector<ArrayRef<int64_t>> shapes;
  for (Value operand : operands)
    shapes.push_back(shapeOf(operand));
  FailureOr<SmallVector<int64_t>> shape = broadcastShapes(shapes);
  if (failed(shape) || ArrayRef<int64_t>(*shape) != shapeOf(op->getResult(0)))
    return op->emitOpError() << "operands do not broadcast to the result's shape "
                             << text(shapeOf(op->getResult(0)));
  return success();
}

/// True when `from` broadcasts to `to`.
static bool broadcastsTo(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  FailureOr<SmallVector<int64_t>> shape = broadcastShapes({from, to});
  return succeeded(shape) && ArrayRef<int64_t>(*shape) == to;
}

void MeshOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << " <";
  llvm::interleaveComma(llvm::zip_equal(getAxes(), getSizes()), printer, [&](auto axis) {
    printer << std::get<0>(axis) << '=' << std::get<1>(axis);
  });
  printer << '>';
  if (getAxes() != getParents())
    printer << " of " << getParents();
  printer.printOptionalAttrDict((*this)->getAttrs(), {"sym_name", "axes", "sizes", "parents"});
}

ParseResult MeshOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<Attribute> axes;
  SmallVector<int64_t> sizes;
  Builder &builder = parser.getBuilder();
  auto axis = [&]() -> ParseResult {
    std::string axisName;
    int64_t size;
    if (parser.parseString(&axisName) || parser.parseEqual() || parser.parseInteger(size))
      return failure();
    axes.push_back(builder.getStringAttr(axisName));
    sizes.push_back(size);
    return success();
  };
  if (parser.parseSymbolName(name, "sym_name", result.attributes) ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, axis))
    return failure();
  Attribute parents = builder.getArrayAttr(axes);
  if (succeeded(parser.parseOptionalKeyword("of")) && parser.parseAttribute(parents))
    return failure();
  result.addAttribute("axes", builder.getArrayAttr(axes));
  result.addAttribute("sizes", builder.getDenseI64ArrayAttr(sizes));
  result.addAttribute("parents", parents);
  return parser.parseOptionalAttrDict(result.attributes);
}

LogicalResult MeshOp::verify() {
  if (getAxes().size() != getSizes().size())
    return emitOpError() << "expected one size per axis";
  // MeshOp C3
  if (getParents().size() != getAxes().size())
    return emitOpError() << "expected one parent per axis (" << getAxes().size() << "), found "
                         << getParents().size();
  // MeshOp C1
  // MeshOp C2
  if (std::string why = sharding::illegal(toMesh(*this)); !why.empty())
    return emitOpError() << why;
  // MeshOp C4
  auto module = dyn_cast_or_null<ModuleOp>((*this)->getParentOp());
  if (module && findMesh(module) != *this)
    return emitOpError() << "is the module's second mesh; expected one";
  return success();
}

LogicalResult MatMulOp::verify() {
  // MatMulOp C1
  FailureOr<Einsum> einsum = parseEinsum(getEinsum());
  if (failed(einsum))
    return emitOpError() << "malformed einsum '" << getEinsum() << "'";
  llvm::SmallDenseMap<char, int64_t> sizes;
  auto bind = [&](StringRef term, Value value, StringRef which) -> LogicalResult {
    if (term.size() != shapeOf(value).size())
      return emitOpError() << which << " '" << term << "' of the einsum has " << term.size()
                           << " letters, the tensor has rank " << shapeOf(value).size();
    for (auto [letter, size] : llvm::zip_equal(term, shapeOf(value)))
      // MatMulOp C2
      if (auto [it, isNew] = sizes.try_emplace(letter, size); !isNew && it->second != size)
        return emitOpError() << "dimension '" << std::string(1, letter) << "' has sizes "
                             << it->second << " and " << size;
    return success();
  };
  if (failed(bind(einsum->lhs, getLhs(), "left term")) ||
      failed(bind(einsum->rhs, getRhs(), "right term")) ||
      failed(bind(einsum->result, getResult(), "result term")))
    return failure();
  // MatMulOp C3
  auto in = [](char c, StringRef term) { return term.contains(c); };
  for (char c : einsum->result)
    if (!in(c, einsum->lhs) && !in(c, einsum->rhs))
      return emitOpError() << "dimension '" << std::string(1, c)
                           << "' of the result is in no operand";
  for (auto [term, other] :
       {std::pair<StringRef, StringRef>{einsum->lhs, einsum->rhs}, {einsum->rhs, einsum->lhs}})
    for (char c : term)
      if (!in(c, other) && !in(c, einsum->result))
        return emitOpError() << "dimension '" << std::string(1, c) << "' is in one operand only";
  // MatMulOp C4
  if (elementOf(getLhs()) != elementOf(getRhs()) ||
      (elementOf(getResult()) != elementOf(getLhs()) && !elementOf(getResult()).isF32()))
    return emitOpError() << "element types " << elementOf(getLhs()) << " and "
                         << elementOf(getRhs()) << " do not give " << elementOf(getResult());
  for (Value extra : {getBias(), getResidual()})
    if (extra && !broadcastsTo(shapeOf(extra), shapeOf(getResult())))
      return emitOpError() << "bias and residual broadcast to the result, found "
                           << extra.getType();
  return success();
}

LogicalResult UnaryOp::verify() {
  // UnaryOp C2
  Type element = elementOf(getInput());
  bool holds = getKind() == UnaryKind::Not ? element.isInteger(1)
               : getKind() == UnaryKind::Neg || getKind() == UnaryKind::Abs
                   ? !element.isInteger(1)
                   : isa<FloatType>(element);
  if (!holds)
    return emitOpError() << stringifyUnaryKind(getKind()) << " does not take " << element;
  return success();
}

LogicalResult BinaryOp::verify() {
  // BinaryOp C2
  Type element = elementOf(getLhs());
  bool logical = getKind() == BinaryKind::And || getKind() == BinaryKind::Or;
  if (element != elementOf(getRhs()) || element != elementOf(getResult()) ||
      logical != element.isInteger(1) ||
      ((getKind() == BinaryKind::Div || getKind() == BinaryKind::Pow) && !isa<FloatType>(element)))
    return emitOpError() << stringifyBinaryKind(getKind()) << " does not take " << element
                         << " and " << elementOf(getRhs());
  // BinaryOp C1
  return verifyBroadcast(*this, getOperands());
}

LogicalResult CompareOp::verify() {
  // CompareOp C2
  if (elementOf(getLhs()) != elementOf(getRhs()))
    return emitOpError() << "cannot compare " << elementOf(getLhs()) << " with "
                         << elementOf(getRhs());
  // CompareOp C1
  return verifyBroadcast(*this, getOperands());
}

LogicalResult SelectOp::verify() {
  // SelectOp C2
  if (elementOf(getOnTrue()) != elementOf(getOnFalse()) ||
      elementOf(getOnTrue()) != elementOf(getResult()))
    return emitOpError() << "cannot select between " << elementOf(getOnTrue()) << " and "
                         << elementOf(getOnFalse());
  // SelectOp C1
  return verifyBroadcast(*this, getOperands());
}

LogicalResult ElementwiseOp::verify() {
  SmallVector<StringRef> terms;
  getExpr().split(terms, ' ', -1, false);
  int64_t depth = 0, operators = 0;
  for (StringRef term : terms) {
    unsigned input;
    double number;
    int64_t pops;
    if (term.starts_with("$")) {
      if (term.drop_front().getAsInteger(10, input) || input >= getInputs().size())
        return emitOpError() << "the expression has no input '" << term << "'";
      ++depth;
      continue;
    }
    if (!term.getAsDouble(number)) {
      ++depth;
      continue;
    }
    if (symbolizeUnaryKind(term))
      pops = 1;
    else if (symbolizeBinaryKind(term) || symbolizeCompareKind(term))
      pops = 2;
    else if (term == "select")
      pops = 3;
    else
      return emitOpError() << "the expression has an unknown operator '" << term << "'";
    ++operators;
    // ElementwiseOp C1
    if (depth < pops)
      return emitOpError() << "the expression pops more values than it pushes at '" << term << "'";
    depth += 1 - pops;
  }
  if (depth != 1)
    return emitOpError() << "the expression leaves " << depth << " values, expected 1";
  // ElementwiseOp C2
  if (operators > 16)
    return emitOpError() << "the expression has " << operators
                         << " operators, at most 16 are allowed";
  // ElementwiseOp C4
  for (Value input : getInputs())
    if (!isa<FloatType>(elementOf(input)) && !elementOf(input).isInteger(1))
      return emitOpError() << "expressions read floats and booleans, found " << elementOf(input);
  // ElementwiseOp C3
  return verifyBroadcast(*this, getInputs());
}

LogicalResult ConvertOp::verify() {
  // ConvertOp C1
  if (shapeOf(getInput()) != shapeOf(getResult()))
    return emitOpError() << "cannot change the shape from " << text(shapeOf(getInput())) << " to "
                         << text(shapeOf(getResult()));
  return success();
}

LogicalResult ConstantOp::verify() {
  // ConstantOp C2
  if (!getValue().isSplat() && getValue().getNumElements() > 64)
    return emitOpError() << "a constant that is not a splat has at most 64 elements, found "
                         << getValue().getNumElements();
  return success();
}

LogicalResult SoftmaxOp::verify() {
  // SoftmaxOp C2
  if (getDim() >= shapeOf(getInput()).size())
    return emitOpError() << "dim " << getDim() << " is outside the rank "
                         << shapeOf(getInput()).size();
  return success();
}

/// What layer_norm and rms_norm have in common.
template <typename NormOp> static LogicalResult verifyNorm(NormOp op, ArrayRef<Value> parameters) {
  // LayerNormOp C1, RmsNormOp C1
  if (op.getInput().getType() != op.getResult().getType())
    return op.emitOpError() << "input and result have one type";
  // LayerNormOp C2, RmsNormOp C2
  ArrayRef<int64_t> shape = shapeOf(op.getInput());
  if (op.getDims() < 1 || op.getDims() > shape.size())
    return op.emitOpError() << "dims is between 1 and the rank " << shape.size() << ", found "
                            << op.getDims();
  // LayerNormOp C3, RmsNormOp C3
  for (Value parameter : parameters)
    if (parameter && shapeOf(parameter) != shape.take_back(op.getDims()))
      return op.emitOpError() << "expected scale and bias of shape "
                              << text(shape.take_back(op.getDims())) << ", found "
                              << text(shapeOf(parameter));
  // LayerNormOp C4, RmsNormOp C4
  if (!(op.getEps().convertToFloat() > 0))
    return op.emitOpError() << "eps is greater than 0";
  return success();
}
LogicalResult LayerNormOp::verify() { return verifyNorm(*this, {getScale(), getBias()}); }
LogicalResult RmsNormOp::verify() { return verifyNorm(*this, {getScale()}); }

LogicalResult SdpaOp::verify() {
  ArrayRef<int64_t> q = shapeOf(getQuery()), k = shapeOf(getKey()), v = shapeOf(getValue()),
                    o = shapeOf(getResult());
  // SdpaOp C1
  if (q.size() != 4 || k.size() != 4 || v.size() != 4 || o.size() != 4 || q[0] != k[0] ||
      k[0] != v[0] || k[1] != v[1] || k[2] != v[2] || q[3] != k[3] || k[1] == 0 ||
      q[1] % k[1] != 0 || o != ArrayRef<int64_t>{q[0], q[1], q[2], v[3]})
    return emitOpError() << "expected query [b,h,s,d], key [b,kv,t,d], value [b,kv,t,e] and result "
                            "[b,h,s,e], found "
                         << text(q) << ", " << text(k) << ", " << text(v) << " and " << text(o);
  // SdpaOp C2
  SmallVector<int64_t> scores{q[0], q[1], q[2], k[2]};
  if (getMask() && shapeOf(getMask()) != ArrayRef<int64_t>{q[0], k[2]} &&
      (shapeOf(getMask()).size() != 4 || !broadcastsTo(shapeOf(getMask()), scores)))
    return emitOpError() << "mask " << text(shapeOf(getMask()))
                         << " is neither [b,t] nor does it broadcast to " << text(scores);
  if (getBias() && (shapeOf(getBias()).size() != 4 || !broadcastsTo(shapeOf(getBias()), scores)))
    return emitOpError() << "bias " << text(shapeOf(getBias())) << " does not broadcast to "
                         << text(scores);
  // SdpaOp C3
  if (getCausal() && q[2] != k[2])
    return emitOpError() << "causal attention needs as many queries as keys, found " << q[2]
                         << " and " << k[2];
  return success();
}

LogicalResult AttentionOp::verify() {
  ArrayRef<int64_t> q = shapeOf(getQ()), k = shapeOf(getK()), v = shapeOf(getV()),
                    o = shapeOf(getResult());
  // AttentionOp C1
  if (q.size() != 5 || k.size() != 4 || v.size() != 4 || o.size() != 5 || q[0] != k[0] ||
      k[0] != v[0] || k[1] != v[1] || q[2] != k[2] || k[2] != v[2] || q[4] != k[3] ||
      o != ArrayRef<int64_t>{q[0], q[1], q[2], q[3], v[3]})
    return emitOpError()
           << "expected q [b,s,g,r,d], k [b,t,g,d], v [b,t,g,e] and result [b,s,g,r,e], found "
           << text(q) << ", " << text(k) << ", " << text(v) << " and " << text(o);
  // AttentionOp C2
  if (getMask() &&
      (shapeOf(getMask()).size() != 3 || !broadcastsTo(shapeOf(getMask()), {q[0], q[1], k[1]})))
    return emitOpError() << "mask " << text(shapeOf(getMask())) << " does not broadcast to [b,s,t]";
  if (getBias() && (shapeOf(getBias()).size() != 5 ||
                    !broadcastsTo(shapeOf(getBias()), {q[0], q[2], q[3], q[1], k[1]})))
    return emitOpError() << "bias " << text(shapeOf(getBias()))
                         << " does not broadcast to [b,g,r,s,t]";
  // AttentionOp C4
  if (elementOf(getQ()) != elementOf(getK()) || elementOf(getQ()) != elementOf(getV()) ||
      elementOf(getQ()) != elementOf(getResult()))
    return emitOpError() << "q, k, v and the result have one element type, found "
                         << elementOf(getQ()) << ", " << elementOf(getK()) << ", "
                         << elementOf(getV()) << " and " << elementOf(getResult());
  // AttentionOp C3
  if (getCausal() && !getPosition() && q[1] != k[1])
    return emitOpError() << "causal attention needs as many queries as keys, found " << q[1]
                         << " and " << k[1];
  return success();
}

LogicalResult RopeOp::verify() {
  ArrayRef<int64_t> x = shapeOf(getInput()), c = shapeOf(getCos());
  // RopeOp C1
  if (x.size() < 3 || getInput().getType() != getResult().getType())
    return emitOpError() << "expected an input of rank 3 or more and a result of its type, found "
                         << text(x);
  // RopeOp C2
  if (getPositions()) {
    ArrayRef<int64_t> p = shapeOf(getPositions());
    if (p.size() != 2 || (p[0] != x[0] && p[0] != 1) || p[1] != x[1])
      return emitOpError() << "expected positions [b|1,s], found " << text(p);
  }
  // RopeOp C3
  if (c.size() != 2 || c != shapeOf(getSin()) || 2 * c[1] > x.back())
    return emitOpError() << "expected tables [capacity, rot/2] with rot at most " << x.back()
                         << ", found " << text(c) << " and " << text(shapeOf(getSin()));
  // RopeOp C4
  if (!getPositions() && !getPosition() && c[0] < x[1])
    return emitOpError() << "tables of " << c[0] << " rows are shorter than the sequence of "
                         << x[1];
  return success();
}

LogicalResult EmbeddingOp::verify() {
  // EmbeddingOp C1
  SmallVector<int64_t> shape(shapeOf(getIds()));
  ArrayRef<int64_t> table = shapeOf(getTable());
  if (table.empty())
    return emitOpError() << "a table has rank 1 or more";
  llvm::append_range(shape, table.drop_front());
  if (ArrayRef<int64_t>(shape) != shapeOf(getResult()))
    return emitOpError() << "expected a result of shape " << text(shape) << ", found "
                         << text(shapeOf(getResult()));
  // EmbeddingOp C2
  if (elementOf(getTable()) != elementOf(getResult()))
    return emitOpError() << "table and result have one element type";
  return success();
}

LogicalResult TakeOp::verify() {
  SmallVector<int64_t> shape(shapeOf(getInput()));
  // TakeOp C1
  if (getDim() >= shape.size())
    return emitOpError() << "dim " << getDim() << " is outside the rank " << shape.size();
  if (!getBase() && getIndex() >= static_cast<uint64_t>(shape[getDim()]))
    return emitOpError() << "index " << getIndex() << " is outside the dimension of size "
                         << shape[getDim()];
  // TakeOp C2
  shape[getDim()] = 1;
  if (ArrayRef<int64_t>(shape) != shapeOf(getResult()) ||
      elementOf(getInput()) != elementOf(getResult()))
    return emitOpError() << "expected a result of shape " << text(shape) << ", found "
                         << text(shapeOf(getResult()));
  return success();
}

LogicalResult ReshapeOp::verify() {
  // ReshapeOp C1
  auto from = cast<RankedTensorType>(getInput().getType()),
       to = cast<RankedTensorType>(getResult().getType());
  if (from.getNumElements() != to.getNumElements() || from.getElementType() != to.getElementType())
    return emitOpError() << "cannot reshape " << from << " to " << to;
  return success();
}

LogicalResult TransposeOp::verify() {
  // TransposeOp C1
  SmallVector<int64_t> sorted(getPermutation());
  llvm::sort(sorted);
  ArrayRef<int64_t> shape = shapeOf(getInput());
  if (sorted.size() != shape.size() || llvm::any_of(llvm::enumerate(sorted), [](auto p) {
        return p.value() != static_cast<int64_t>(p.index());
      }))
    return emitOpError() << "expected a permutation of " << shape.size() << " dimensions";
  // TransposeOp C2
  for (auto [i, from] : llvm::enumerate(getPermutation()))
    if (shapeOf(getResult()).size() != shape.size() || shapeOf(getResult())[i] != shape[from])
      return emitOpError() << "the result's shape " << text(shapeOf(getResult()))
                           << " is not the permuted one";
  if (elementOf(getInput()) != elementOf(getResult()))
    return emitOpError() << "operand and result have one element type";
  return success();
}

LogicalResult BroadcastOp::verify() {
  // BroadcastOp C2
  if (elementOf(getInput()) != elementOf(getResult()))
    return emitOpError() << "operand and result have one element type";
  // BroadcastOp C1
  return verifyBroadcast(*this, {getInput(), getResult()});
}

LogicalResult SliceOp::verify() {
  ArrayRef<int64_t> shape = shapeOf(getInput());
  // SliceOp C1
  if (getOffsets().size() != shape.size() || getSizes().size() != shape.size() ||
      getStrides().size() != shape.size())
    return emitOpError() << "expected " << shape.size() << " offsets, sizes and strides";
  // SliceOp C2
  for (auto [n, offset, size, stride] :
       llvm::zip_equal(shape, getOffsets(), getSizes(), getStrides()))
    // By division: a product may leave 64 bits.
    if (offset < 0 || size < 0 || stride < 1 ||
        (size > 0 && (offset >= n || (size - 1) > (n - 1 - offset) / stride)))
      return emitOpError() << "slice of " << size << " elements at " << offset << " by " << stride
                           << " leaves a dimension of " << n;
  // SliceOp C3
  if (getSizes() != shapeOf(getResult()) || elementOf(getInput()) != elementOf(getResult()))
    return emitOpError() << "the result's shape " << text(shapeOf(getResult()))
                         << " differs from the sizes";
  return success();
}

LogicalResult ConcatOp::verify() {
  // ConcatOp C1
  if (getInputs().empty())
    return emitOpError() << "expected at least one input";
  SmallVector<int64_t> shape(shapeOf(getInputs().front()));
  if (getDim() >= shape.size())
    return emitOpError() << "dim " << getDim() << " is outside the rank " << shape.size();
  int64_t total = 0;
  for (Value input : getInputs()) {
    if (shapeOf(input).size() != shape.size() || elementOf(input) != elementOf(getResult()))
      return emitOpError() << "inputs have one rank and element type";
    total += shapeOf(input)[getDim()];
    // ConcatOp C2
    for (size_t i = 0; i < shape.size(); ++i)
      if (i != getDim() && shapeOf(input)[i] != shape[i])
        return emitOpError() << "sizes of dimension " << i << " differ: " << shape[i] << " and "
                             << shapeOf(input)[i];
  }
  shape[getDim()] = total;
  if (ArrayRef<int64_t>(shape) != shapeOf(getResult()))
    return emitOpError() << "expected a result of shape " << text(shape) << ", found "
                         << text(shapeOf(getResult()));
  return success();
}

LogicalResult ReduceOp::verify() {
  SmallVector<int64_t> shape(shapeOf(getInput()));
  // ReduceOp C1
  int64_t last = -1;
  for (int64_t dim : getDims()) {
    if (dim <= last || dim >= static_cast<int64_t>(shape.size()))
      return emitOpError() << "dims are distinct, sorted and inside the rank " << shape.size()
                           << ", found " << dim;
    shape[last = dim] = 1;
  }
  // ReduceOp C2
  if (ArrayRef<int64_t>(shape) != shapeOf(getResult()) ||
      elementOf(getInput()) != elementOf(getResult()))
    return emitOpError() << "expected a result of shape " << text(shape) << ", found "
                         << text(shapeOf(getResult()));
  return success();
}
