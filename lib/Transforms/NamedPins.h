// SPDX-License-Identifier: Apache-2.0
// NamedPins: strategies that are given by a layer's name or by its place in a transformer instead
// of by attributes: a file of patterns with the words of Hugging Face's plans, and Megatron-LM's
// plan.
//
//   {"layers.*.self_attn.q_proj": "colwise", "layers.*.mlp.down_proj": "rowwise"}
//
// A star stands for anything but a dot. A pattern names a layer by its whole name or from a dot on.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"
#include "tenon/Sharding/FactorSharding.h"

#include <optional>
#include <string>
#include <vector>

namespace tenon {

enum class PinStyle : uint8_t {
  Column,    ///< colwise: the weight's result dimensions are cut.
  Row,       ///< rowwise: its contracted dimensions, or the rows of a lookup.
  Sequence,  ///< sequence_parallel: dimension 1 of the result.
  Replicated ///< replicate: nothing is cut.
};

struct NamedPin {
  std::string pattern;
  PinStyle style = PinStyle::Column;
};

/// Reads a file of pins. On failure returns nullopt and says what is wrong.
std::optional<std::vector<NamedPin>> readPins(const std::string &path, std::string &error);

/// The pins in the module's tp.layer_plan, as exported from the model's config; nullopt when it has
/// none. Words that say nothing about which dimension is cut are left out.
std::optional<std::vector<NamedPin>> layerPlan(mlir::ModuleOp module);

/// Whether the pattern names this layer.
bool matches(llvm::StringRef pattern, llvm::StringRef layer);

/// Name of the layer that an op comes from, "" when its location has none.
std::string layerOf(mlir::Operation *op);

/// What Megatron-LM (Shoeybi et al. 2019, section 3) does with the op: column-parallel where the
/// input is whole, row-parallel after attention or another matmul, vocabulary-parallel lookups, and
/// norms on every rank. Nullopt for ops that it leaves to what is around them.
std::optional<PinStyle> megatronStyle(mlir::Operation *op);

/// Indices of the strategies that realise the style most fully: over as many ranks as can be, and
/// nothing else cut. Empty when none does; nullopt when the style says nothing about such an op.
std::optional<std::vector<int>> strategiesOf(mlir::Operation *op, PinStyle style,
                                             const sharding::Rule &rule,
                                             const std::vector<sharding::Strategy> &strategies,
                                             const sharding::Mesh &mesh);

} // namespace tenon
