// SPDX-License-Identifier: Apache-2.0
// The tp dialect: graph ops, collectives, and the attributes that record shardings and strategies.
#pragma once

#include "tenon/Sharding/FactorSharding.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "tenon/Dialect/TP/IR/TPDialect.h.inc"
#include "tenon/Dialect/TP/IR/TPEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "tenon/Dialect/TP/IR/TPAttributes.h.inc"

namespace tenon::tp::detail {
/// Clones an op onto local operands and types, without its strategy and pins.
mlir::Operation *cloneLocal(mlir::Operation *op, mlir::OpBuilder &builder,
                            mlir::ValueRange operands, mlir::TypeRange resultTypes);
} // namespace tenon::tp::detail

#include "tenon/Dialect/TP/IR/TPInterfaces.h.inc"

#define GET_OP_CLASSES
#include "tenon/Dialect/TP/IR/TPOps.h.inc"

namespace tenon::tp {

/// Names of the discardable attributes that the phases use; documented in TPDialect.td.
inline constexpr llvm::StringLiteral kKeyAttr = "tp.key", kViewAttr = "tp.view",
                                     kStoredAttr = "tp.stored", kShardingAttr = "tp.sharding",
                                     kStrategyAttr = "tp.strategy", kNameAttr = "tp.name",
                                     kRangeAttr = "tp.range", kMaskRowsAttr = "tp.mask_rows",
                                     kModelAttr = "tp.model", kShapeAttr = "tp.shape",
                                     kPartsAttr = "tp.parts", kPredictedAttr = "tp.predicted_us",
                                     kCauseAttr = "tp.cause", kCertificateAttr = "tp.certificate",
                                     kChoicesAttr = "tp.choices", kMachineAttr = "tp.machine",
                                     kEqualHalvesAttr = "tp.equal_halves",
                                     kLayerPlanAttr = "tp.layer_plan", kPinAttr = "tp.pin";

/// Returns the module's mesh op, or null.
MeshOp findMesh(mlir::ModuleOp module);
/// The mesh as plain values.
sharding::Mesh toMesh(MeshOp op);

/// Axis names <-> indices. The second fails, with an error listing the valid names, on an unknown
/// axis.
mlir::ArrayAttr toAttr(mlir::MLIRContext *context, const sharding::AxisList &axes,
                       const sharding::Mesh &mesh);
mlir::FailureOr<sharding::AxisList> toAxes(mlir::ArrayAttr names, const sharding::Mesh &mesh,
                                           llvm::function_ref<mlir::InFlightDiagnostic()> error);

/// Shardings <-> attributes.
ShardingAttr toAttr(mlir::MLIRContext *context, const sharding::Sharding &value,
                    const sharding::Mesh &mesh);
mlir::FailureOr<sharding::Sharding>
toSharding(ShardingAttr attr, int64_t rank, const sharding::Mesh &mesh,
           llvm::function_ref<mlir::InFlightDiagnostic()> error);

/// Strategies <-> attributes, by the names of the rule's factors.
StrategyAttr toAttr(mlir::MLIRContext *context, const sharding::Strategy &strategy,
                    const sharding::Rule &rule, const sharding::Mesh &mesh);
mlir::FailureOr<sharding::Strategy>
toStrategy(StrategyAttr attr, const sharding::Rule &rule, const sharding::Mesh &mesh,
           llvm::function_ref<mlir::InFlightDiagnostic()> error);

/// The rank-dependent start or owned length of n elements over axes.
RankValueAttr rankValue(mlir::MLIRContext *context, bool length, int64_t n,
                        const sharding::AxisList &axes, const sharding::Mesh &mesh);

/// Local type of a value of this global type.
mlir::RankedTensorType localType(mlir::RankedTensorType global, const sharding::Sharding &sharding,
                                 const sharding::Mesh &mesh);

/// The three terms of a matmul's einsum.
struct Einsum {
  std::string lhs, rhs, result;
};
/// Parses "ab,bc->ac"; fails when it is malformed.
mlir::FailureOr<Einsum> parseEinsum(llvm::StringRef text);

/// Numpy broadcast of shapes; fails when they do not.
mlir::FailureOr<llvm::SmallVector<int64_t>>
broadcastShapes(llvm::ArrayRef<llvm::ArrayRef<int64_t>> shapes);

} // namespace tenon::tp
