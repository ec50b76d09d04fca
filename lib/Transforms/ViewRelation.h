// SPDX-License-Identifier: Apache-2.0
// What two strided views of one stored tensor have in common: the same elements, none, or some.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

namespace tenon {

/// A view without dimensions of size 1 and with adjacent dimensions merged where strides allow it.
/// Two views whose strides descend hold the same elements exactly when these are equal.
struct DenseView {
  int64_t offset = 0;
  llvm::SmallVector<std::pair<int64_t, int64_t>, 4> dims; ///< (size, stride), major to minor.
  bool operator==(const DenseView &) const = default;
};
DenseView denseView(tp::ViewAttr view);

enum class ViewRelation { Equal, Disjoint, Overlapping };
/// Elements are compared, not ranges: [h, 3, d] views of an interleaved QKV weight are disjoint.
/// Views that cannot be told apart by their strides are enumerated up to 2^20 elements; beyond that
/// they count as overlapping.
ViewRelation relate(tp::ViewAttr a, tp::ViewAttr b);

} // namespace tenon
