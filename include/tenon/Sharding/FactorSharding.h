// SPDX-License-Identifier: Apache-2.0
// Rules, strategies, and what follows from them. A rule ties the dimensions of an op's operands and
// results through factors, in the notation of einsum; a strategy maps factors to mesh axes. Operand
// and result shardings are functions of the two.
//
// Worked example: y = x w with x [s,k], w [k,n]. Factors s, n (parallel), k (reduction by sum). The
// strategy {k -> [tp]} gives x [{}, {tp}], w [{tp}, {}], and y [{}, {}] partial sum {tp}.
#pragma once

#include "tenon/Sharding/Mesh.h"

#include <optional>

namespace tenon::sharding {

/// Parallel: appears in results. Reduction: summed (or max, min) away, the result is partial over
/// its axes. Whole: never sharded. Lookup: a reduction by sum in which the op selects by index.
enum class FactorKind : uint8_t { Parallel, Reduction, Whole, Lookup };

struct Factor {
  std::string name;
  int64_t size = 1;
  FactorKind kind = FactorKind::Parallel;
  Reduction combiner = Reduction::Sum;
  bool positional = false; ///< The op reads positions along it; localisation adds the block offset.
};

/// Factors of one dimension, major to minor; empty for a dimension of size 1 that is broadcast.
using DimFactors = std::vector<int>;
/// One entry per dimension.
using ValueFactors = std::vector<DimFactors>;

/// How partial operands pass through: None: not at all. Sum: all operands that may be partial are
/// (weights become partial by the loader). Product: exactly one operand is.
enum class Linearity : uint8_t { None, Sum, Product };

struct Rule {
  std::vector<Factor> factors;
  std::vector<ValueFactors> operands;
  std::vector<ValueFactors> results;
  Linearity linearity = Linearity::None;
  /// Operands through which a partial value may pass (Sum: all of them carry it; Product: any one).
  std::vector<int> linearOperands;
};

/// The one record of a decision: axes per factor (index as in Rule::factors), and axes of the
/// pseudo-factor `partial`, carried by all linear operands (Sum) or by `partialOperand` (Product).
struct Strategy {
  std::vector<AxisList> factorAxes;
  AxisList partial;
  int partialOperand = -1;
  bool operator==(const Strategy &) const = default;
};

/// Checks a rule: factor indices in range, size of each dimension of `operandShapes`/`resultShapes`
/// equals the product of its factors' sizes (an empty list: size 1 or, for operands, broadcast).
/// Returns an empty string or what is wrong.
std::string check(const Rule &rule, const std::vector<std::vector<int64_t>> &operandShapes,
                  const std::vector<std::vector<int64_t>> &resultShapes);

/// Returns why a strategy is illegal on this mesh, or an empty string. Legal: every axis used once;
/// Whole factors unsharded; the product of a factor's axes does not exceed its size; `partial` only
/// where linearity allows; and for compound dimensions, on every rank the elements owned through
/// the factors equal those owned under the derived sharding (14*64 over 4 is illegal, 12*64 over 4
/// legal).
std::string illegal(const Rule &rule, const Strategy &strategy, const Mesh &mesh);

/// Shardings that follow. Need a legal strategy. A dimension's axes are its factors' axes,
/// concatenated major to minor. Results are partial over the axes of reductions and lookups they do
/// not contain, plus `partial`.
Sharding operandSharding(const Rule &rule, const Strategy &strategy, int operand);
Sharding resultSharding(const Rule &rule, const Strategy &strategy, int result);

/// Enumerates legal strategies in a documented, deterministic order (unsharded first). Per mesh
/// axis the choices are: nothing, one of the shardable factors, or `partial`; axis lists are in
/// mesh order. `limit` bounds the result, and 64 times as many the combinations tried: exceeding it
/// returns nullopt.
std::optional<std::vector<Strategy>> enumerateStrategies(const Rule &rule, const Mesh &mesh,
                                                         size_t limit = 4096);

/// "g=[tp.0] r=[tp.1] partial=[..]": the text of #tp.strategy's body; unsharded factors are left
/// out.
std::string toString(const Strategy &strategy, const Rule &rule, const Mesh &mesh);

} // namespace tenon::sharding
