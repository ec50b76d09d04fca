// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/HostArray.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <cstring>

namespace tenon::runtime {

template <typename T> static T load(const std::byte *from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

std::string shapeOf(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

double elementAsDouble(plan::DataType type, const std::byte *element) {
  switch (type) {
  case plan::DataType::F32:
    return double(load<float>(element));
  case plan::DataType::BF16:
    return double(bf16ToF32(load<uint16_t>(element)));
  case plan::DataType::F16:
    return double(f16ToF32(load<uint16_t>(element)));
  case plan::DataType::I32:
    return double(load<int32_t>(element));
  case plan::DataType::I64:
    return double(load<int64_t>(element));
  case plan::DataType::I1:
    return double(load<uint8_t>(element));
  }
  return 0;
}

int64_t elementAsInteger(plan::DataType type, const std::byte *element) {
  if (type == plan::DataType::I64)
    return load<int64_t>(element);
  if (type == plan::DataType::I32)
    return load<int32_t>(element);
  return load<uint8_t>(element);
}

} // namespace tenon::runtime
