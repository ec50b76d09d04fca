// SPDX-License-Identifier: Apache-2.0
// MatMul: a plan's matmul as products of cuBLASLt and what stands around them.
#pragma once

#include "MatMulAlgorithms.h"

namespace tenon::runtime::cuda {

/// Fails with Code::Plan for types that cuBLASLt does not multiply.
PreparedWork prepare(const plan::MatMul &op, const Binding &binding, Context &context,
                     MatMulAlgorithms &algorithms);

} // namespace tenon::runtime::cuda
