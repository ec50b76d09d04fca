// SPDX-License-Identifier: Apache-2.0
// Padding: whether the elements of a local block that lie beyond the owned length are zero, finite,
// or unknown. The one place in the compiler that knows; localisation asks it before every reduction
// over a padded dimension.
//
// A state covers all padded dimensions of a value. Loads and slices are zero-padded; gelu(0) = 0
// keeps zero; a norm with eps > 0 keeps finite; exp, log, division and rsqrt of padding, and sums
// and products that may overflow, give unknown.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

namespace tenon {

enum class Padding { None, Zero, Finite, Unknown };

/// The worse of two.
inline Padding worse(Padding a, Padding b) { return a > b ? a : b; }

/// True when this sharding leaves padding on some rank.
bool hasPadding(llvm::ArrayRef<int64_t> shape, const sharding::Sharding &sharding,
                const sharding::Mesh &mesh);
/// True when n elements over these axes leave padding on some rank.
bool hasPadding(int64_t n, const sharding::AxisList &axes, const sharding::Mesh &mesh);

/// Padding of the result of a graph op: `operands` in order, `padded` = which dimensions of the
/// result have padding.
Padding paddingOf(mlir::Operation *op, llvm::ArrayRef<Padding> operands,
                  llvm::ArrayRef<bool> padded);

/// True when the real elements of the op's result may be infinite: constants of -inf in masks, and
/// what is computed from them. `operands` says it of the operands. Where such a value is repeated
/// into padding, that is not finite.
bool mayBeInfinite(mlir::Operation *op, llvm::ArrayRef<bool> operands);

} // namespace tenon
