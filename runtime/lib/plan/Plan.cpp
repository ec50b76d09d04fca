// SPDX-License-Identifier: Apache-2.0
// The one table of element types, and the size of the world.
#include "tenon/runtime/plan/Plan.h"

namespace tenon::plan {

bool isFloat(DataType type) {
  return type == DataType::F32 || type == DataType::BF16 || type == DataType::F16;
}

int64_t byteWidth(DataType type) {
  switch (type) {
  case DataType::F32:
  case DataType::I32:
    return 4;
  case DataType::BF16:
  case DataType::F16:
    return 2;
  case DataType::I64:
    return 8;
  case DataType::I1:
    return 1;
  }
  __builtin_unreachable();
}

const char *name(DataType type) {
  switch (type) {
  case DataType::F32:
    return "f32";
  case DataType::BF16:
    return "bf16";
  case DataType::F16:
    return "f16";
  case DataType::I32:
    return "i32";
  case DataType::I64:
    return "i64";
  case DataType::I1:
    return "i1";
  }
  __builtin_unreachable();
}

int64_t worldSize(const Plan &plan) {
  int64_t size = 1;
  for (const MeshAxis &axis : plan.mesh)
    size *= axis.size;
  return size;
}

} // namespace tenon::plan
