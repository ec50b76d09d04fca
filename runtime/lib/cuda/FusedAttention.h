// SPDX-License-Identifier: Apache-2.0
// FusedAttention: attention as one kernel of cuDNN, for the shapes and layouts that it takes.
// Builds without cuDNN have NoFusedAttention.cpp, which takes none.
#pragma once

#include "Work.h"

namespace tenon::runtime::cuda {

/// An attention whose operands have passed prepare()'s checks; regions without data where there is
/// no mask or bias.
struct AttentionOperands {
  Region q, k, v, out, mask, bias;
};

/// Null without failure where the plain kernel is to do it. Fails with Code::Memory.
PreparedWork fusedAttention(const plan::Attention &op, const AttentionOperands &operands,
                            Context &context);

} // namespace tenon::runtime::cuda
