// SPDX-License-Identifier: Apache-2.0
// The pass convert-tp-to-plan: from graphs of local tensors to instructions on buffers (Passes.td).
#pragma once

#include "tenon/Dialect/Plan/IR/PlanDialect.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "mlir/Pass/Pass.h"

namespace tenon {

#define GEN_PASS_DECL
#include "tenon/Conversion/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tenon/Conversion/Passes.h.inc"

} // namespace tenon
