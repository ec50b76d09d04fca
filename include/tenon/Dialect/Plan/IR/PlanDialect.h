// SPDX-License-Identifier: Apache-2.0
// The plan dialect: the text of a plan, one op per instruction of the runtime.
//
// The structs of the runtime's plan library are the meaning of these ops; PlanTranslation.h goes
// from one to the other. Both live in tenon::plan.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"

#include "tenon/Dialect/Plan/IR/PlanDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "tenon/Dialect/Plan/IR/PlanTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "tenon/Dialect/Plan/IR/PlanAttributes.h.inc"

#define GET_OP_CLASSES
#include "tenon/Dialect/Plan/IR/PlanOps.h.inc"

namespace tenon::plan {

/// Names of the module attributes; documented in PlanDialect.td.
inline constexpr llvm::StringLiteral kProducerAttr = "plan.producer", kModelAttr = "plan.model",
                                     kMachineAttr = "plan.machine",
                                     kCertificateAttr = "plan.certificate",
                                     kChoicesAttr = "plan.choices",
                                     kPackBudgetAttr = "plan.pack_budget",
                                     kUnshardedAttr = "plan.weights_bytes_unsharded";

/// The element type of the runtime and its MLIR type. The first fails on a type that plans do not
/// have.
mlir::FailureOr<plan::DataType> toDataType(mlir::Type type);
mlir::Type toType(mlir::MLIRContext *context, plan::DataType type);

/// A region's text: `[4, 2x3xf32 by 8x1]`. Strides are left out when the region is contiguous.
void printRegion(mlir::OpAsmPrinter &printer, SliceAttr slice, BufferType type);
mlir::ParseResult parseRegion(mlir::OpAsmParser &parser, SliceAttr &slice, BufferType &type);

/// Row-major strides: [2, 3, 4] gives [12, 4, 1].
std::vector<int64_t> contiguousStrides(llvm::ArrayRef<int64_t> sizes);

} // namespace tenon::plan
