// SPDX-License-Identifier: Apache-2.0
// PlanTranslation: from the plan dialect to the runtime's structs and back, fact by fact. Both
// directions are exact: importPlan(exportPlan(m)) prints the same text, if the entry's ops stand in
// the order that plan.entry C1 demands. Passes of this dialect work on the structs and import the
// result.
#pragma once

#include "tenon/Dialect/Plan/IR/PlanDialect.h"

namespace tenon::plan {

/// Returns the plan that a module of the plan dialect describes. Fails, after an error at the op,
/// on what the dialect verifiers cannot see: no mesh, an axis that it does not have, an op of
/// another dialect.
mlir::FailureOr<plan::Plan> exportPlan(mlir::ModuleOp module);

/// Fills an empty module with the plan's ops and attributes. Needs structs whose indices are in
/// range.
void importPlan(const plan::Plan &plan, mlir::ModuleOp module);

/// Replaces the body and attributes of one entry by those of `entry`.
void replaceEntry(EntryOp op, const plan::Entry &entry, const plan::Plan &plan);

/// Returns one instruction as a struct whose buffers are the numbers of its operands and whose axes
/// are numbered as they appear: enough to check the op by itself. Fails after an error at the op.
mlir::FailureOr<plan::Op> exportInstruction(mlir::Operation *op);

} // namespace tenon::plan
