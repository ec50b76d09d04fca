// SPDX-License-Identifier: Apache-2.0
#include "Expression.h"

#include "tenon/runtime/plan/Limits.h"

#include <bit>
#include <cstdio>

namespace tenon::runtime::cuda {
namespace {

using plan::ExprOp;

/// The operators' names, as ExprCode spells them.
const char *nameOf(ExprOp op) {
  static constexpr const char *names[] = {
      "Input",    "Constant", "Neg",  "Exp",   "Log", "Tanh", "Sigmoid", "Relu", "Gelu",
      "GeluTanh", "Silu",     "Sqrt", "Rsqrt", "Sin", "Cos",  "Abs",     "Erf",  "Not",
      "Add",      "Sub",      "Mul",  "Div",   "Pow", "Max",  "Min",     "Eq",   "Ne",
      "Lt",       "Le",       "Gt",   "Ge",    "And", "Or",   "Select"};
  return names[size_t(op)];
}

bool isIntegerOp(ExprOp op) {
  switch (op) {
  case ExprOp::Input:
  case ExprOp::Constant:
  case ExprOp::Neg:
  case ExprOp::Abs:
  case ExprOp::Add:
  case ExprOp::Sub:
  case ExprOp::Mul:
  case ExprOp::Max:
  case ExprOp::Min:
  case ExprOp::Eq:
  case ExprOp::Ne:
  case ExprOp::Lt:
  case ExprOp::Le:
  case ExprOp::Gt:
  case ExprOp::Ge:
  case ExprOp::Select:
    return true;
  default:
    return false;
  }
}

/// Folds a checked program: `leaf(term)` and `node(op, arguments)` make texts.
template <typename Leaf, typename Node>
std::string fold(const std::vector<plan::ExprTerm> &expr, Leaf leaf, Node node) {
  std::vector<std::string> stack;
  for (const plan::ExprTerm &term : expr) {
    const size_t pops = size_t(arity(term.op));
    if (pops == 0) {
      stack.push_back(leaf(term));
      continue;
    }
    std::vector<std::string> arguments(stack.end() - long(pops), stack.end());
    stack.resize(stack.size() - pops);
    stack.push_back(node(term.op, arguments));
  }
  return stack.back();
}

} // namespace

int arity(ExprOp op) {
  if (op == ExprOp::Input || op == ExprOp::Constant)
    return 0;
  if (op == ExprOp::Select)
    return 3;
  return op < ExprOp::Add ? 1 : 2;
}

Status checkExpression(const plan::Elementwise &op, bool integer) {
  int depth = 0;
  size_t operators = 0;
  for (const plan::ExprTerm &term : op.expr) {
    if (term.op > ExprOp::Select)
      return Status(Code::Plan, "unknown operator " + std::to_string(int(term.op)));
    if (term.op == ExprOp::Input && (term.input < 0 || size_t(term.input) >= op.inputs.size()))
      return Status(Code::Plan, "expression reads input " + std::to_string(term.input) + " of " +
                                    std::to_string(op.inputs.size()));
    if (integer && !isIntegerOp(term.op))
      return Status(Code::Plan,
                    "operator " + std::to_string(int(term.op)) + " is not defined on integers");
    const int pops = arity(term.op);
    operators += pops > 0;
    if (depth < pops)
      return Status(Code::Plan, "expression pops an empty stack");
    depth += 1 - pops;
  }
  if (depth != 1)
    return Status(Code::Plan, "expression leaves " + std::to_string(depth) + " values, expected 1");
  if (operators > plan::limits::exprOperators || op.expr.size() > plan::limits::exprTerms)
    return Status(Code::Plan, "expression has " + std::to_string(operators) +
                                  " operators, expected at most " +
                                  std::to_string(plan::limits::exprOperators));
  return Status();
}

std::string shapeOfExpression(const std::vector<plan::ExprTerm> &expr) {
  return fold(
      expr,
      [](const plan::ExprTerm &term) {
        return term.op == ExprOp::Input ? "$" + std::to_string(term.input) : std::string("#");
      },
      [](ExprOp op, const std::vector<std::string> &arguments) {
        std::string text = std::string(nameOf(op)) + "(";
        for (size_t i = 0; i < arguments.size(); ++i)
          text += (i ? "," : "") + arguments[i];
        return text + ")";
      });
}

std::string textOfExpression(const std::vector<plan::ExprTerm> &expr) {
  return fold(
      expr,
      [](const plan::ExprTerm &term) {
        if (term.op == ExprOp::Input)
          return "x[" + std::to_string(term.input) + "]";
        char text[48];
        std::snprintf(text, sizeof(text), "__uint_as_float(0x%08xu)",
                      std::bit_cast<uint32_t>(float(term.value)));
        return std::string(text);
      },
      [](ExprOp op, const std::vector<std::string> &arguments) {
        const std::string code = std::string("ExprCode::") + nameOf(op);
        if (arguments.size() == 1)
          return "unary(" + code + ", " + arguments[0] + ")";
        if (arguments.size() == 2)
          return "binary(" + code + ", " + arguments[0] + ", " + arguments[1] + ")";
        return "(" + arguments[0] + " != 0 ? " + arguments[1] + " : " + arguments[2] + ")";
      });
}

} // namespace tenon::runtime::cuda
