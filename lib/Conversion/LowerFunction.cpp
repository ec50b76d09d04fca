// SPDX-License-Identifier: Apache-2.0
// LowerFunction: the graph ops. Collectives are in LowerCollectives.cpp.

#include "LowerFunction.h"

#include "tenon/Dialect/Plan/IR/Expression.h"
#include "tenon/Dialect/Plan/IR/PlanDialect.h"
#include "tenon/runtime/plan/Access.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using plan::ExprOp;
using plan::ExprTerm;
using plan::Operand;

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

EntryBuilder::Sizes FunctionLowering::shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().vec();
}

plan::DataType FunctionLowering::typeOf(Value value) {
  // Operand types of the tp dialect are those of plans.
  return *plan::toDataType(cast<RankedTensorType>(value.getType()).getElementType());
}

Operand FunctionLowering::newResult(Operation *op) {
  return build.newBuffer(typeOf(op->getResult(0)), shapeOf(op->getResult(0)));
}

std::string tenon::layerOf(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName().str();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location inner : fused.getLocations())
      if (std::string layer = layerOf(inner); !layer.empty())
        return layer;
  if (auto call = dyn_cast<CallSiteLoc>(loc))
    return layerOf(call.getCallee());
  return "";
}

/// The number of one element of a constant; none for an integer that a double cannot hold.
static std::optional<double> exactNumber(Attribute element) {
  if (auto number = dyn_cast<FloatAttr>(element))
    return number.getValueAsDouble();
  APInt value = cast<IntegerAttr>(element).getValue();
  if (value.getBitWidth() == 1)
    return value.isZero() ? 0.0 : 1.0;
  constexpr int64_t limit = int64_t(1) << 53;
  if (int64_t integer = value.getSExtValue(); -limit <= integer && integer <= limit)
    return double(integer);
  return std::nullopt;
}

static FailureOr<double> numberOf(Operation *op, Attribute element) {
  if (std::optional<double> number = exactNumber(element))
    return *number;
  return op->emitOpError() << "holds an integer beyond 2^53: "
                           << cast<IntegerAttr>(element).getValue().getSExtValue(),
         failure();
}

std::optional<double> FunctionLowering::splat(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (isa<tp::ReshapeOp, tp::BroadcastOp, tp::TransposeOp>(op))
    return splat(op->getOperand(0));
  auto constant = dyn_cast<tp::ConstantOp>(op);
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!elements || !elements.isSplat())
    return std::nullopt;
  return exactNumber(elements.getSplatValue<Attribute>());
}

FunctionLowering::Result FunctionLowering::region(Value value) {
  if (auto it = regions.find(value); it != regions.end())
    return it->second;
  auto constant = value.getDefiningOp<tp::ConstantOp>();
  if (!constant) {
    // Reshapes of constants that were passed over.
    if (failed(lowerOp(value.getDefiningOp())))
      return failure();
    return regions.find(value)->second;
  }
  auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!elements)
    return constant.emitOpError() << "expected a dense constant", failure();
  Sizes shape = shapeOf(value);
  if (elements.isSplat()) {
    FailureOr<double> number = numberOf(constant, elements.getSplatValue<Attribute>());
    if (failed(number))
      return failure();
    Operand one = build.newBuffer(typeOf(value), {1});
    build.fill(one, *number);
    return regions[value] = Operand{one.buffer, {}, shape, Sizes(shape.size(), 0)};
  }
  Operand whole = build.newBuffer(typeOf(value), shape);
  std::vector<double> numbers;
  for (Attribute element : elements.getValues<Attribute>()) {
    FailureOr<double> number = numberOf(constant, element);
    if (failed(number))
      return failure();
    numbers.push_back(*number);
  }
  for (size_t first = 0, last; first < numbers.size(); first = last) {
    for (last = first + 1; last < numbers.size() && numbers[last] == numbers[first];)
      ++last;
    plan::RankValue offset;
    offset.base = first;
    build.fill({whole.buffer, offset, {int64_t(last - first)}, {1}}, numbers[first]);
  }
  return regions[value] = whole;
}

bool FunctionLowering::ownsBuffer(Value value, const Operand &region) {
  // Ops that make no buffer of their own hand out a part of somebody else's.
  Operation *op = value.getDefiningOp();
  if (!op || !value.hasOneUse() ||
      isa<ml_program::GlobalLoadConstOp, tp::ConstantOp, tp::ReshapeOp, tp::TransposeOp,
          tp::BroadcastOp, tp::SliceOp, tp::ConvertOp, tp::TakeOp, tp::CollectiveOpInterface,
          tp::MaskPaddingOp>(op))
    return false;
  return build.buffer(region).kind == plan::Buffer::Kind::Arena &&
         region.offset.kind == plan::RankValue::Kind::Constant && plan::isContiguous(region) &&
         plan::elements(region) == build.buffer(region).elements;
}

FailureOr<plan::RankValue> FunctionLowering::rankValue(Operation *op, tp::RankValueAttr attr,
                                                       int64_t otherwise) {
  plan::RankValue value;
  if (!attr) {
    value.base = otherwise;
    return value;
  }
  FailureOr<sharding::AxisList> list =
      tp::toAxes(attr.getAxes(), mesh, [&] { return op->emitOpError(); });
  if (failed(list))
    return failure();
  if (list->empty()) {
    value.base = attr.getLength() ? attr.getN() : 0;
    return value;
  }
  value.kind = attr.getLength() ? plan::RankValue::Kind::Length : plan::RankValue::Kind::Start;
  value.n = attr.getN();
  value.axes = axes(*list);
  return value;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

FunctionLowering::Result FunctionLowering::expression(Operation *op, ValueRange inputs,
                                                      ArrayRef<ExprTerm> terms) {
  plan::Elementwise body;
  Sizes shape = shapeOf(op->getResult(0));
  llvm::SmallDenseMap<Value, int32_t> numbers;
  // An expression needs an input: where all are constants, the first is filled.
  bool allConstant = llvm::all_of(inputs, [&](Value input) { return splat(input).has_value(); });
  for (const ExprTerm &term : terms) {
    body.expr.push_back(term);
    if (term.op != ExprOp::Input)
      continue;
    Value input = inputs[term.input];
    if (std::optional<double> number = splat(input);
        number && !std::isnan(*number) && !(allConstant && input == inputs[0])) {
      body.expr.back() = {ExprOp::Constant, 0, *number};
      continue;
    }
    auto [it, added] = numbers.try_emplace(input, body.inputs.size());
    if (added) {
      Result x = region(input);
      if (failed(x))
        return failure();
      body.inputs.push_back(build.denseRows(EntryBuilder::broadcast(*x, shape)));
    }
    body.expr.back().input = it->second;
  }
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

static SmallVector<ExprTerm> applied(ExprOp op, int inputs) {
  SmallVector<ExprTerm> terms;
  for (int i = 0; i < inputs; ++i)
    terms.push_back({ExprOp::Input, i, 0});
  terms.push_back({op, 0, 0});
  return terms;
}

/// The operator of a plan with the same spelling.
static ExprOp operatorNamed(StringRef name) {
  for (int i = 0; i <= static_cast<int>(ExprOp::Select); ++i)
    if (plan::spell(static_cast<ExprOp>(i)) == name)
      return static_cast<ExprOp>(i);
  llvm_unreachable("the operators of the tp dialect are those of plans");
}

FunctionLowering::Result FunctionLowering::lower(tp::UnaryOp op) {
  return expression(op, op->getOperands(),
                    applied(operatorNamed(tp::stringifyUnaryKind(op.getKind())), 1));
}
FunctionLowering::Result FunctionLowering::lower(tp::BinaryOp op) {
  return expression(op, op->getOperands(),
                    applied(operatorNamed(tp::stringifyBinaryKind(op.getKind())), 2));
}
FunctionLowering::Result FunctionLowering::lower(tp::CompareOp op) {
  return expression(op, op->getOperands(),
                    applied(operatorNamed(tp::stringifyCompareKind(op.getKind())), 2));
}
FunctionLowering::Result FunctionLowering::lower(tp::SelectOp op) {
  return expression(op, op->getOperands(), applied(ExprOp::Select, 3));
}
FunctionLowering::Result FunctionLowering::lower(tp::ElementwiseOp op) {
  std::string why;
  auto terms = plan::parseExpression(op.getExpr(), why);
  if (failed(terms))
    return op.emitOpError() << "malformed expression '" << op.getExpr() << "': " << why, failure();
  for (const ExprTerm &term : *terms)
    if (term.op == ExprOp::Input && term.input >= static_cast<int64_t>(op.getInputs().size()))
      return op.emitOpError() << "term $" << term.input << " names no input", failure();
  return expression(op, op.getInputs(), *terms);
}

//===----------------------------------------------------------------------===//
// Ops that make no instruction, or copies only
//===----------------------------------------------------------------------===//

FunctionLowering::Result FunctionLowering::lower(ml_program::GlobalLoadConstOp op) {
  auto it = weights.numbers.find(op.getGlobal().getLeafReference());
  if (it == weights.numbers.end())
    return op.emitOpError() << "loads no weight: " << op.getGlobal(), failure();
  const plan::Weight &weight = weights.weights[it->second];
  return build.weight(it->second, weight.type, weight.elements, shapeOf(op.getResult()));
}

FunctionLowering::Result FunctionLowering::lower(tp::ReshapeOp op) {
  Result x = region(op.getInput());
  return failed(x) ? x : Result(build.reshape(*x, shapeOf(op.getResult())));
}
FunctionLowering::Result FunctionLowering::lower(tp::TransposeOp op) {
  Result x = region(op.getInput());
  return failed(x) ? x : Result(EntryBuilder::transpose(*x, op.getPermutation().vec()));
}
FunctionLowering::Result FunctionLowering::lower(tp::BroadcastOp op) {
  Result x = region(op.getInput());
  return failed(x) ? x : Result(EntryBuilder::broadcast(*x, shapeOf(op.getResult())));
}
FunctionLowering::Result FunctionLowering::lower(tp::SliceOp op) {
  Result x = region(op.getInput());
  return failed(x) ? x
                   : Result(EntryBuilder::slice(*x, op.getOffsets().vec(), op.getSizes().vec(),
                                                op.getStrides().vec()));
}
FunctionLowering::Result FunctionLowering::lower(tp::ConvertOp op) {
  Result x = region(op.getInput());
  return failed(x) ? x : Result(build.cast(*x, typeOf(op.getResult())));
}

FunctionLowering::Result FunctionLowering::lower(tp::ConcatOp op) {
  Operand out = newResult(op);
  Sizes offsets(out.sizes.size(), 0), ones(out.sizes.size(), 1);
  for (Value input : op.getInputs()) {
    Result x = region(input);
    if (failed(x))
      return failure();
    build.copyInto(*x, EntryBuilder::slice(out, offsets, x->sizes, ones));
    offsets[op.getDim()] += x->sizes[op.getDim()];
  }
  return out;
}

FunctionLowering::Result FunctionLowering::lower(tp::MaskPaddingOp op) {
  Result x = region(op.getInput());
  FailureOr<plan::RankValue> from = rankValue(op, op.getLength(), 0);
  if (failed(x) || failed(from))
    return failure();
  plan::Fill fill;
  fill.out = ownsBuffer(op.getInput(), *x) ? *x : build.copy(*x);
  fill.value = op.getValue().convertToDouble();
  fill.dim = op.getDim();
  fill.from = *from;
  build.add(fill);
  return fill.out;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

FunctionLowering::Result FunctionLowering::lower(tp::MatMulOp op) {
  FailureOr<tp::Einsum> einsum = tp::parseEinsum(op.getEinsum());
  Result a = region(op.getLhs()), b = region(op.getRhs());
  if (failed(einsum) || failed(a) || failed(b))
    return failure();
  plan::MatMul body;
  body.a = *a;
  body.b = *b;
  body.aDims = einsum->lhs;
  body.bDims = einsum->rhs;
  body.cDims = einsum->result;
  Sizes shape = shapeOf(op.getResult());
  for (auto [value, list] :
       {std::pair(op.getBias(), &body.bias), std::pair(op.getResidual(), &body.residual)}) {
    if (!value)
      continue;
    Result x = region(value);
    if (failed(x))
      return failure();
    list->push_back(EntryBuilder::broadcast(*x, shape));
  }
  body.activation = static_cast<plan::Activation>(op.getActivation());
  body.c = newResult(op);
  build.add(body);
  return body.c;
}

FunctionLowering::Result FunctionLowering::norm(Operation *op, plan::Norm::Kind kind, Value x,
                                                Value scale, Value bias, int64_t dims, float eps,
                                                bool rounded) {
  Result input = region(x);
  if (failed(input))
    return failure();
  plan::Norm body;
  body.kind = kind;
  body.dims = dims;
  body.eps = eps;
  body.rounded = rounded;
  body.x = build.denseRows(*input);
  for (auto [value, list] : {std::pair(scale, &body.scale), std::pair(bias, &body.bias)}) {
    if (!value)
      continue;
    Result operand = region(value);
    if (failed(operand))
      return failure();
    if (const plan::Buffer &buffer = build.buffer(*operand); value == scale && buffer.weight >= 0)
      weights.weights[buffer.weight].ones = true;
    list->push_back(build.denseRows(EntryBuilder::broadcast(*operand, body.x.sizes)));
  }
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::lower(tp::LayerNormOp op) {
  return norm(op, plan::Norm::Kind::Layer, op.getInput(), op.getScale(), op.getBias(), op.getDims(),
              op.getEps().convertToFloat());
}
FunctionLowering::Result FunctionLowering::lower(tp::RmsNormOp op) {
  return norm(op, plan::Norm::Kind::Rms, op.getInput(), op.getScale(), Value(), op.getDims(),
              op.getEps().convertToFloat(), op.getRounded());
}

FunctionLowering::Result FunctionLowering::lower(tp::AttentionOp op) {
  Result q = region(op.getQ()), k = region(op.getK()), v = region(op.getV());
  FailureOr<plan::RankValue> position = rankValue(op, op.getPositionAttr(), 0);
  if (failed(q) || failed(k) || failed(v) || failed(position))
    return failure();
  plan::Attention body;
  body.q = build.denseRows(*q);
  body.k = build.denseRows(*k);
  body.v = build.denseRows(*v);
  const Sizes &sizes = body.q.sizes;
  int64_t keys = body.k.sizes[1];
  if (op.getMask()) {
    Result mask = region(op.getMask());
    if (failed(mask))
      return failure();
    body.mask.push_back(
        build.denseRows(EntryBuilder::broadcast(*mask, {sizes[0], sizes[1], keys})));
  }
  if (op.getBias()) {
    Result bias = region(op.getBias());
    if (failed(bias))
      return failure();
    body.bias.push_back(build.denseRows(EntryBuilder::broadcast(
        build.cast(*bias, plan::DataType::F32), {sizes[0], sizes[2], sizes[3], sizes[1], keys})));
  }
  body.scale = op.getScale().convertToFloat();
  body.causal = op.getCausal();
  body.position = *position;
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::ropePositions(tp::RopeOp op, int64_t batch,
                                                         int64_t sequence) {
  if (Value positions = op.getPositions()) {
    Result x = region(positions);
    if (failed(x))
      return failure();
    return build.denseRows(EntryBuilder::broadcast(*x, {batch, sequence}));
  }
  FailureOr<plan::RankValue> first = rankValue(op, op.getPositionAttr(), 0);
  if (failed(first))
    return failure();
  // A block may begin at the end of the sequence and be padding alone: its positions stay in range.
  bool depends = first->kind != plan::RankValue::Kind::Constant;
  Operand all = depends ? iota(first->n, first->n + sequence)
                        : iota(sequence + first->base, sequence + first->base);
  return Operand{all.buffer, *first, {batch, sequence}, {0, 1}};
}

Operand FunctionLowering::iota(int64_t count, int64_t size) {
  auto [it, added] = iotas.try_emplace({count, size});
  if (!added)
    return it->second;
  Operand whole = it->second = build.newBuffer(plan::DataType::I32, {size});
  auto part = [&](int64_t first, int64_t length) {
    return EntryBuilder::slice(whole, {first}, {length}, {1});
  };
  build.fill(part(0, std::min<int64_t>(count, 1)), 0);
  // 0; then 0 + 1; then 0, 1 + 2; ...
  for (int64_t done = 1; done < count; done *= 2) {
    int64_t length = std::min(done, count - done);
    build.add(plan::Elementwise{
        {part(0, length)},
        part(done, length),
        {{ExprOp::Input, 0, 0}, {ExprOp::Constant, 0, double(done)}, {ExprOp::Add, 0, 0}}});
  }
  if (count < size)
    build.fill(part(count, size - count), double(std::max<int64_t>(count - 1, 0)));
  return whole;
}

Operand FunctionLowering::ropeTable(const Operand &table) {
  for (const auto &[given, made] : ropeTables)
    if (given == table)
      return made;
  Operand made = build.contiguous(build.cast(table, plan::DataType::F32));
  ropeTables.emplace_back(table, made);
  return made;
}

FunctionLowering::Result FunctionLowering::lower(tp::RopeOp op) {
  Result x = region(op.getInput()), cos = region(op.getCos()), sin = region(op.getSin());
  if (failed(x) || failed(cos) || failed(sin))
    return failure();
  Result positions = ropePositions(op, x->sizes[0], x->sizes[1]);
  if (failed(positions))
    return failure();
  plan::Rope body;
  body.x = build.denseRows(*x);
  body.positions = *positions;
  body.cos = ropeTable(*cos);
  body.sin = ropeTable(*sin);
  body.interleaved = op.getInterleaved();
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::lower(tp::EmbeddingOp op) {
  Result ids = region(op.getIds()), table = region(op.getTable());
  if (failed(ids) || failed(table))
    return failure();
  FailureOr<plan::RankValue> base = rankValue(op, op.getBaseAttr(), 0),
                             rows = rankValue(op, op.getRowsAttr(), table->sizes[0]);
  if (failed(base) || failed(rows))
    return failure();
  plan::GatherRows body;
  body.ids = *ids;
  body.table = build.contiguous(*table);
  body.base = *base;
  body.rows = *rows;
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::lower(tp::TakeOp op) {
  Result x = region(op.getInput());
  if (failed(x))
    return failure();
  FailureOr<plan::RankValue> base = rankValue(op, op.getBaseAttr(), 0),
                             rows = rankValue(op, op.getRowsAttr(), x->sizes[op.getDim()]);
  if (failed(base) || failed(rows))
    return failure();
  if (base->kind == plan::RankValue::Kind::Constant &&
      rows->kind == plan::RankValue::Kind::Constant) {
    // Every rank owns the position: a region says it.
    Sizes offsets(x->sizes.size(), 0), sizes = x->sizes, ones(x->sizes.size(), 1);
    offsets[op.getDim()] = op.getIndex() - base->base;
    sizes[op.getDim()] = 1;
    return EntryBuilder::slice(*x, offsets, sizes, ones);
  }
  plan::Take body;
  body.x = *x;
  body.dim = op.getDim();
  body.index = op.getIndex();
  body.base = *base;
  body.rows = *rows;
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::lower(tp::SoftmaxOp op) {
  Result x = region(op.getInput());
  if (failed(x))
    return failure();
  plan::Softmax body{*x, newResult(op), static_cast<int32_t>(op.getDim())};
  build.add(body);
  return body.out;
}

FunctionLowering::Result FunctionLowering::lower(tp::ReduceOp op) {
  Result x = region(op.getInput());
  if (failed(x))
    return failure();
  plan::Reduce body;
  body.kind = static_cast<plan::ReduceKind>(op.getKind());
  body.x = *x;
  body.reduced.resize(x->sizes.size());
  for (int64_t dim : op.getDims())
    body.reduced[dim] = true;
  body.out = newResult(op);
  build.add(body);
  return body.out;
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

LogicalResult FunctionLowering::lowerOp(Operation *op) {
  build.setLocation(layerOf(op->getLoc()));
  size_t before = entry.ops.size();
  bool known = true;
  Result result =
      llvm::TypeSwitch<Operation *, Result>(op)
          .Case<ml_program::GlobalLoadConstOp, tp::MatMulOp, tp::UnaryOp, tp::BinaryOp,
                tp::CompareOp, tp::SelectOp, tp::ElementwiseOp, tp::ConvertOp, tp::SoftmaxOp,
                tp::LayerNormOp, tp::RmsNormOp, tp::AttentionOp, tp::RopeOp, tp::EmbeddingOp,
                tp::TakeOp, tp::ReshapeOp, tp::TransposeOp, tp::BroadcastOp, tp::SliceOp,
                tp::ConcatOp, tp::ReduceOp, tp::MaskPaddingOp>(
              [&](auto typed) { return lower(typed); })
          .Case<tp::CollectiveOpInterface>([&](auto) { return lowerCollective(op); })
          .Default([&](Operation *) -> Result {
            known = false;
            return failure();
          });
  if (!known)
    return op->emitOpError()
           << "has no instruction in a plan; expected a module of the phase local or optimized";
  if (failed(result))
    return failure();
  regions[op->getResult(0)] = *result;
  // The predicted time belongs to the instruction that does the work, not to the copies around it.
  if (auto predicted = op->getAttrOfType<FloatAttr>(tp::kPredictedAttr);
      predicted && entry.ops.size() > before) {
    auto first = entry.ops.begin() + before;
    auto main = std::find_if(first, entry.ops.end(), [](const plan::Op &o) {
      return !std::holds_alternative<plan::Copy>(o.body) &&
             !std::holds_alternative<plan::Fill>(o.body);
    });
    (main == entry.ops.end() ? *first : *main).predictedUs = predicted.getValueAsDouble();
  }
  return success();
}

LogicalResult FunctionLowering::addInput(unsigned index) {
  BlockArgument argument = function.getArgument(index);
  auto name = function.getArgAttrOfType<StringAttr>(index, tp::kNameAttr);
  if (!name)
    return function.emitOpError() << "argument " << index << " has no " << tp::kNameAttr;
  plan::IO io;
  io.name = name.str();
  io.type = typeOf(argument);
  io.shape = shapeOf(argument);
  io.dimAxes.resize(io.shape.size());
  io.maskRows = function.getArgAttr(index, tp::kMaskRowsAttr) != nullptr;
  // The dialect's verifier has seen to it that there are two numbers.
  if (auto range = function.getArgAttrOfType<DenseI64ArrayAttr>(index, tp::kRangeAttr)) {
    io.low = range[0];
    io.high = range[1];
  }
  Operand region = build.newBuffer(io.type, io.shape);
  io.buffer = region.buffer;
  regions[argument] = region;
  entry.inputs.push_back(std::move(io));
  return success();
}

LogicalResult FunctionLowering::addOutput(unsigned index, Value value) {
  auto name = function.getResultAttrOfType<StringAttr>(index, tp::kNameAttr);
  auto attr = function.getResultAttrOfType<tp::ShardingAttr>(index, tp::kShardingAttr);
  if (!name)
    return function.emitOpError() << "result " << index << " has no " << tp::kNameAttr;
  plan::IO io;
  io.name = name.str();
  io.type = typeOf(value);
  io.shape = shapeOf(value);
  if (auto global = function.getResultAttrOfType<DenseI64ArrayAttr>(index, tp::kShapeAttr))
    io.shape = global.asArrayRef().vec();
  auto sharding = sharding::Sharding::replicated(io.shape.size());
  if (attr) {
    auto parsed =
        tp::toSharding(attr, io.shape.size(), mesh, [&] { return function.emitOpError(); });
    if (failed(parsed))
      return failure();
    sharding = *parsed;
  }
  if (!sharding.partial.empty())
    return function.emitOpError() << "result " << index
                                  << " is partial; expected a whole or sharded one";
  if (sharding::localShape(io.shape, sharding, mesh) != shapeOf(value))
    return function.emitOpError() << "result " << index
                                  << " does not have the shape of its block: " << value.getType();
  for (const sharding::AxisList &list : sharding.dims)
    io.dimAxes.push_back(axes(list));
  Result x = region(value);
  if (failed(x))
    return failure();
  build.setLocation(layerOf(value.getLoc()));
  io.buffer = build.wholeBuffer(*x).buffer;
  entry.outputs.push_back(std::move(io));
  return success();
}

FailureOr<plan::Entry> FunctionLowering::run() {
  entry.name = function.getName().str();
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (failed(addInput(i)))
      return failure();
  for (Operation &op : function.getBody().front()) {
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      for (auto [i, value] : llvm::enumerate(ret.getOperands()))
        if (failed(addOutput(i, value)))
          return failure();
      break;
    }
    // Constants are made where they are used, if they are not just numbers of an expression.
    bool isNumber = op.getNumResults() == 1 && splat(op.getResult(0)).has_value();
    if (!isNumber && !isa<tp::ConstantOp>(op) && failed(lowerOp(&op)))
      return failure();
  }
  for (const plan::Op &op : entry.ops)
    entry.predictedUs += op.predictedUs;
  return std::move(entry);
}
