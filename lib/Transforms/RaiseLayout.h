// SPDX-License-Identifier: Apache-2.0
// A layout asks for the elements of a value in other dimensions: cut, split and permuted. A
// LayoutRewriter answers such a request by rewriting the ops that compute the value, so that the
// elements come out in that form and no op has to move them. It decides first (`can`) and changes
// the graph only then (`make`).
//
// Worked example: v = reshape(matmul "abk,nk->abn" (x, w)) : [b,s,h,d], of which attention wants
// [b,s,g,r,d]. The layout splits h into (g, r). Through the reshape it becomes a split of n into
// (g, r, d), and through the matmul a split of w's first dimension: matmul "abk,cdek->abcde" (x,
// view of w as [g,r,d,k]).
#pragma once

#include "RaiseWeights.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"

namespace tenon::raise {

/// Part i of a dimension: `size` elements, `stride` elements of that dimension apart.
struct Part {
  int64_t size, stride;
  bool operator==(const Part &) const = default;
};

/// Where the parts of one dimension lie: index = offset + sum of i_j * parts[j].stride. No parts:
/// one index.
struct DimLayout {
  int64_t offset = 0;
  llvm::SmallVector<Part, 3> parts;
  bool operator==(const DimLayout &) const = default;
};

/// One DimLayout per dimension of the value, and the order of their parts in the new form.
struct Layout {
  llvm::SmallVector<DimLayout, 5> dims;
  llvm::SmallVector<std::pair<int, int>, 8>
      order; ///< (dimension, part), one per dimension of the new form.
  bool operator==(const Layout &) const = default;

  static Layout identity(llvm::ArrayRef<int64_t> shape);
  /// Splits each dimension i of a value into parts[i] (major to minor).
  static Layout split(llvm::ArrayRef<llvm::SmallVector<int64_t>> parts);
  static Layout slice(llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> sizes,
                      llvm::ArrayRef<int64_t> strides);
  /// This layout with the dimensions of the new form permuted: dimension i becomes permutation[i]
  /// of the old ones.
  Layout permuted(llvm::ArrayRef<int64_t> permutation) const;

  bool isIdentity(llvm::ArrayRef<int64_t> shape) const;
  bool isIdentity(llvm::ArrayRef<int64_t> shape, int dim) const;
  /// True when no element of dimension `dim` (of size n) is left out and parts are in row-major
  /// order.
  bool isWhole(int64_t n, int dim) const;
  bool isWhole(llvm::ArrayRef<int64_t> shape) const;
  /// True when the parts stand in the order of the dimensions.
  bool isSorted() const;
  /// True when the new form differs only in dimensions of size 1.
  bool isUnitReshape(llvm::ArrayRef<int64_t> shape) const;
  llvm::SmallVector<int64_t> resultShape() const;
};

/// Aligned stretches of two shapes with equal products: dimensions [from, fromEnd) <-> [to, toEnd).
/// Of a dimension of size 1 that could belong to either neighbour `unitsRight` decides.
struct ReshapeGroup {
  int from, fromEnd, to, toEnd;
};
llvm::SmallVector<ReshapeGroup> reshapeGroups(llvm::ArrayRef<int64_t> from,
                                              llvm::ArrayRef<int64_t> to, bool unitsRight = false);

class LayoutRewriter {
public:
  explicit LayoutRewriter(WeightViews &weights) : weights(weights) {}

  /// Decides whether `value` can be computed in this layout without moving elements at run time.
  bool can(mlir::Value value, const Layout &layout);
  /// Computes it. Only after can() said yes.
  mlir::Value make(mlir::Value value, const Layout &layout);
  /// Replaces values that were computed in a second form, but still have users, by that form moved
  /// back, so that nothing is computed twice. Call once, after all make(); leaves dead ops behind.
  void finish(mlir::func::FuncOp function);

private:
  struct Entry {
    Layout layout;
    bool possible;
    mlir::Value made;
  };
  bool decide(mlir::Value value, const Layout &layout);
  mlir::Value build(mlir::Value value, const Layout &layout);
  Entry *find(mlir::Value value, const Layout &layout);
  /// A possible layout of a reshape's operand; nothing when there is none.
  std::optional<Layout> reshapeLayout(tp::ReshapeOp op, const Layout &layout);
  bool canOperand(mlir::Value result, const Layout &layout, mlir::Value operand);
  mlir::Value makeOperand(mlir::Value result, const Layout &layout, mlir::Value operand);

  static constexpr int kMostSteps = 1000;

  WeightViews &weights;
  int depth = 0; ///< Of the running can().
  llvm::DenseMap<mlir::Value, llvm::SmallVector<Entry, 1>> entries;
  std::vector<std::pair<mlir::Value, Layout>> order;
};

} // namespace tenon::raise
