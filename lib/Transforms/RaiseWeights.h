// SPDX-License-Identifier: Apache-2.0
// The weights of a module as views of stored tensors. Raising asks for other views of a weight; at
// the end each set of elements is held by one global, whatever the number of its uses.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include <map>
#include <set>

namespace tenon::raise {

class WeightViews {
public:
  /// Gives every imported global the view of its whole tensor. Fails, with an error, on a global
  /// without a key.
  /// Tensors of the keys in `whole` are not cut.
  static mlir::FailureOr<WeightViews> create(mlir::ModuleOp module,
                                             std::set<std::string> whole = {});

  /// The global that a value loads; null when it is not a load.
  mlir::ml_program::GlobalOp globalOf(mlir::Value value);
  tp::ViewAttr viewOf(mlir::Value load);
  /// True when views of a part of what this load reads may be made.
  bool mayCut(mlir::Value load) { return !whole.count(viewOf(load).getKey().str()); }

  /// Loads another view of the tensor that `load` reads, next to it. Strides of dimensions of size
  /// 1 are free.
  mlir::Value load(mlir::Value load, int64_t offset, llvm::ArrayRef<int64_t> sizes,
                   llvm::ArrayRef<int64_t> strides);

  /// Drops globals without a load, makes views of the same elements one global (in the finer common
  /// grouping; a use that groups them otherwise gets a reshape) and names them. Fails, with an
  /// error, when two views of the imported form share some elements, but not all. Where views made
  /// here do, their keys are returned: raise again without cutting them.
  mlir::FailureOr<std::set<std::string>> finish();

private:
  WeightViews(mlir::ModuleOp module, std::set<std::string> whole)
      : module(module), whole(std::move(whole)) {}
  struct Loads {
    mlir::ml_program::GlobalOp global;
    std::vector<mlir::ml_program::GlobalLoadConstOp> loads;
    tp::ViewAttr view;
  };
  mlir::LogicalResult resolveKey(std::vector<Loads> &views);
  void unify(llvm::ArrayRef<Loads *> views);

  mlir::ModuleOp module;
  std::set<std::string> whole, conflicts;
  llvm::DenseMap<mlir::StringAttr, mlir::ml_program::GlobalOp> globals; ///< By symbol.
  llvm::DenseMap<std::pair<mlir::Attribute, mlir::Type>, mlir::ml_program::GlobalOp> byView;
  llvm::DenseMap<mlir::Operation *, std::string>
      baseOf; ///< Of globals made here: the name of the one that they come from.
  unsigned created = 0;
};

} // namespace tenon::raise
