// SPDX-License-Identifier: Apache-2.0
// tp-fuse: what saves a pass over memory. First matmul epilogues (bias, activation, residual), then
// chains of elementwise ops of one shape into one expression. A value with several users is never
// recomputed.

#include "tenon/Transforms/Passes.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace tenon {
#define GEN_PASS_DEF_FUSEPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {

//===----------------------------------------------------------------------===//
// Matmul epilogues: act(sum + bias) + residual
//===----------------------------------------------------------------------===//

std::optional<ActivationKind> activationOf(UnaryKind kind) {
  switch (kind) {
  case UnaryKind::Gelu:
    return ActivationKind::Gelu;
  case UnaryKind::GeluTanh:
    return ActivationKind::GeluTanh;
  case UnaryKind::Silu:
    return ActivationKind::Silu;
  case UnaryKind::Relu:
    return ActivationKind::Relu;
  case UnaryKind::Tanh:
    return ActivationKind::Tanh;
  default:
    return std::nullopt;
  }
}

/// The matmul that makes this value for this user alone, at the user's type.
MatMulOp soleMatMul(Value value, Type type) {
  auto matmul = value.getDefiningOp<MatMulOp>();
  return matmul && value.hasOneUse() && value.getType() == type ? matmul : MatMulOp();
}

/// Rebuilds the matmul where its user stands, with the user folded in.
void rebuild(MatMulOp matmul, Operation *user, Value bias, Value residual,
             ActivationKind activation) {
  OpBuilder builder(user);
  auto fused = MatMulOp::create(builder, matmul.getLoc(), matmul.getType(), matmul.getEinsumAttr(),
                                matmul.getLhs(), matmul.getRhs(), bias, residual,
                                ActivationKindAttr::get(user->getContext(), activation));
  user->getResult(0).replaceAllUsesWith(fused.getResult());
  user->erase();
  matmul.erase();
}

bool foldIntoMatMul(Operation *op) {
  if (auto unary = dyn_cast<UnaryOp>(op)) {
    std::optional<ActivationKind> activation = activationOf(unary.getKind());
    MatMulOp matmul = soleMatMul(unary.getInput(), unary.getType());
    if (!activation || !matmul || matmul.getResidual() ||
        matmul.getActivation() != ActivationKind::None)
      return false;
    rebuild(matmul, op, matmul.getBias(), {}, *activation);
    return true;
  }
  auto add = dyn_cast<BinaryOp>(op);
  if (!add || add.getKind() != BinaryKind::Add)
    return false;
  for (auto [value, other] :
       {std::pair<Value, Value>{add.getLhs(), add.getRhs()}, {add.getRhs(), add.getLhs()}}) {
    MatMulOp matmul = soleMatMul(value, add.getType());
    if (!matmul || matmul.getResidual() || other.getDefiningOp<ConstantOp>())
      continue;
    bool isBias = typeOf(other).getNumElements() < typeOf(value).getNumElements();
    if (isBias && !matmul.getBias() && matmul.getActivation() == ActivationKind::None)
      rebuild(matmul, op, other, {}, ActivationKind::None);
    else
      rebuild(matmul, op, matmul.getBias(), other, matmul.getActivation());
    return true;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Elementwise expressions
//===----------------------------------------------------------------------===//

constexpr int kMaxOperators = 16;

bool isFloatOrBool(Type type) { return isa<FloatType>(type) || type.isInteger(1); }

bool isPointwise(Operation *op) {
  return op && isa<UnaryOp, BinaryOp, CompareOp, SelectOp>(op) &&
         llvm::all_of(op->getOperands(),
                      [](Value v) { return isFloatOrBool(typeOf(v).getElementType()); });
}

std::string operatorName(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case<UnaryOp>([](UnaryOp unary) { return stringifyUnaryKind(unary.getKind()).str(); })
      .Case<BinaryOp>([](BinaryOp binary) { return stringifyBinaryKind(binary.getKind()).str(); })
      .Case<CompareOp>(
          [](CompareOp compare) { return stringifyCompareKind(compare.getKind()).str(); })
      .Default([](Operation *) { return std::string("select"); });
}

struct Expression {
  std::string text;
  llvm::SetVector<Value> inputs;
  SmallVector<Operation *> absorbed; ///< Root first.
  int operators = 0;
};

/// Digits that read back as the same number.
std::string exactText(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", number);
  return text;
}

/// Appends the postfix form of a value. `root` is the op whose result the expression becomes.
void append(Value value, Operation *root, Expression &expression) {
  auto emit = [&](const std::string &term) {
    expression.text += (expression.text.empty() ? "" : " ") + term;
  };
  DenseElementsAttr constant;
  if (auto op = value.getDefiningOp<ConstantOp>())
    constant = dyn_cast<DenseElementsAttr>(op.getValue());
  if (constant && constant.isSplat() && isa<FloatType>(constant.getElementType())) {
    double number = constant.getSplatValue<APFloat>().convertToDouble();
    if (std::isfinite(number))
      return emit(exactText(number));
  }
  Operation *op = value.getDefiningOp();
  bool absorbs =
      op == root || (isPointwise(op) && value.hasOneUse() &&
                     typeOf(value).getShape() == typeOf(root->getResult(0)).getShape() &&
                     op->getBlock() == root->getBlock() && expression.operators < kMaxOperators);
  if (!absorbs) {
    expression.inputs.insert(value);
    return emit("$" + std::to_string(std::distance(expression.inputs.begin(),
                                                   llvm::find(expression.inputs, value))));
  }
  ++expression.operators;
  expression.absorbed.push_back(op);
  for (Value operand : op->getOperands())
    append(operand, root, expression);
  emit(operatorName(op));
}

bool fuseExpression(Operation *root) {
  if (!isPointwise(root))
    return false;
  Expression expression;
  append(root->getResult(0), root, expression);
  if (expression.absorbed.size() < 2 || expression.operators > kMaxOperators ||
      expression.inputs.empty())
    return false;
  // A constant that gives the result its shape is not an operand any more.
  SmallVector<ArrayRef<int64_t>> shapes;
  for (Value input : expression.inputs)
    shapes.push_back(typeOf(input).getShape());
  if (auto shape = broadcastShapes(shapes);
      failed(shape) || ArrayRef<int64_t>(*shape) != typeOf(root->getResult(0)).getShape())
    return false;
  OpBuilder builder(root);
  auto fused = ElementwiseOp::create(builder, root->getLoc(), root->getResult(0).getType(),
                                     expression.text, expression.inputs.getArrayRef());
  root->getResult(0).replaceAllUsesWith(fused.getResult());
  for (Operation *op : expression.absorbed)
    op->erase();
  return true;
}

struct Fuse : tenon::impl::FusePassBase<Fuse> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Block &block = function.getBody().front();
      for (Operation &op : llvm::make_early_inc_range(block))
        foldIntoMatMul(&op);
      // Roots last: an expression takes in everything before it.
      for (Operation *op = &block.back(); op;) {
        Operation *before = op->getPrevNode();
        if (isPointwise(op)) {
          // Absorbed ops lie before the root; find the next candidate after they are gone.
          Operation *after = op->getNextNode();
          if (fuseExpression(op)) {
            op = after->getPrevNode()->getPrevNode();
            continue;
          }
        }
        op = before;
      }
    }
  }
};

} // namespace
