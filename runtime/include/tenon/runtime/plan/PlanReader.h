// SPDX-License-Identifier: Apache-2.0
// PlanReader: a file becomes a plan, or a reason why not. The result holds known enum values only,
// no missing op, counts within Limits.h, and no size or offset + size that overflows; whether the
// plan may run is for `verify` to say. Safe on any bytes.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tenon::plan {

/// Unpacks a plan file. Fails with Code::Plan: magic, format number (both numbers are named), size,
/// SHA-256, FlatBuffers structure, contents, in this order.
Expected<Plan> read(std::span<const std::byte> file);

/// Reads a whole file. Fails with Code::Usage when it cannot be opened or read, Code::Plan when it
/// is too large for a plan.
Expected<std::vector<std::byte>> readBytes(const std::string &path);

/// readBytes, then read. The message begins with the path.
Expected<Plan> readFile(const std::string &path);

} // namespace tenon::plan
