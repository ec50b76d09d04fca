// SPDX-License-Identifier: Apache-2.0
// OpPrice: the predicted time of one op on operands and results of given (local) types. Both the
// solver's problem and the prices in a plan come from here.
#pragma once

#include "tenon/Cost/CostModel.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"

namespace tenon {

/// Bytes per element; i1 takes one.
int64_t elementBytes(mlir::Type type);

/// True for ops that become views of their operand, or constants of the plan: they take no time.
bool isFree(mlir::Operation *op);

/// Seconds of an op that is not a collective. The types are those of its operands and results on
/// one rank.
double opSeconds(mlir::Operation *op, llvm::ArrayRef<mlir::RankedTensorType> operands,
                 llvm::ArrayRef<mlir::RankedTensorType> results, const cost::CostModel &model);

} // namespace tenon
