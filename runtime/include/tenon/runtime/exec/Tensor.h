// SPDX-License-Identifier: Apache-2.0
// HostTensor: a dense row-major tensor in host memory, as inputs, outputs and files have it.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <string>
#include <vector>

namespace tenon::runtime {

struct HostTensor {
  plan::DataType type = plan::DataType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t elements() const;
  /// Element i as a double, whatever the type.
  double at(int64_t i) const;
  /// Zeros of this type and shape.
  static HostTensor zeros(plan::DataType type, std::vector<int64_t> shape);
};

/// "2x8xf32".
std::string describe(const HostTensor &tensor);

/// Reads a NumPy file (versions 1 to 3): f4, f2, i4, i8, b1, u1 (as i1 where 0 and 1), and 2-byte void as bf16. Fails with
/// Code::Usage naming the file: big-endian, Fortran order, other types, truncated.
Expected<HostTensor> readNpy(const std::string &path);
/// Writes version 1 under a temporary name and renames it; bf16 as '<V2'. Fails with Code::Device.
Status writeNpy(const HostTensor &tensor, const std::string &path);

/// Reads a float of a narrow type.
float toFloat(const std::byte *data, plan::DataType type);
/// Writes a float as a narrow type, rounding to nearest even.
void fromFloat(float value, plan::DataType type, std::byte *data);

} // namespace tenon::runtime
