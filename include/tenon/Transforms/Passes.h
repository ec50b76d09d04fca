// SPDX-License-Identifier: Apache-2.0
// Declarations of the passes in Passes.td.
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "mlir/Pass/Pass.h"

namespace tenon {

#define GEN_PASS_DECL
#include "tenon/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tenon/Transforms/Passes.h.inc"

} // namespace tenon
