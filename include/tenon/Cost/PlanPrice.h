// SPDX-License-Identifier: Apache-2.0
// PlanPrice: the predicted time of one instruction of a plan, copies and collectives included, from
// what it reads and writes.
#pragma once

#include "tenon/Cost/CostModel.h"
#include "tenon/runtime/plan/Plan.h"

namespace tenon::cost {

/// Seconds of an instruction of `entry` on one rank; 0 for records and waits.
double instructionSeconds(const plan::Op &op, const plan::Entry &entry, const sharding::Mesh &mesh,
                          const CostModel &model);

/// Name of an operator in tables of measured functions: "gelu", "add", ...
const char *functionName(plan::ExprOp op);
/// The same of an activation; "" for none.
const char *functionName(plan::Activation activation);

} // namespace tenon::cost
