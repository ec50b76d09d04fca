// SPDX-License-Identifier: Apache-2.0
// ReferenceKernels: every op once more, straight from the comments in Plan.h: one loop per
// dimension, in double, no speed and no code shared with the devices. The oracle of the device
// conformance suite.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <vector>

namespace tenon::runtime::reference {

/// Buffers of an entry as bytes, read and written as double. Integers must stay below 2^53.
struct Memory {
  std::vector<plan::DataType> types;
  std::vector<std::vector<std::byte>> buffers;

  /// Adds a zero-filled buffer and returns its number.
  int32_t add(plan::DataType type, int64_t elements);
  int64_t elements(int32_t buffer) const;
  double get(int32_t buffer, int64_t element) const;
  /// Rounds to the buffer's type: to nearest even for floats, truncating for integers, x != 0 for
  /// I1.
  void set(int32_t buffer, int64_t element, double value);
};

/// Runs one resolved op. Collectives are those of a group of one rank; records and waits do
/// nothing.
void run(const plan::Op &op, Memory &memory);

} // namespace tenon::runtime::reference
