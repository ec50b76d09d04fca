// SPDX-License-Identifier: Apache-2.0
// The instructions of the plan dialect: one text form for all, and the checks of each by itself.
// What holds between instructions (order, lives, streams) is the business of the runtime's
// verifier.

#include "tenon/Dialect/Plan/IR/Expression.h"
#include "tenon/Dialect/Plan/IR/PlanTranslation.h"
#include "tenon/runtime/plan/Access.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"

#include <map>

using namespace mlir;
using namespace tenon;
using namespace tenon::plan;

//===----------------------------------------------------------------------===//
// Text: plan.matmul a(%0[0, 4x8xf32]) b(%1[..]) c(%2[..]) {einsum = ..}
//===----------------------------------------------------------------------===//

template <typename OpTy> static void printInstruction(OpTy op, OpAsmPrinter &printer) {
  ArrayAttr slices = op.getSlices();
  for (auto [index, role] : llvm::enumerate(OpTy::getRoles())) {
    auto [start, length] = op.getODSOperandIndexAndLength(index);
    if (length == 0)
      continue;
    printer << ' ' << role << '(';
    for (unsigned i = start; i < start + length; ++i) {
      if (i != start)
        printer << ", ";
      Value operand = op->getOperand(i);
      printer << operand;
      printRegion(printer, cast<SliceAttr>(slices[i]), cast<BufferType>(operand.getType()));
    }
    printer << ')';
  }
  SmallVector<StringRef> elided{"slices", "operandSegmentSizes"};
  // Defaults are left out, so that the text shows what is particular.
  for (NamedAttribute attribute : op->getAttrs()) {
    Attribute value = attribute.getValue();
    StringRef name = attribute.getName();
    auto integer = dyn_cast<IntegerAttr>(value);
    auto number = dyn_cast<FloatAttr>(value);
    auto string = dyn_cast<StringAttr>(value);
    if ((name == "stream" && integer && integer.getInt() == 0) ||
        (name == "predicted_us" && number && number.getValueAsDouble() == 0) ||
        (name == "activation" && string && string == "none") ||
        (name == "reduce" && string && string == "sum") ||
        (name == "dim" && integer && integer.getInt() == -1))
      elided.push_back(name);
  }
  printer.printOptionalAttrDict(op->getAttrs(), elided);
}

template <typename OpTy>
static ParseResult parseInstruction(OpAsmParser &parser, OperationState &result) {
  SmallVector<Attribute> slices;
  SmallVector<int32_t> segments;
  for (StringRef role : OpTy::getRoles()) {
    int32_t length = 0;
    auto one = [&]() -> ParseResult {
      OpAsmParser::UnresolvedOperand operand;
      SliceAttr slice;
      BufferType type;
      if (parser.parseOperand(operand) || parseRegion(parser, slice, type) ||
          parser.resolveOperand(operand, type, result.operands))
        return failure();
      slices.push_back(slice);
      ++length;
      return success();
    };
    if (succeeded(parser.parseOptionalKeyword(role)) &&
        parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, one))
      return failure();
    segments.push_back(length);
  }
  if (parser.parseOptionalAttrDict(result.attributes))
    return failure();
  SMLoc loc = parser.getNameLoc();
  if (failed(OpTy::verifyInherentAttrs(result.name, result.attributes, [&] {
        return parser.emitError(loc) << "'" << result.name.getStringRef() << "' op ";
      })))
    return failure();
  Builder &builder = parser.getBuilder();
  result.addAttribute("slices", builder.getArrayAttr(slices));
  if constexpr (OpTy::template hasTrait<OpTrait::AttrSizedOperandSegments>())
    result.addAttribute("operandSegmentSizes", builder.getDenseI32ArrayAttr(segments));
  else if constexpr (!std::is_same_v<OpTy, ElementwiseOp>)
    for (auto [role, length] : llvm::zip_equal(OpTy::getRoles(), segments))
      if (length != 1)
        return parser.emitError(loc, "expected one operand ") << role << ", found " << length;
  return success();
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

namespace {
/// What the checks below see: sizes by operand, element types, and a place for errors.
struct Checker {
  Operation *op;
  const std::vector<Type> &types; ///< By operand, in the order of the runtime's struct.

  InFlightDiagnostic error() const { return op->emitOpError(); }

  static std::string text(ArrayRef<int64_t> sizes) {
    std::string out = "[";
    for (auto [i, size] : llvm::enumerate(sizes))
      out += (i ? ", " : "") + std::to_string(size);
    return out + "]";
  }

  LogicalResult equal(StringRef what, ArrayRef<int64_t> sizes, ArrayRef<int64_t> expected) const {
    if (sizes == expected)
      return success();
    return error() << "expected " << what << " of " << text(expected) << ", found " << text(sizes);
  }
  LogicalResult equal(StringRef what, const std::vector<plan::Operand> &list,
                      ArrayRef<int64_t> expected) const {
    return list.empty() ? success() : equal(what, list.front().sizes, expected);
  }
  LogicalResult rank(StringRef what, ArrayRef<int64_t> sizes, size_t expected) const {
    if (sizes.size() == expected)
      return success();
    return error() << "expected " << what << " of rank " << expected << ", found " << text(sizes);
  }
  LogicalResult dimension(int64_t dim, ArrayRef<int64_t> sizes) const {
    if (dim >= 0 && dim < static_cast<int64_t>(sizes.size()))
      return success();
    return error() << "dimension " << dim << " is outside " << text(sizes);
  }

  LogicalResult check(const plan::MatMul &m) const {
    // MatMulOp C1
    std::map<char, int64_t> sizes;
    std::map<char, int> terms;
    auto term = [&](StringRef what, const std::string &labels,
                    ArrayRef<int64_t> shape) -> LogicalResult {
      if (labels.size() != shape.size())
        return error() << "term '" << labels << "' of the einsum names " << labels.size()
                       << " dimensions, " << what << " is " << text(shape);
      for (auto [label, size] : llvm::zip_equal(labels, shape)) {
        auto [it, added] = sizes.try_emplace(label, size);
        if (!added && it->second != size)
          return error() << "label '" << std::string(1, label) << "' has sizes " << it->second
                         << " and " << size;
        if (llvm::count(labels, label) != 1)
          return error() << "label '" << std::string(1, label) << "' is twice in '" << labels
                         << "'";
        ++terms[label];
      }
      return success();
    };
    if (failed(term("a", m.aDims, m.a.sizes)) || failed(term("b", m.bDims, m.b.sizes)) ||
        failed(term("c", m.cDims, m.c.sizes)))
      return failure();
    // MatMulOp C2
    for (auto [label, count] : terms)
      if (count < 2)
        return error() << "label '" << std::string(1, label) << "' is in one term only";
    // MatMulOp C3
    return failure(failed(equal("bias", m.bias, m.c.sizes)) ||
                   failed(equal("residual", m.residual, m.c.sizes)));
  }

  LogicalResult check(const plan::Attention &a) const {
    // AttentionOp C1
    if (failed(rank("q", a.q.sizes, 5)) || failed(rank("k", a.k.sizes, 4)) ||
        failed(rank("v", a.v.sizes, 4)))
      return failure();
    const auto &q = a.q.sizes;
    int64_t t = a.k.sizes[1], e = a.v.sizes[3];
    if (failed(equal("k", a.k.sizes, {q[0], t, q[2], q[4]})) ||
        failed(equal("v", a.v.sizes, {q[0], t, q[2], e})) ||
        failed(equal("mask", a.mask, {q[0], q[1], t})) ||
        failed(equal("bias", a.bias, {q[0], q[2], q[3], q[1], t})) ||
        failed(equal("out", a.out.sizes, {q[0], q[1], q[2], q[3], e})))
      return failure();
    // AttentionOp C2
    if (!a.causal && op->hasAttr("position"))
      return error() << "a position without causal means nothing";
    return success();
  }

  LogicalResult check(const plan::GatherRows &g) const {
    // GatherRowsOp C1
    if (g.table.sizes.empty())
      return error() << "expected a table of rank 1 or more";
    std::vector<int64_t> expected = g.ids.sizes;
    expected.insert(expected.end(), g.table.sizes.begin() + 1, g.table.sizes.end());
    // GatherRowsOp C2
    if (!types[0].isInteger(32) && !types[0].isInteger(64))
      return error() << "expected ids of i32 or i64, found " << types[0];
    return equal("out", g.out.sizes, expected);
  }

  LogicalResult check(const plan::Take &t) const {
    // TakeOp C1
    if (failed(dimension(t.dim, t.x.sizes)))
      return failure();
    std::vector<int64_t> expected = t.x.sizes;
    expected[t.dim] = 1;
    return equal("out", t.out.sizes, expected);
  }

  LogicalResult check(const plan::Norm &n) const {
    // NormOp C2
    if (n.dims < 1 || n.dims > static_cast<int64_t>(n.x.sizes.size()))
      return error() << "expected dims between 1 and " << n.x.sizes.size() << ", found " << n.dims;
    // NormOp C4
    if (!n.sum.empty() && n.residual.empty())
      return error() << "a sum needs a residual";
    // NormOp C3
    return failure(
        failed(equal("out", n.out.sizes, n.x.sizes)) ||
        failed(equal("scale", n.scale, n.x.sizes)) || failed(equal("bias", n.bias, n.x.sizes)) ||
        failed(equal("residual", n.residual, n.x.sizes)) || failed(equal("sum", n.sum, n.x.sizes)));
  }

  LogicalResult check(const plan::Rope &r) const {
    // RopeOp C1
    if (r.x.sizes.size() < 3)
      return error() << "expected x of rank 3 or more, found " << text(r.x.sizes);
    if (failed(equal("out", r.out.sizes, r.x.sizes)))
      return failure();
    // RopeOp C2
    return failure(failed(equal("positions", r.positions.sizes, {r.x.sizes[0], r.x.sizes[1]})) ||
                   failed(rank("cos", r.cos.sizes, 2)) ||
                   failed(equal("sin", r.sin.sizes, r.cos.sizes)));
  }

  LogicalResult check(const plan::Elementwise &e) const {
    // ElementwiseOp C2
    if (int64_t count = countOperators(e.expr); count > kMaxOperators)
      return error() << "expected at most " << kMaxOperators << " operators, found " << count;
    for (const plan::ExprTerm &term : e.expr)
      if (term.op == plan::ExprOp::Input && term.input >= static_cast<int64_t>(e.inputs.size()))
        return error() << "term $" << term.input << " names no input; there are "
                       << e.inputs.size();
    // ElementwiseOp C3
    for (const plan::Operand &input : e.inputs)
      if (failed(equal("an input", input.sizes, e.out.sizes)))
        return failure();
    return success();
  }

  LogicalResult check(const plan::Reduce &r) const {
    // ReduceOp C2
    auto dims = op->getAttrOfType<DenseI64ArrayAttr>("dims").asArrayRef();
    std::vector<int64_t> expected = r.x.sizes;
    for (auto [i, dim] : llvm::enumerate(dims)) {
      if (failed(dimension(dim, r.x.sizes)))
        return failure();
      if (i > 0 && dim <= dims[i - 1])
        return error() << "expected sorted, distinct dims, found " << text(dims);
      expected[dim] = 1;
    }
    return equal("out", r.out.sizes, expected);
  }

  LogicalResult check(const plan::Softmax &s) const {
    // SoftmaxOp C1
    return failure(failed(dimension(s.dim, s.x.sizes)) ||
                   failed(equal("out", s.out.sizes, s.x.sizes)));
  }

  // CopyOp C1
  LogicalResult check(const plan::Copy &c) const { return equal("out", c.out.sizes, c.x.sizes); }

  LogicalResult check(const plan::Fill &f) const {
    // FillOp C1
    if (f.dim != -1 && failed(dimension(f.dim, f.out.sizes)))
      return failure();
    // FillOp C2
    if ((f.dim != -1) != op->hasAttr("from"))
      return error() << "expected `from` exactly when dim is given";
    return success();
  }

  LogicalResult check(const plan::Collective &c) const {
    // AllReduceOp C1, AllGatherOp C1, ReduceScatterOp C1, AllToAllOp C1, BroadcastOp C1
    if (!plan::isContiguous(c.x) || !plan::isContiguous(c.out))
      return error() << "expected contiguous regions";
    if (types[0] != types[1])
      return error() << "expected x and out of one type, found " << types[0] << " and " << types[1];
    // AllReduceOp C3, AllGatherOp C3, ReduceScatterOp C3, AllToAllOp C3, BroadcastOp C3
    if (c.axes.empty())
      return error() << "expected at least one axis";
    if (llvm::SmallSet<int32_t, 4> seen;
        llvm::any_of(c.axes, [&](int32_t a) { return !seen.insert(a).second; }))
      return error() << "names an axis twice";
    // AllReduceOp C2, AllGatherOp C2, ReduceScatterOp C2, AllToAllOp C2, BroadcastOp C2
    int64_t x = plan::elements(c.x), out = plan::elements(c.out);
    switch (c.kind) {
    case plan::CollectiveKind::AllGather:
      if (x == 0 ? out == 0 : out % x == 0)
        return success();
      return error() << "expected a multiple of " << x << " elements, found " << out;
    case plan::CollectiveKind::ReduceScatter:
      if (out == 0 ? x == 0 : x % out == 0)
        return success();
      return error() << "expected a multiple of " << out << " elements, found " << x;
    default:
      if (x == out)
        return success();
      return error() << "expected " << x << " elements, found " << out;
    }
  }

  LogicalResult check(const plan::Record &r) const { return event(r.event); }
  LogicalResult check(const plan::Wait &w) const { return event(w.event); }
  LogicalResult event(int32_t number) const {
    // RecordOp C1, WaitOp C1
    return number >= 0 ? success() : LogicalResult(error() << "event " << number << " is negative");
  }
};
} // namespace

/// Checks what all instructions share: a slice per operand, inside its buffer where the offset is a
/// number.
static LogicalResult verifyInstruction(Operation *op, ArrayAttr slices) {
  if (slices.size() != op->getNumOperands())
    return op->emitOpError() << "expected one slice per operand (" << op->getNumOperands()
                             << "), found " << slices.size();
  if (!llvm::all_of(slices, llvm::IsaPred<SliceAttr>))
    return op->emitOpError() << "expected #plan.slice for each operand";
  FailureOr<plan::Op> instruction = exportInstruction(op);
  if (failed(instruction))
    return failure();
  for (const plan::Access &access : plan::accesses(*instruction)) {
    const plan::Operand &operand = *access.operand;
    Value value = op->getOperand(operand.buffer);
    if (access.write && isa_and_nonnull<WeightBufferOp>(value.getDefiningOp()))
      return op->emitOpError() << "writes a weight through " << access.role;
    if (access.write &&
        llvm::any_of(llvm::zip_equal(operand.sizes, operand.strides),
                     [](auto pair) { return std::get<0>(pair) > 1 && std::get<1>(pair) == 0; }))
      return op->emitOpError() << "writes through a stride of 0 at " << access.role;
    auto buffer = value.getDefiningOp<BufferOp>();
    if (!buffer || operand.offset.kind != plan::RankValue::Kind::Constant)
      continue;
    int64_t held = buffer.getElements();
    if (plan::Span span = plan::span(operand); !span.empty && (span.first < 0 || span.last >= held))
      return op->emitOpError() << access.role << " reaches elements " << span.first << " to "
                               << span.last << " of a buffer of " << held;
  }
  std::vector<Type> types;
  for (Value operand : op->getOperands())
    types.push_back(cast<BufferType>(operand.getType()).getElementType());
  Checker checker{op, types};
  return std::visit([&](const auto &body) { return checker.check(body); }, instruction->body);
}

#define TENON_INSTRUCTION(OpTy)                                                                    \
  void OpTy::print(OpAsmPrinter &printer) { printInstruction(*this, printer); }                    \
  ParseResult OpTy::parse(OpAsmParser &parser, OperationState &result) {                           \
    return parseInstruction<OpTy>(parser, result);                                                 \
  }                                                                                                \
  LogicalResult OpTy::verify() { return verifyInstruction(*this, getSlices()); }

TENON_INSTRUCTION(MatMulOp)
TENON_INSTRUCTION(AttentionOp)
TENON_INSTRUCTION(GatherRowsOp)
TENON_INSTRUCTION(TakeOp)
TENON_INSTRUCTION(NormOp)
TENON_INSTRUCTION(RopeOp)
TENON_INSTRUCTION(ElementwiseOp)
TENON_INSTRUCTION(ReduceOp)
TENON_INSTRUCTION(SoftmaxOp)
TENON_INSTRUCTION(CopyOp)
TENON_INSTRUCTION(FillOp)
TENON_INSTRUCTION(AllReduceOp)
TENON_INSTRUCTION(AllGatherOp)
TENON_INSTRUCTION(ReduceScatterOp)
TENON_INSTRUCTION(AllToAllOp)
TENON_INSTRUCTION(BroadcastOp)
TENON_INSTRUCTION(RecordOp)
TENON_INSTRUCTION(WaitOp)

#undef TENON_INSTRUCTION

#define GET_OP_CLASSES
#include "tenon/Dialect/Plan/IR/PlanOps.cpp.inc"
