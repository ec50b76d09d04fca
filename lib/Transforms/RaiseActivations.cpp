// SPDX-License-Identifier: Apache-2.0
// Activations spelled out: 0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))) -> gelu_tanh, x
// * sigmoid(x) -> silu.

#include "RaiseGraph.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

namespace {

BinaryOp binary(Value value) { return value ? value.getDefiningOp<BinaryOp>() : BinaryOp(); }
auto isConstant(double expected) {
  return [expected](Value value) { return isSplat(value, expected); };
}
auto is(Value wanted) {
  return [wanted](Value value) { return value == wanted; };
}

/// True for x^3 as a power or as products.
bool isCube(Value value, Value x) {
  BinaryOp op = binary(value);
  if (!op)
    return false;
  if (op.getKind() == BinaryKind::Pow)
    return op.getLhs() == x && isSplat(op.getRhs(), 3);
  BinaryOp square = binary(otherOperand(op, BinaryKind::Mul, is(x)));
  if (!square)
    return false;
  return (square.getKind() == BinaryKind::Mul && square.getLhs() == x && square.getRhs() == x) ||
         (square.getKind() == BinaryKind::Pow && square.getLhs() == x &&
          isSplat(square.getRhs(), 2));
}

/// True for 0.044715 * x^3, whichever product is taken first.
bool isCubicTerm(Value value, Value x) {
  if (Value cube = otherOperand(binary(value), BinaryKind::Mul, isConstant(0.044715)))
    return isCube(cube, x);
  // (0.044715 * x * x) * x
  BinaryOp square = binary(otherOperand(binary(value), BinaryKind::Mul, is(x)));
  BinaryOp line = binary(otherOperand(square, BinaryKind::Mul, is(x)));
  return line && otherOperand(line, BinaryKind::Mul, isConstant(0.044715)) == x;
}

/// Matches the argument of tanh; returns x.
Value matchArgument(Value argument) {
  BinaryOp sum =
      binary(otherOperand(binary(argument), BinaryKind::Mul, isConstant(std::sqrt(2 / M_PI))));
  if (!sum || sum.getKind() != BinaryKind::Add)
    return {};
  if (isCubicTerm(sum.getRhs(), sum.getLhs()))
    return sum.getLhs();
  return isCubicTerm(sum.getLhs(), sum.getRhs()) ? sum.getRhs() : Value();
}

void replaceBy(Operation *op, UnaryKind kind, Value x) {
  if (op->getResult(0).getType() != x.getType())
    return; // A constant of the pattern makes the result larger than x.
  OpBuilder builder(op);
  op->getResult(0).replaceAllUsesWith(UnaryOp::create(builder, op->getLoc(), x.getType(), kind, x));
}

void raiseGelu(UnaryOp tanh) {
  Value x = matchArgument(tanh.getInput());
  if (!x)
    return;
  for (Operation *plusOne : llvm::make_early_inc_range(tanh->getUsers())) {
    if (otherOperand(dyn_cast<BinaryOp>(plusOne), BinaryKind::Add, isConstant(1)) !=
        tanh.getResult())
      continue;
    Value gate = plusOne->getResult(0);
    for (Operation *user : llvm::make_early_inc_range(plusOne->getUsers())) {
      // (0.5 * x) * gate
      Value other = otherOperand(dyn_cast<BinaryOp>(user), BinaryKind::Mul, is(gate));
      if (other && otherOperand(binary(other), BinaryKind::Mul, isConstant(0.5)) == x) {
        replaceBy(user, UnaryKind::GeluTanh, x);
        continue;
      }
      // 0.5 * (x * gate) and x * (0.5 * gate)
      for (Operation *last : llvm::make_early_inc_range(user->getUsers())) {
        auto product = dyn_cast<BinaryOp>(last);
        bool halfLast = other == x && otherOperand(product, BinaryKind::Mul, isConstant(0.5)) ==
                                          user->getResult(0);
        bool halfFirst = other && isSplat(other, 0.5) &&
                         otherOperand(product, BinaryKind::Mul, is(x)) == user->getResult(0);
        if (halfLast || halfFirst)
          replaceBy(last, UnaryKind::GeluTanh, x);
      }
    }
  }
}

} // namespace

void raise::raiseActivations(func::FuncOp function) {
  SmallVector<UnaryOp> roots(function.getOps<UnaryOp>());
  for (UnaryOp op : roots) {
    if (op.getKind() == UnaryKind::Tanh)
      raiseGelu(op);
    if (op.getKind() == UnaryKind::Sigmoid)
      for (Operation *user : llvm::make_early_inc_range(op->getUsers()))
        if (otherOperand(dyn_cast<BinaryOp>(user), BinaryKind::Mul, is(op.getResult())) ==
            op.getInput())
          replaceBy(user, UnaryKind::Silu, op.getInput());
  }
  eraseDead(function);
}
