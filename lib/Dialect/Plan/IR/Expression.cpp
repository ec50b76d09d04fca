// SPDX-License-Identifier: Apache-2.0
// Expression: parses and prints the postfix text of elementwise expressions.

#include "tenon/Dialect/Plan/IR/Expression.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

using namespace mlir;
using namespace tenon;
using namespace tenon::plan;
using plan::ExprOp;
using plan::ExprTerm;

namespace {
struct Spelling {
  ExprOp op;
  const char *text;
  int arity;
};
constexpr Spelling kSpellings[] = {
    {ExprOp::Input, "", 0},          {ExprOp::Constant, "", 0},
    {ExprOp::Neg, "neg", 1},         {ExprOp::Exp, "exp", 1},
    {ExprOp::Log, "log", 1},         {ExprOp::Tanh, "tanh", 1},
    {ExprOp::Sigmoid, "sigmoid", 1}, {ExprOp::Relu, "relu", 1},
    {ExprOp::Gelu, "gelu", 1},       {ExprOp::GeluTanh, "gelu_tanh", 1},
    {ExprOp::Silu, "silu", 1},       {ExprOp::Sqrt, "sqrt", 1},
    {ExprOp::Rsqrt, "rsqrt", 1},     {ExprOp::Sin, "sin", 1},
    {ExprOp::Cos, "cos", 1},         {ExprOp::Abs, "abs", 1},
    {ExprOp::Erf, "erf", 1},         {ExprOp::Not, "not", 1},
    {ExprOp::Add, "add", 2},         {ExprOp::Sub, "sub", 2},
    {ExprOp::Mul, "mul", 2},         {ExprOp::Div, "div", 2},
    {ExprOp::Pow, "pow", 2},         {ExprOp::Max, "max", 2},
    {ExprOp::Min, "min", 2},         {ExprOp::Eq, "eq", 2},
    {ExprOp::Ne, "ne", 2},           {ExprOp::Lt, "lt", 2},
    {ExprOp::Le, "le", 2},           {ExprOp::Gt, "gt", 2},
    {ExprOp::Ge, "ge", 2},           {ExprOp::And, "and", 2},
    {ExprOp::Or, "or", 2},           {ExprOp::Select, "select", 3},
};

const Spelling &spelling(ExprOp op) {
  const Spelling &found = kSpellings[static_cast<size_t>(op)];
  assert(found.op == op && "the table lists the operators in the order of the enum");
  return found;
}
} // namespace

StringRef plan::spell(ExprOp op) { return spelling(op).text; }

int plan::arity(ExprOp op) { return spelling(op).arity; }

int64_t plan::countOperators(ArrayRef<ExprTerm> terms) {
  return llvm::count_if(terms, [](const ExprTerm &term) { return arity(term.op) > 0; });
}

FailureOr<std::vector<ExprTerm>> plan::parseExpression(StringRef text, std::string &error) {
  std::vector<ExprTerm> terms;
  int64_t depth = 0;
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    ExprTerm term;
    if (word.starts_with("$")) {
      if (word.drop_front().getAsInteger(10, term.input) || term.input < 0) {
        error = ("expected a number behind '$', found '" + word + "'").str();
        return failure();
      }
    } else if (const Spelling *found = llvm::find_if(
                   kSpellings, [&](const Spelling &s) { return s.arity > 0 && word == s.text; });
               found != std::end(kSpellings)) {
      term.op = found->op;
    } else if (!word.getAsDouble(term.value)) {
      term.op = ExprOp::Constant;
    } else {
      error = ("unknown term '" + word + "'").str();
      return failure();
    }
    depth -= arity(term.op);
    if (depth < 0) {
      error = ("'" + word + "' finds too few values").str();
      return failure();
    }
    ++depth;
    terms.push_back(term);
  }
  if (depth != 1) {
    error = ("expected one value at the end, found " + Twine(depth)).str();
    return failure();
  }
  return terms;
}

/// The shortest decimal that reads back as the same double.
static std::string shortest(double value) {
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  if (std::isnan(value))
    return "nan";
  char text[40];
  for (int digits = 1; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value)
      break;
  }
  return text;
}

std::string plan::toString(ArrayRef<ExprTerm> terms) {
  return llvm::join(llvm::map_range(terms,
                                    [](const ExprTerm &term) -> std::string {
                                      if (term.op == ExprOp::Input)
                                        return "$" + std::to_string(term.input);
                                      if (term.op == ExprOp::Constant)
                                        return shortest(term.value);
                                      return spell(term.op).str();
                                    }),
                    " ");
}
