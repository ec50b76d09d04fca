// SPDX-License-Identifier: Apache-2.0
// Declarations of the passes in Passes.td.
#pragma once

#include "tenon/Dialect/Plan/IR/PlanDialect.h"

#include "mlir/Pass/Pass.h"

namespace tenon::plan {

#define GEN_PASS_DECL
#include "tenon/Dialect/Plan/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tenon/Dialect/Plan/Transforms/Passes.h.inc"

} // namespace tenon::plan
