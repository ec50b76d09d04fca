// SPDX-License-Identifier: Apache-2.0
// PlanJson: what a plan says about itself, for programs that show plans. One way only: nothing
// reads it back.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include "llvm/Support/raw_ostream.h"

namespace tenon {

/// Writes a verified plan as JSON, schema 1:
///
///   schema, producer, model, machine, ranks, mesh [{name, size, parent}], certificate, choices,
///   pack_budget, weights_bytes_unsharded, weights_bytes_per_rank,
///   weights [{name, type, bytes_per_rank, parts [{key, shape, axes}]}],
///   entries [{name, predicted_us, arena_bytes, live_bytes_bound,
///             inputs and outputs [{name, type, shape, axes}],
///             ops [{name, layer, stream, predicted_us, live_bytes,
///                   and for collectives: kind, axes, ranks, bytes, tensor_bytes, type, cause}]}]
///
/// Times are microseconds by the cost model, of one step. `bytes` is what a rank sends;
/// `live_bytes` the arena's buffers in use while the op runs, in program order. `axes` of a part or
/// an output: axis names per dimension.
void writeJson(const plan::Plan &plan, llvm::raw_ostream &os);

} // namespace tenon
