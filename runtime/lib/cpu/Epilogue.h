// SPDX-License-Identifier: Apache-2.0
// Epilogue: c = act(product + bias) + residual over one tile of a product, rounded once to c's
// type.
#pragma once

#include "Work.h"

namespace tenon::runtime::cpu {

/// Operands of the loops, in this order.
enum EpilogueSlot { kProduct, kResult, kEpilogueBias, kResidual, kEpilogueSlots };

struct Epilogue {
  plan::Activation activation = plan::Activation::None;
  plan::DataType resultType = plan::DataType::F32;
  plan::DataType biasType = plan::DataType::F32, residualType = plan::DataType::F32;
  bool bias = false, residual = false;
  /// Loops over the tile's rows, and over its columns; strides of absent operands are 0.
  LoopNest rows, columns;

  /// Floats of scratch that each thread needs.
  static constexpr int64_t kFloats = 3 * 512;

  /// Addresses are those of the tile's first element. `product` may be `result` when that is f32.
  void run(const Context &context, int64_t scratchFloats, const float *product, std::byte *result,
           const std::byte *biasRow, const std::byte *residualRow) const;
};

} // namespace tenon::runtime::cpu
