// SPDX-License-Identifier: Apache-2.0
// HostArray: a global value on its way between a file and the device: type, shape, row-major bytes.
// It can be read, written and compared, and computes nothing.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tenon::runtime {

struct HostArray {
  plan::DataType type = plan::DataType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t elements() const {
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    return count;
  }
};

/// Returns "2x128x384", or "scalar".
std::string shapeOf(const std::vector<int64_t> &shape);

/// Element as a number: exact for all types but I64 beyond 2^53.
double elementAsDouble(plan::DataType type, const std::byte *element);
/// Element as an integer; type I32, I64 or I1.
int64_t elementAsInteger(plan::DataType type, const std::byte *element);

} // namespace tenon::runtime
