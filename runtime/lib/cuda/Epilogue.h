// SPDX-License-Identifier: Apache-2.0
// Epilogue: c = act(product + bias) + residual over one tile of a product, rounded once to c's
// type: what cuBLASLt's own epilogues do not cover.
#pragma once

#include "Work.h"

namespace tenon::runtime::cuda {

/// Operands of the loops, in this order.
enum EpilogueSlot { kProduct, kResult, kEpilogueBias, kResidual, kEpilogueSlots };

struct Epilogue {
  plan::Activation activation = plan::Activation::None;
  plan::DataType resultType = plan::DataType::F32;
  plan::DataType biasType = plan::DataType::F32, residualType = plan::DataType::F32;
  bool bias = false, residual = false;
  /// Loops over the tile; strides of absent operands are 0.
  LoopNest loops;

  /// Addresses are those of the tile's first element. `product` is f32 and may be `result`.
  cudaError_t enqueue(const float *product, std::byte *result, const std::byte *biasTile,
                      const std::byte *residualTile, cudaStream_t stream) const;
};

} // namespace tenon::runtime::cuda
