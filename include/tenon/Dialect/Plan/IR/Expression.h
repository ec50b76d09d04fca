// SPDX-License-Identifier: Apache-2.0
// The text of elementwise expressions: postfix terms separated by blanks. "$0 silu $1 mul" is
// silu(x0) * x1; a number is a constant. The operators are spelled like those of the tp dialect.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include "mlir/Support/LLVM.h"

namespace tenon::plan {

/// Largest number of operators (terms that are neither inputs nor constants) of one expression.
inline constexpr int64_t kMaxOperators = 16;

/// Returns the name of an operator, e.g. "gelu_tanh". Input and Constant have none.
llvm::StringRef spell(plan::ExprOp op);
/// Returns how many values an operator pops: 0 for Input and Constant, 3 for Select.
int arity(plan::ExprOp op);
/// Number of terms that are neither inputs nor constants.
int64_t countOperators(llvm::ArrayRef<plan::ExprTerm> terms);

/// Returns the terms of a text; fails, with the reason in `error`, when a term is unknown, the
/// stack runs empty, or not exactly one value is left. Does not limit the number of operators.
mlir::FailureOr<std::vector<plan::ExprTerm>> parseExpression(llvm::StringRef text,
                                                             std::string &error);
/// The inverse of parseExpression.
std::string toString(llvm::ArrayRef<plan::ExprTerm> terms);

} // namespace tenon::plan
