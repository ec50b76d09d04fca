// SPDX-License-Identifier: Apache-2.0
// PlanEmitter: the border between the compiler and plan files. Out: plan dialect -> structs -> the
// runtime's verifier, for every rank -> file. In: file -> structs -> plan dialect. Neither
// direction decides anything about the plan.
#pragma once

#include "tenon/Dialect/Plan/IR/PlanDialect.h"

#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/Pass.h"

namespace tenon {

#define GEN_PASS_DECL
#include "tenon/Target/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tenon/Target/Passes.h.inc"

/// Returns the plan of a module in the plan dialect, accepted by the runtime's verifier for every
/// rank. Fails after an error at the module.
mlir::FailureOr<plan::Plan> verifiedPlan(mlir::ModuleOp module);

/// Verifies and writes a plan file. On failure the file is as it was before.
mlir::LogicalResult emitPlan(mlir::ModuleOp module, llvm::StringRef path);

/// The plan in the bytes of a plan file; `name` is the file's, for messages. Fails, after an error
/// at the file, when the runtime's reader or verifier refuses it.
mlir::FailureOr<plan::Plan> readPlanFile(llvm::StringRef bytes, llvm::StringRef name,
                                         mlir::MLIRContext *context);

/// The same as a module; null on failure.
mlir::OwningOpRef<mlir::ModuleOp> importPlanFile(llvm::StringRef bytes, llvm::StringRef name,
                                                 mlir::MLIRContext *context);

/// The pass plan-emit with its option set.
std::unique_ptr<mlir::Pass> createPlanEmitPass(std::string path);

} // namespace tenon
