// SPDX-License-Identifier: Apache-2.0
// PlanTranslation: one switch from ops to structs, one from structs to ops. Operands need no
// switch: the ops list them in the order in which the runtime's forEachOperand visits the struct.

#include "tenon/Dialect/Plan/IR/PlanTranslation.h"
#include "tenon/Dialect/Plan/IR/Expression.h"
#include "tenon/runtime/plan/Access.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::plan;
using plan::Operand;

//===----------------------------------------------------------------------===//
// Spellings
//===----------------------------------------------------------------------===//

static constexpr const char *kActivations[] = {"none", "gelu", "gelu_tanh", "silu", "relu", "tanh"};
static constexpr const char *kReductions[] = {"sum", "max", "min"};
static constexpr const char *kNorms[] = {"layer", "rms"};

template <typename Enum, size_t N>
static FailureOr<Enum> parseEnum(Operation *op, StringRef what, StringRef text,
                                 const char *const (&names)[N]) {
  for (size_t i = 0; i < N; ++i)
    if (text == names[i])
      return static_cast<Enum>(i);
  InFlightDiagnostic diagnostic = op->emitOpError()
                                  << "unknown " << what << " '" << text << "'; expected ";
  llvm::interleaveComma(names, diagnostic);
  return failure();
}

//===----------------------------------------------------------------------===//
// From ops to structs
//===----------------------------------------------------------------------===//

namespace {
/// Numbers for axes: the mesh's, or in the order of their appearance when there is no mesh.
class AxisNumbers {
public:
  AxisNumbers() = default;
  explicit AxisNumbers(MeshOp mesh) : strict(true) {
    for (Attribute axis : mesh.getAxes())
      numbers.try_emplace(axis, numbers.size());
  }

  FailureOr<plan::Axes> operator()(Operation *op, ArrayAttr names) {
    plan::Axes axes;
    for (Attribute name : names) {
      if (!isa<StringAttr>(name))
        return op->emitOpError() << "expected the name of an axis, found " << name, failure();
      auto it = numbers.find(name);
      if (it == numbers.end() && strict)
        return op->emitOpError() << "the mesh has no axis " << name, failure();
      if (it == numbers.end())
        it = numbers.try_emplace(name, numbers.size()).first;
      axes.push_back(it->second);
    }
    return axes;
  }

private:
  llvm::DenseMap<Attribute, int32_t> numbers;
  bool strict = false;
};

/// Turns instructions into structs. Any failure is remembered in `failed`, after an error at the
/// op.
class InstructionExporter {
public:
  InstructionExporter(Operation *op, AxisNumbers &axes, function_ref<int32_t(unsigned)> buffer)
      : op(op), axes(axes), buffer(buffer) {}

  FailureOr<plan::Op> run() {
    plan::Op result;
    bool known =
        llvm::TypeSwitch<Operation *, bool>(op)
            .Case<MatMulOp, AttentionOp, GatherRowsOp, TakeOp, NormOp, RopeOp, ElementwiseOp,
                  ReduceOp, SoftmaxOp, CopyOp, FillOp, RecordOp, WaitOp>([&](auto typed) {
              result.body = translate(typed);
              return true;
            })
            .Case<AllReduceOp>([&](auto o) {
              return result.body = collective(o, plan::CollectiveKind::AllReduce), true;
            })
            .Case<AllGatherOp>([&](auto o) {
              return result.body = collective(o, plan::CollectiveKind::AllGather), true;
            })
            .Case<ReduceScatterOp>([&](auto o) {
              return result.body = collective(o, plan::CollectiveKind::ReduceScatter), true;
            })
            .Case<AllToAllOp>([&](auto o) {
              return result.body = collective(o, plan::CollectiveKind::AllToAll), true;
            })
            .Case<BroadcastOp>([&](auto o) {
              return result.body = collective(o, plan::CollectiveKind::Broadcast), true;
            })
            .Default([](Operation *) { return false; });
    if (!known)
      return op->emitOpError() << "is no instruction of a plan", failure();
    if (!bad)
      fillOperands(result.body);
    if (bad)
      return failure();
    if (auto stream = op->getAttrOfType<IntegerAttr>("stream"))
      result.stream = stream.getInt();
    if (auto layer = op->getAttrOfType<StringAttr>("layer"))
      result.location = layer.str();
    if (auto predicted = op->getAttrOfType<FloatAttr>("predicted_us"))
      result.predictedUs = predicted.getValueAsDouble();
    return result;
  }

  plan::RankValue value(ValueAttr attr) {
    plan::RankValue result;
    if (!attr)
      return result;
    result.kind = attr.getKind();
    result.base = attr.getBase();
    result.stride = attr.getStride();
    result.n = attr.getN();
    result.axes = take(axes(op, attr.getAxes()));
    return result;
  }

private:
  template <typename T> T take(FailureOr<T> result) {
    if (succeeded(result))
      return std::move(*result);
    bad = true;
    return T{};
  }

  void fillOperands(plan::OpBody &body) {
    auto slices = op->getAttrOfType<ArrayAttr>("slices");
    unsigned next = 0;
    plan::forEachOperand(body, [&](Operand &operand, bool, const char *, int) {
      auto slice = cast<SliceAttr>(slices[next]);
      operand.buffer = buffer(next++);
      operand.offset = value(slice.getOffset());
      operand.sizes = slice.getSizes().vec();
      operand.strides = slice.getStrides().vec();
    });
    assert(next == op->getNumOperands() && "the op lists the operands of its struct");
  }

  plan::MatMul translate(MatMulOp matmul) {
    plan::MatMul result;
    auto [operands, c] = matmul.getEinsum().split("->");
    auto [a, b] = operands.split(',');
    result.aDims = a.str();
    result.bDims = b.str();
    result.cDims = c.str();
    result.bias.resize(matmul.getBias() ? 1 : 0);
    result.residual.resize(matmul.getResidual() ? 1 : 0);
    // MatMulOp C4
    result.activation =
        take(parseEnum<plan::Activation>(op, "activation", matmul.getActivation(), kActivations));
    return result;
  }
  plan::Attention translate(AttentionOp attention) {
    plan::Attention result;
    result.mask.resize(attention.getMask() ? 1 : 0);
    result.bias.resize(attention.getBias() ? 1 : 0);
    result.scale = attention.getScale().convertToFloat();
    result.causal = attention.getCausal();
    result.position = value(attention.getPositionAttr());
    return result;
  }
  plan::GatherRows translate(GatherRowsOp gather) {
    plan::GatherRows result;
    result.base = value(gather.getBase());
    result.rows = value(gather.getRows());
    return result;
  }
  plan::Take translate(TakeOp takeOp) {
    plan::Take result;
    result.dim = takeOp.getDim();
    result.index = takeOp.getIndex();
    result.base = value(takeOp.getBase());
    result.rows = value(takeOp.getRows());
    return result;
  }
  plan::Norm translate(NormOp norm) {
    plan::Norm result;
    // NormOp C1
    result.kind = take(parseEnum<plan::Norm::Kind>(op, "kind", norm.getKind(), kNorms));
    result.scale.resize(norm.getScale() ? 1 : 0);
    result.bias.resize(norm.getBias() ? 1 : 0);
    result.residual.resize(norm.getResidual() ? 1 : 0);
    result.sum.resize(norm.getSum() ? 1 : 0);
    result.dims = norm.getDims();
    result.eps = norm.getEps().convertToFloat();
    result.rounded = norm.getRounded();
    return result;
  }
  plan::Rope translate(RopeOp rope) {
    plan::Rope result;
    result.interleaved = rope.getInterleaved();
    return result;
  }
  plan::Elementwise translate(ElementwiseOp elementwise) {
    plan::Elementwise result;
    result.inputs.resize(elementwise.getInput().size());
    std::string why;
    // ElementwiseOp C1
    if (auto terms = parseExpression(elementwise.getExpr(), why); succeeded(terms)) {
      result.expr = std::move(*terms);
    } else {
      op->emitOpError() << "malformed expression '" << elementwise.getExpr() << "': " << why;
      bad = true;
    }
    return result;
  }
  plan::Reduce translate(ReduceOp reduce) {
    plan::Reduce result;
    // ReduceOp C1
    result.kind = take(parseEnum<plan::ReduceKind>(op, "kind", reduce.getKind(), kReductions));
    size_t rank = 0;
    if (!reduce.getSlices().empty())
      rank = cast<SliceAttr>(reduce.getSlices()[0]).getSizes().size();
    result.reduced.resize(rank);
    for (int64_t dim : reduce.getDims())
      if (dim >= 0 && dim < static_cast<int64_t>(rank))
        result.reduced[dim] = true;
    return result;
  }
  plan::Softmax translate(SoftmaxOp softmax) {
    plan::Softmax result;
    result.dim = softmax.getDim();
    return result;
  }
  plan::Copy translate(CopyOp) { return {}; }
  plan::Fill translate(FillOp fill) {
    plan::Fill result;
    result.value = fill.getValue().convertToDouble();
    result.dim = fill.getDim();
    result.from = value(fill.getFromAttr());
    return result;
  }
  plan::Record translate(RecordOp record) { return {static_cast<int32_t>(record.getEvent())}; }
  plan::Wait translate(WaitOp wait) { return {static_cast<int32_t>(wait.getEvent())}; }

  template <typename OpTy> plan::Collective collective(OpTy typed, plan::CollectiveKind kind) {
    plan::Collective result;
    result.kind = kind;
    result.reduce =
        take(parseEnum<plan::ReduceKind>(op, "reduction", typed.getReduce(), kReductions));
    result.axes = take(axes(op, typed.getAxes()));
    if (std::optional<StringRef> cause = typed.getCause())
      result.cause = cause->str();
    return result;
  }

  Operation *op;
  AxisNumbers &axes;
  function_ref<int32_t(unsigned)> buffer;
  bool bad = false;
};

/// Turns a module into a plan.
class PlanExporter {
public:
  explicit PlanExporter(ModuleOp module) : module(module) {}

  FailureOr<plan::Plan> run() {
    auto meshes = module.getOps<MeshOp>();
    if (!llvm::hasSingleElement(meshes))
      return emitError(module.getLoc())
                 << (meshes.empty()
                         ? "not a plan: no plan.mesh; --tp-compile=\"mesh=AXIS:SIZE\" makes a plan "
                           "of a graph"
                         : "expected one plan.mesh"),
             failure();
    MeshOp mesh = *meshes.begin();
    axes = AxisNumbers(mesh);
    for (auto [name, size, parent] :
         llvm::zip_equal(mesh.getAxes(), mesh.getSizes(), mesh.getParents()))
      result.mesh.push_back({cast<StringAttr>(name).str(), size, cast<StringAttr>(parent).str()});
    result.producer = text(kProducerAttr);
    result.model = text(kModelAttr);
    result.machine = text(kMachineAttr);
    result.certificate = text(kCertificateAttr);
    result.choices = text(kChoicesAttr);
    result.packBudget = number(kPackBudgetAttr);
    result.weightsBytesUnsharded = number(kUnshardedAttr);
    for (Operation &op : *module.getBody()) {
      LogicalResult done = llvm::TypeSwitch<Operation *, LogicalResult>(&op)
                               .Case<MeshOp>([](auto) { return success(); })
                               .Case<WeightOp>([&](WeightOp weight) { return add(weight); })
                               .Case<EntryOp>([&](EntryOp entry) { return add(entry); })
                               .Default([](Operation *other) {
                                 return other->emitOpError() << "is not part of a plan";
                               });
      if (failed(done))
        return failure();
    }
    return std::move(result);
  }

private:
  std::string text(StringRef name) {
    auto attr = module->getAttrOfType<StringAttr>(name);
    return attr ? attr.str() : std::string();
  }
  int64_t number(StringRef name) {
    auto attr = module->getAttrOfType<IntegerAttr>(name);
    return attr ? attr.getInt() : 0;
  }

  FailureOr<std::vector<plan::Axes>> axisLists(Operation *op, ArrayAttr lists) {
    std::vector<plan::Axes> out;
    for (Attribute list : lists) {
      FailureOr<plan::Axes> one = axes(op, cast<ArrayAttr>(list));
      if (failed(one))
        return failure();
      out.push_back(std::move(*one));
    }
    return out;
  }

  LogicalResult add(WeightOp op) {
    plan::Weight weight;
    weight.name = op.getSymName().str();
    weight.type = *toDataType(op.getType());
    weight.elements = op.getElements();
    weight.ones = op.getOnes();
    for (auto part : op.getParts().getAsRange<PartAttr>()) {
      FailureOr<std::vector<plan::Axes>> dims = axisLists(op, part.getAxes());
      FailureOr<plan::Axes> partial = axes(op, part.getPartial());
      if (failed(dims) || failed(partial))
        return failure();
      plan::View view{part.getKey().str(), *toDataType(part.getType()), part.getShape().vec(),
                      part.getOffset(),    part.getSizes().vec(),       part.getStrides().vec()};
      weight.parts.push_back({std::move(view), std::move(*dims), std::move(*partial), part.getAt(),
                              part.getTo().vec()});
    }
    weights.try_emplace(op.getSymName(), result.weights.size());
    result.weights.push_back(std::move(weight));
    return success();
  }

  LogicalResult add(EntryOp op) {
    plan::Entry entry;
    entry.name = op.getSymName().str();
    entry.arenaBytes = op.getArenaBytes();
    entry.liveBytesBound = op.getLiveBytesBound();
    entry.events = op.getEvents();
    entry.predictedUs = op.getPredictedUs().convertToDouble();
    llvm::DenseMap<Value, int32_t> numbers;
    for (Operation &inner : op.getBody().front()) {
      if (auto buffer = dyn_cast<BufferOp>(inner)) {
        plan::Buffer added;
        added.type = *toDataType(buffer.getType().getElementType());
        added.elements = buffer.getElements();
        added.offset = buffer.getOffset() ? static_cast<int64_t>(*buffer.getOffset()) : -1;
        numbers[buffer] = entry.buffers.size();
        entry.buffers.push_back(added);
      } else if (auto buffer = dyn_cast<WeightBufferOp>(inner)) {
        auto it = weights.find(buffer.getWeight());
        if (it == weights.end())
          return buffer.emitOpError()
                 << "expected the weight to stand before the entry: " << buffer.getWeightAttr();
        plan::Buffer added;
        added.kind = plan::Buffer::Kind::Weight;
        added.type = *toDataType(buffer.getType().getElementType());
        added.weight = it->second;
        added.elements = result.weights[it->second].elements;
        numbers[buffer] = entry.buffers.size();
        entry.buffers.push_back(added);
      } else if (auto input = dyn_cast<InputOp>(inner)) {
        plan::IO io;
        io.name = input.getName().str();
        io.buffer = numbers.lookup(input.getBuffer());
        io.type = entry.buffers[io.buffer].type;
        io.shape = input.getShape().vec();
        io.dimAxes.resize(io.shape.size());
        if (std::optional<ArrayRef<int64_t>> range = input.getRange()) {
          io.low = (*range)[0];
          io.high = (*range)[1];
        }
        io.maskRows = input.getMaskRows();
        entry.inputs.push_back(std::move(io));
      } else if (auto output = dyn_cast<OutputOp>(inner)) {
        FailureOr<std::vector<plan::Axes>> dims = axisLists(output, output.getAxes());
        if (failed(dims))
          return failure();
        plan::IO io;
        io.name = output.getName().str();
        io.buffer = numbers.lookup(output.getBuffer());
        io.type = entry.buffers[io.buffer].type;
        io.shape = output.getShape().vec();
        io.dimAxes = std::move(*dims);
        entry.outputs.push_back(std::move(io));
      } else {
        auto buffer = [&](unsigned i) { return numbers.lookup(inner.getOperand(i)); };
        FailureOr<plan::Op> instruction = InstructionExporter(&inner, axes, buffer).run();
        if (failed(instruction))
          return failure();
        entry.ops.push_back(std::move(*instruction));
      }
    }
    result.entries.push_back(std::move(entry));
    return success();
  }

  ModuleOp module;
  AxisNumbers axes;
  plan::Plan result;
  llvm::StringMap<int32_t> weights;
};
} // namespace

FailureOr<plan::Plan> plan::exportPlan(ModuleOp module) { return PlanExporter(module).run(); }

FailureOr<plan::Op> plan::exportInstruction(Operation *op) {
  AxisNumbers axes;
  auto buffer = [](unsigned i) { return static_cast<int32_t>(i); };
  return InstructionExporter(op, axes, buffer).run();
}

//===----------------------------------------------------------------------===//
// From structs to ops
//===----------------------------------------------------------------------===//

namespace {
class PlanImporter {
public:
  PlanImporter(const plan::Plan &plan, MLIRContext *context)
      : plan(plan), context(context), builder(context) {}

  ArrayAttr names(const plan::Axes &axes) {
    SmallVector<Attribute> out;
    for (int32_t axis : axes)
      out.push_back(builder.getStringAttr(plan.mesh[axis].name));
    return builder.getArrayAttr(out);
  }
  ArrayAttr nameLists(const std::vector<plan::Axes> &lists) {
    SmallVector<Attribute> out;
    for (const plan::Axes &axes : lists)
      out.push_back(names(axes));
    return builder.getArrayAttr(out);
  }
  ValueAttr value(const plan::RankValue &v) {
    // A constant has no other fact than its base.
    if (v.kind == plan::RankValue::Kind::Constant)
      return ValueAttr::get(context, v.kind, v.base, 1, 0, builder.getArrayAttr({}));
    return ValueAttr::get(context, v.kind, v.base, v.stride, v.n, names(v.axes));
  }

  void module(ModuleOp module) {
    module->setAttr(kProducerAttr, builder.getStringAttr(plan.producer));
    module->setAttr(kModelAttr, builder.getStringAttr(plan.model));
    module->setAttr(kMachineAttr, builder.getStringAttr(plan.machine));
    module->setAttr(kCertificateAttr, builder.getStringAttr(plan.certificate));
    if (!plan.choices.empty())
      module->setAttr(kChoicesAttr, builder.getStringAttr(plan.choices));
    module->setAttr(kPackBudgetAttr, builder.getI64IntegerAttr(plan.packBudget));
    module->setAttr(kUnshardedAttr, builder.getI64IntegerAttr(plan.weightsBytesUnsharded));
    builder.setInsertionPointToEnd(module.getBody());
    SmallVector<Attribute> axes, parents;
    SmallVector<int64_t> sizes;
    for (const plan::MeshAxis &axis : plan.mesh) {
      axes.push_back(builder.getStringAttr(axis.name));
      parents.push_back(builder.getStringAttr(axis.parent));
      sizes.push_back(axis.size);
    }
    Location loc = builder.getUnknownLoc();
    MeshOp::create(builder, loc, builder.getArrayAttr(axes), builder.getDenseI64ArrayAttr(sizes),
                   builder.getArrayAttr(parents));
    for (const plan::Weight &weight : plan.weights) {
      SmallVector<Attribute> parts;
      for (const plan::WeightPart &part : weight.parts)
        parts.push_back(PartAttr::get(context, part.view.key, toType(context, part.view.type),
                                      part.view.storedShape, part.view.offset, part.view.sizes,
                                      part.view.strides, nameLists(part.dimAxes),
                                      names(part.partialAxes), part.dstOffset, part.dstStrides));
      WeightOp::create(builder, loc, builder.getStringAttr(weight.name),
                       builder.getI64IntegerAttr(weight.elements),
                       TypeAttr::get(toType(context, weight.type)), builder.getArrayAttr(parts),
                       weight.ones ? builder.getUnitAttr() : UnitAttr());
    }
    for (const plan::Entry &one : plan.entries) {
      OpBuilder::InsertionGuard guard(builder);
      EntryOp op =
          EntryOp::create(builder, loc, TypeRange(), ValueRange(),
                          {builder.getNamedAttr("sym_name", builder.getStringAttr(one.name))});
      op.getBody().emplaceBlock();
      entry(op, one);
    }
  }

  void entry(EntryOp op, const plan::Entry &entry) {
    op.setArenaBytes(entry.arenaBytes);
    op.setLiveBytesBound(entry.liveBytesBound);
    op.setEvents(entry.events);
    op.setPredictedUsAttr(builder.getF64FloatAttr(entry.predictedUs));
    builder.setInsertionPointToEnd(&op.getBody().front());
    Location loc = builder.getUnknownLoc();
    buffers.clear();
    for (const plan::Buffer &buffer : entry.buffers) {
      auto type = BufferType::get(context, toType(context, buffer.type));
      if (buffer.kind == plan::Buffer::Kind::Weight)
        buffers.push_back(WeightBufferOp::create(
            builder, loc, type, FlatSymbolRefAttr::get(context, plan.weights[buffer.weight].name)));
      else
        buffers.push_back(BufferOp::create(
            builder, loc, type, builder.getI64IntegerAttr(buffer.elements),
            buffer.offset < 0 ? IntegerAttr() : builder.getI64IntegerAttr(buffer.offset)));
    }
    for (const plan::IO &io : entry.inputs)
      InputOp::create(builder, loc, builder.getStringAttr(io.name), buffers[io.buffer],
                      builder.getDenseI64ArrayAttr(io.shape),
                      io.low == io.high ? DenseI64ArrayAttr()
                                        : builder.getDenseI64ArrayAttr({io.low, io.high}),
                      io.maskRows ? builder.getUnitAttr() : UnitAttr());
    for (const plan::Op &one : entry.ops)
      instruction(one);
    for (const plan::IO &io : entry.outputs)
      OutputOp::create(builder, loc, builder.getStringAttr(io.name), buffers[io.buffer],
                       builder.getDenseI64ArrayAttr(io.shape), nameLists(io.dimAxes));
  }

private:
  using Attributes = NamedAttrList;

  void instruction(const plan::Op &op) {
    Attributes attributes;
    std::visit([&](const auto &body) { build(body, op, attributes); }, op.body);
  }

  template <typename OpTy> void create(const plan::Op &op, Attributes &attributes) {
    Location loc = op.location.empty() ? Location(builder.getUnknownLoc())
                                       : NameLoc::get(builder.getStringAttr(op.location));
    OperationState state(loc, OpTy::getOperationName());
    SmallVector<Attribute> slices;
    ArrayRef<StringRef> roles = OpTy::getRoles();
    SmallVector<int32_t> segments(roles.size());
    plan::forEachOperand(op.body, [&](const Operand &operand, bool, const char *role, int) {
      state.operands.push_back(buffers[operand.buffer]);
      slices.push_back(
          SliceAttr::get(context, value(operand.offset), operand.sizes, operand.strides));
      auto it = llvm::find(roles, StringRef(role));
      assert(it != roles.end() && "the op has the roles of its struct");
      ++segments[it - roles.begin()];
    });
    attributes.set("slices", builder.getArrayAttr(slices));
    if constexpr (OpTy::template hasTrait<OpTrait::AttrSizedOperandSegments>())
      attributes.set("operandSegmentSizes", builder.getDenseI32ArrayAttr(segments));
    if (op.stream != 0)
      attributes.set("stream", builder.getI32IntegerAttr(op.stream));
    if (!op.location.empty())
      attributes.set("layer", builder.getStringAttr(op.location));
    if (op.predictedUs != 0)
      attributes.set("predicted_us", builder.getF64FloatAttr(op.predictedUs));
    state.attributes = std::move(attributes);
    builder.create(state);
  }

  template <typename Enum, size_t N> StringAttr spelled(Enum value, const char *const (&names)[N]) {
    return builder.getStringAttr(names[static_cast<size_t>(value)]);
  }
  void flag(Attributes &attributes, StringRef name, bool on) {
    if (on)
      attributes.set(name, builder.getUnitAttr());
  }

  void build(const plan::MatMul &m, const plan::Op &op, Attributes &attributes) {
    attributes.set("einsum", builder.getStringAttr(m.aDims + "," + m.bDims + "->" + m.cDims));
    attributes.set("activation", spelled(m.activation, kActivations));
    create<MatMulOp>(op, attributes);
  }
  void build(const plan::Attention &a, const plan::Op &op, Attributes &attributes) {
    attributes.set("scale", builder.getF32FloatAttr(a.scale));
    flag(attributes, "causal", a.causal);
    if (a.position.kind != plan::RankValue::Kind::Constant || a.position.base != 0)
      attributes.set("position", value(a.position));
    create<AttentionOp>(op, attributes);
  }
  void build(const plan::GatherRows &g, const plan::Op &op, Attributes &attributes) {
    attributes.set("base", value(g.base));
    attributes.set("rows", value(g.rows));
    create<GatherRowsOp>(op, attributes);
  }
  void build(const plan::Take &t, const plan::Op &op, Attributes &attributes) {
    attributes.set("dim", builder.getI32IntegerAttr(t.dim));
    attributes.set("index", builder.getI64IntegerAttr(t.index));
    attributes.set("base", value(t.base));
    attributes.set("rows", value(t.rows));
    create<TakeOp>(op, attributes);
  }
  void build(const plan::Norm &n, const plan::Op &op, Attributes &attributes) {
    attributes.set("kind", spelled(n.kind, kNorms));
    attributes.set("dims", builder.getI32IntegerAttr(n.dims));
    attributes.set("eps", builder.getF32FloatAttr(n.eps));
    flag(attributes, "rounded", n.rounded);
    create<NormOp>(op, attributes);
  }
  void build(const plan::Rope &r, const plan::Op &op, Attributes &attributes) {
    flag(attributes, "interleaved", r.interleaved);
    create<RopeOp>(op, attributes);
  }
  void build(const plan::Elementwise &e, const plan::Op &op, Attributes &attributes) {
    attributes.set("expr", builder.getStringAttr(toString(e.expr)));
    create<ElementwiseOp>(op, attributes);
  }
  void build(const plan::Reduce &r, const plan::Op &op, Attributes &attributes) {
    SmallVector<int64_t> dims;
    for (size_t i = 0; i < r.reduced.size(); ++i)
      if (r.reduced[i])
        dims.push_back(i);
    attributes.set("kind", spelled(r.kind, kReductions));
    attributes.set("dims", builder.getDenseI64ArrayAttr(dims));
    create<ReduceOp>(op, attributes);
  }
  void build(const plan::Softmax &s, const plan::Op &op, Attributes &attributes) {
    attributes.set("dim", builder.getI32IntegerAttr(s.dim));
    create<SoftmaxOp>(op, attributes);
  }
  void build(const plan::Copy &, const plan::Op &op, Attributes &attributes) {
    create<CopyOp>(op, attributes);
  }
  void build(const plan::Fill &f, const plan::Op &op, Attributes &attributes) {
    attributes.set("value", builder.getF64FloatAttr(f.value));
    attributes.set("dim", builder.getI32IntegerAttr(f.dim));
    if (f.dim != -1)
      attributes.set("from", value(f.from));
    create<FillOp>(op, attributes);
  }
  void build(const plan::Record &r, const plan::Op &op, Attributes &attributes) {
    attributes.set("event", builder.getI32IntegerAttr(r.event));
    create<RecordOp>(op, attributes);
  }
  void build(const plan::Wait &w, const plan::Op &op, Attributes &attributes) {
    attributes.set("event", builder.getI32IntegerAttr(w.event));
    create<WaitOp>(op, attributes);
  }
  void build(const plan::Collective &c, const plan::Op &op, Attributes &attributes) {
    attributes.set("axes", names(c.axes));
    attributes.set("reduce", spelled(c.reduce, kReductions));
    if (!c.cause.empty())
      attributes.set("cause", builder.getStringAttr(c.cause));
    switch (c.kind) {
    case plan::CollectiveKind::AllReduce:
      return create<AllReduceOp>(op, attributes);
    case plan::CollectiveKind::AllGather:
      return create<AllGatherOp>(op, attributes);
    case plan::CollectiveKind::ReduceScatter:
      return create<ReduceScatterOp>(op, attributes);
    case plan::CollectiveKind::AllToAll:
      return create<AllToAllOp>(op, attributes);
    case plan::CollectiveKind::Broadcast:
      return create<BroadcastOp>(op, attributes);
    }
  }

  const plan::Plan &plan;
  MLIRContext *context;
  OpBuilder builder;
  std::vector<Value> buffers;
};
} // namespace

void plan::importPlan(const plan::Plan &plan, ModuleOp module) {
  PlanImporter(plan, module.getContext()).module(module);
}

void plan::replaceEntry(EntryOp op, const plan::Entry &entry, const plan::Plan &plan) {
  Block &block = op.getBody().front();
  while (!block.empty())
    block.back().erase();
  PlanImporter(plan, op.getContext()).entry(op, entry);
}
