// SPDX-License-Identifier: Apache-2.0
// Expression: a postfix program checked once, and the ways to read it: which functor computes it,
// and its text in C. "$0 silu $1 mul" is the functor SiluTimes and "binary(Mul, unary(Silu, x[0]),
// x[1])".
#pragma once

#include "ElementwiseKernel.h"

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <string>
#include <vector>

namespace tenon::runtime::cuda {

/// Checks stack, inputs and operators; an integer program has integer operators only. Fails with
/// Code::Plan.
Status checkExpression(const plan::Elementwise &op, bool integer);

/// "mul(silu($0),$1)": equal for equal programs whatever their constants, which appear as "#".
std::string shapeOfExpression(const std::vector<plan::ExprTerm> &expr);

/// An expression in C over x[0], x[1], ..; constants by their bits.
std::string textOfExpression(const std::vector<plan::ExprTerm> &expr);

/// Values that operators pop: 0 for inputs and constants.
int arity(plan::ExprOp op);

} // namespace tenon::runtime::cuda
