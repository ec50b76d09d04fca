// SPDX-License-Identifier: Apache-2.0
// OpWork: how much arithmetic and memory traffic an op needs at least, and how fast a device could
// do it at best. It counts what the op's definition asks for, not what a kernel does, and knows
// nothing of networks: a collective's bound is its memory alone.
//
// Example: matmul [4,8] x [8,16] in f32 is 2 * 4 * 8 * 16 = 1024 flops and 4 * (32 + 128 + 64) =
// 896 bytes.
#pragma once

#include "tenon/runtime/Device.h"
#include "tenon/runtime/plan/Plan.h"

namespace tenon::runtime {

/// What one op has to do.
struct OpWork {
  double flops = 0; ///< Multiplications and additions of matmul and attention; 0 for other ops.
  double bytes = 0; ///< Distinct elements that are read, and those that are written.
};

/// Counts the work of an op of a resolved entry. Elements that a stride of 0 repeats count once,
/// and so does a region that is read under two roles; one that is read and written counts twice.
/// Lookups read as many rows as there are indices, at most the table. Causal attention of as many
/// queries as keys needs half of the pairs.
OpWork workOf(const plan::Entry &entry, const plan::Op &op);

/// Seconds that a device of these limits needs at least: the longer one of arithmetic on operands
/// of `type` (f32 as TF32 with `tf32`) and memory. 0 when a limit that this needs is unknown.
/// Memory is taken as the device's own: an op whose operands are still in a cache can be faster.
double boundSeconds(const OpWork &work, plan::DataType type, const DeviceLimits &limits, bool tf32);

/// The bound of an op of a resolved entry. TF32 is for matmul only, as on the CUDA device.
double boundSeconds(const plan::Entry &entry, const plan::Op &op, const DeviceLimits &limits,
                    bool tf32);

} // namespace tenon::runtime
