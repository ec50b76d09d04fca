// SPDX-License-Identifier: Apache-2.0
// Binder: turns an op's operands into regions and checks what a kernel relies on; every device
// prepares its ops through it.
#pragma once

#include "Region.h"

#include <string>
#include <vector>

namespace tenon::runtime {

/// Binds operands in a row and keeps the first failure, so that a prepare function checks once.
class Binder {
public:
  explicit Binder(const Binding &binding) : binding_(binding) {}
  Region operator()(const plan::Operand &operand);
  /// Zero or one operand; a region without data when there is none.
  Region optional(const std::vector<plan::Operand> &operands);
  /// Requires equal sizes.
  void same(const Region &a, const Region &b, const char *what);
  /// Requires a condition that the plan's verifier states too.
  void require(bool condition, const std::string &message);
  const Status &status() const { return status_; }

private:
  const Binding &binding_;
  Status status_;
};

/// Returns "2x3x4".
std::string shapeText(const std::vector<int64_t> &sizes);

} // namespace tenon::runtime
