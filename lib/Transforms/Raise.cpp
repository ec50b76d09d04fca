// SPDX-License-Identifier: Apache-2.0
// tp-raise: from the imported form to the phase `graph`. The steps stand in files of their own
// (RaiseGraph.h).

#include "RaiseGraph.h"
#include "tenon/Transforms/Passes.h"

#include "llvm/Support/MathExtras.h"

namespace tenon {
#define GEN_PASS_DEF_RAISEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::raise;
using namespace tenon::tp;

namespace {

constexpr int64_t kMostElements = int64_t(1) << 48;

/// Raises every function. Returns the keys of tensors that must stay whole, because two uses that
/// cannot be one view share elements: then the module is to be raised again from its imported form,
/// with these keys in `whole`. Fails after an error.
FailureOr<std::set<std::string>> raiseModule(ModuleOp module, const std::set<std::string> &whole) {
  FailureOr<WeightViews> weights = WeightViews::create(module, whole);
  if (failed(weights))
    return failure();
  for (auto function : module.getOps<func::FuncOp>()) {
    dropNoOps(function);
    raiseNorms(function);
    raiseActivations(function);
    raiseRope(function, *weights);
    dropNoOps(function);
    raiseAttention(function, *weights);
    dropNoOps(function);
    raiseHeads(function, *weights);
    raiseTakes(function);
    dropNoOps(function);
  }
  return weights->finish();
}

/// Everything behind this pass takes for granted that values are tensors of known size and of a
/// plan's types.
LogicalResult checkTypes(ModuleOp module) {
  auto check = [](Operation *op, const Twine &what, Type type) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape())
      return op->emitOpError() << what << ": expected a tensor of static shape, found " << type;
    Type element = tensor.getElementType();
    if (!element.isF32() && !element.isBF16() && !element.isF16() && !element.isInteger(1) &&
        !element.isInteger(32) && !element.isInteger(64))
      return op->emitOpError() << what
                               << ": expected elements of f32, bf16, f16, i1, i32 or i64, found "
                               << type;
    int64_t count = 1;
    for (int64_t size : tensor.getShape())
      if (llvm::MulOverflow(count, size, count) || count > kMostElements)
        return op->emitOpError() << what << ": more than 2^48 elements: " << type;
    return success();
  };
  for (auto global : module.getOps<ml_program::GlobalOp>())
    if (failed(check(global, "global", global.getType())))
      return failure();
  WalkResult results = module.walk([&](Operation *op) {
    for (auto [i, value] : llvm::enumerate(op->getResults()))
      if (failed(check(op, "result " + Twine(i), value.getType())))
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  if (results.wasInterrupted())
    return failure();
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return function.emitOpError() << "expected a body of one block";
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
      if (failed(check(function, "argument " + Twine(i), type)))
        return failure();
    for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
      if (failed(check(function, "result " + Twine(i), type)))
        return failure();
  }
  return success();
}

/// Attributes and operands that later phases make would change what the graph means, unseen.
LogicalResult checkPhase(ModuleOp module) {
  for (auto global : module.getOps<ml_program::GlobalOp>())
    for (StringRef name : {kShapeAttr, kPartsAttr})
      if (global->hasAttr(name))
        return global.emitOpError() << name << " belongs to the phase local; drop it";
  WalkResult result = module.walk([](Operation *op) {
    if (op->hasAttr(kPinAttr)) {
      op->emitOpError() << kPinAttr << " is made by tp-raise for itself; drop it";
      return WalkResult::interrupt();
    }
    auto matmul = dyn_cast<MatMulOp>(op);
    if (matmul && (matmul.getBias() || matmul.getResidual() ||
                   matmul.getActivation() != ActivationKind::None)) {
      op->emitOpError() << "bias, residual and activation belong to the phase optimized; write "
                           "tp.binary and tp.unary, which tp-fuse joins to the matmul";
      return WalkResult::interrupt();
    }
    DictionaryAttr properties = dyn_cast_if_present<DictionaryAttr>(op->getPropertiesAsAttribute());
    for (NamedAttribute attribute : properties ? properties.getValue() : ArrayRef<NamedAttribute>())
      if (isa<RankValueAttr>(attribute.getValue())) {
        op->emitOpError() << attribute.getName()
                          << " depends on the rank and belongs to the phase local; drop it";
        return WalkResult::interrupt();
      }
    return WalkResult::advance();
  });
  return success(!result.wasInterrupted());
}

/// Ops and globals that a user has pinned, by number. Raising may replace an op by another or
/// compute it in another form, where the pin would mean something else: that is an error, not a
/// lost pin.
class Pins {
public:
  explicit Pins(ModuleOp module) {
    module.walk([&](Operation *op) {
      if (!op->hasAttr(kShardingAttr) && !op->hasAttr(kStrategyAttr))
        return;
      op->setAttr(kPinAttr, Builder(op->getContext()).getI64IntegerAttr(int64_t(pins.size())));
      pins.push_back({op->getLoc(), op->getName(), typesOf(op)});
    });
  }

  /// Takes the numbers off again; fails at the first pin that is not where it was.
  LogicalResult check(ModuleOp module) {
    std::vector<int> found(pins.size(), 0);
    module.walk([&](Operation *op) {
      auto number = op->getAttrOfType<IntegerAttr>(kPinAttr);
      if (!number)
        return;
      const Pin &pin = pins[size_t(number.getInt())];
      found[size_t(number.getInt())] +=
          op->getName() == pin.name && typesOf(op) == pin.types ? 1 : 2;
      op->removeAttr(kPinAttr);
    });
    for (auto [pin, count] : llvm::zip_equal(pins, found))
      if (count != 1)
        return emitError(pin.loc)
               << "'" << pin.name
               << "' is pinned, but tp-raise has given it another form; pin it in the form that "
                  "--tp-compile=\"to=graph\" prints without the pin";
    return success();
  }

private:
  struct Pin {
    Location loc;
    OperationName name;
    SmallVector<Type> types;
  };
  static SmallVector<Type> typesOf(Operation *op) {
    if (auto global = dyn_cast<ml_program::GlobalOp>(op))
      return {global.getType()};
    SmallVector<Type> types(op->getOperandTypes());
    llvm::append_range(types, op->getResultTypes());
    return types;
  }

  std::vector<Pin> pins;
};

struct Raise : tenon::impl::RaisePassBase<Raise> {
  void runOnOperation() override {
    if (failed(checkTypes(getOperation())) || failed(checkPhase(getOperation())))
      return signalPassFailure();
    Pins pins(getOperation());
    OwningOpRef<ModuleOp> imported(getOperation().clone());
    std::set<std::string> whole;
    while (true) {
      FailureOr<std::set<std::string>> conflicts = raiseModule(getOperation(), whole);
      if (failed(conflicts))
        return signalPassFailure();
      if (conflicts->empty()) {
        if (failed(pins.check(getOperation())))
          signalPassFailure();
        return;
      }
      whole.insert(conflicts->begin(), conflicts->end());
      OwningOpRef<ModuleOp> again(imported->clone());
      getOperation().getBodyRegion().takeBody(again->getBodyRegion());
    }
  }
};

} // namespace
