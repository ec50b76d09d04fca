// SPDX-License-Identifier: Apache-2.0
// PlanWriter: a plan becomes a file. 64-byte header, then a FlatBuffers payload (schema/plan.fbs):
//
//   0  magic "TENONPLN"       8  format number, u32       12  zero, u32
//   16 payload bytes, u64     24 SHA-256 of the payload   56  zeros
//
// Numbers are little-endian. The same plan gives the same bytes. Does not judge the plan: `verify`
// does.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tenon::plan {

inline constexpr char fileMagic[9] = "TENONPLN";
inline constexpr uint32_t formatNumber = 3;
inline constexpr size_t headerBytes = 64;

/// Returns the file's bytes. Fails with Code::Plan when the plan is too large for a file (1 GiB).
Expected<std::vector<std::byte>> write(const Plan &plan);

/// Writes the file under a temporary name beside `path` and renames it, so that no partial file is
/// ever seen. Fails with Code::Usage when the file system refuses.
Status writeFile(const Plan &plan, const std::string &path);

/// Returns the 64 hex digits of the SHA-256 that a file's header states: the plan's identity, which
/// `read` has checked against the payload. Empty when the span is shorter than a header.
std::string digest(std::span<const std::byte> file);

/// Puts magic, format, size and SHA-256 before the payload that follows the first 64 bytes. For
/// `write`, and for tests that need a valid header over a changed payload. Needs 64 bytes or more.
void sealHeader(std::span<std::byte> file);

} // namespace tenon::plan
