// SPDX-License-Identifier: Apache-2.0
// ValueShardings: what sharding each value has and each operand demands, derived from the
// strategies on ops, the shardings on globals and entries, and the steps of reshards and
// collectives. Nothing is stored twice: the passes after assignment all ask here.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "llvm/ADT/DenseMap.h"

namespace tenon {

class ValueShardings {
public:
  /// Fails after an error when the module has no mesh.
  static mlir::FailureOr<ValueShardings> create(mlir::ModuleOp module);

  const sharding::Mesh &mesh() const { return theMesh; }

  /// The sharding a value has; fails after an error at its definition.
  mlir::FailureOr<sharding::Sharding> of(mlir::Value value);
  /// The sharding that the user of this operand demands: by its strategy, or by the entry's result.
  mlir::FailureOr<sharding::Sharding> demand(mlir::OpOperand &operand);
  /// Rule and strategy of an op; fails after an error when it has none.
  mlir::FailureOr<std::pair<sharding::Rule, sharding::Strategy>> strategyOf(mlir::Operation *op);

private:
  ValueShardings(mlir::ModuleOp module, sharding::Mesh mesh)
      : symbols(module), theMesh(std::move(mesh)) {}
  mlir::SymbolTable symbols;
  sharding::Mesh theMesh;
  llvm::DenseMap<mlir::Operation *, std::pair<sharding::Rule, sharding::Strategy>> strategies;
};

} // namespace tenon
