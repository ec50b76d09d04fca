// SPDX-License-Identifier: Apache-2.0
// Verify: the one judge of whether a plan may run. It knows nothing of how the plan was made: it
// reads what every op declares (Access.h) and recomputes order and lifetimes from that. Linear in
// the ops up to logarithms: a 96-layer plan takes a few milliseconds per rank.
//
// Once per plan:
//   mesh, names, indices, counts; weights: views inside stored tensors, parts inside the weight and
//   disjoint; each op's operand ranks, sizes, element types, labels, expression, group and counts;
//   events: recorded once, before (in list order) they are waited for; streams begin after stream 0
//   and stream 0 ends after them; collectives in one total order.
// Per rank (its coordinates decide offsets):
//   operands inside their buffer; rows, positions and fill limits in range; no op reads what it
//   writes, except all_reduce and broadcast in place (x and out equal); every element is defined
//   before it is read, entry outputs at the end; two accesses of one buffer of which one writes are
//   ordered (vector clocks over record and wait); two buffers that share arena bytes are not live
//   at once.
//
// Definedness and hazards go by the element range that an operand spans, not by its strides: a gap
// in a strided write counts as written, unless fewer elements were written than are read.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstdint>

namespace tenon::plan {

/// Accepts or refuses (Code::Plan) the plan for one rank. The message names entry, op, its kind and
/// its source layer. Safe on any plan; a rank outside the mesh is refused.
Status verify(const Plan &plan, int64_t rank);

/// The same for every rank of the mesh; ranks with equal offsets are analysed once. The message
/// names the rank where it matters.
Status verifyAll(const Plan &plan);

} // namespace tenon::plan
