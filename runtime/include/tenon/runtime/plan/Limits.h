// SPDX-License-Identifier: Apache-2.0
// Limits: the largest counts and numbers that a plan may hold. The reader refuses what lies beyond
// them, so that a damaged or hostile file cannot make it allocate without bound; Verify repeats the
// checks on plans that never were a file. Generous: a 96-layer model has about 4000 ops and 500
// weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenon::plan::limits {

inline constexpr size_t fileBytes = size_t(1) << 30;
/// Bytes that unpacking may allocate per byte of file, and in any case: tables may be shared in a
/// file and are not in the structs.
inline constexpr size_t unpackedPerByte = 64;
inline constexpr size_t unpackedBytes = size_t(64) << 20;

inline constexpr size_t meshAxes = 16;
inline constexpr int64_t ranks = 1 << 16;
inline constexpr size_t weights = 1 << 18;
inline constexpr size_t weightParts = 64;
inline constexpr size_t entries = 256;
inline constexpr size_t buffers = 1 << 18;
inline constexpr size_t ops = 1 << 18;
inline constexpr int32_t events = 1 << 18;
inline constexpr size_t ios = 4096;
inline constexpr size_t dimensions = 16;
inline constexpr int32_t streams = 2;
inline constexpr size_t stringBytes = 1 << 16;
inline constexpr size_t certificateBytes = 1 << 20;
inline constexpr size_t choicesBytes = 1 << 26;

/// Operators of an elementwise expression that are not Input or Constant, and its inputs and terms.
/// A program of 16 operators with three operands each has at most 33 leaves.
inline constexpr size_t exprOperators = 16;
inline constexpr size_t exprInputs = 33;
inline constexpr size_t exprTerms = exprOperators + exprInputs;

/// Elements of a buffer, a weight or a stored tensor, and bytes of an arena. 2^46 elements times
/// the largest group, or times eight bytes and a few additions, stay below 2^63.
inline constexpr int64_t elements = int64_t(1) << 46;
inline constexpr int64_t arenaBytes = int64_t(1) << 50;

} // namespace tenon::plan::limits
