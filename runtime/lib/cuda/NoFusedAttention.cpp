// SPDX-License-Identifier: Apache-2.0
// Stands in for FusedAttention.cpp in builds without cuDNN: leaves every attention to the plain
// kernel.
#include "FusedAttention.h"

namespace tenon::runtime::cuda {

PreparedWork fusedAttention(const plan::Attention &, const AttentionOperands &, Context &) {
  return std::unique_ptr<Work>();
}

} // namespace tenon::runtime::cuda
