// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/InputCheck.h"

#include "tenon/runtime/comm/HalfFloat.h"
#include "tenon/runtime/exec/RandomValues.h"

#include <cstring>
#include <limits>

namespace tenon::runtime {

using plan::DataType;

static bool isInteger(DataType type) { return type == DataType::I32 || type == DataType::I64; }

static std::string indexText(int64_t flat, const std::vector<int64_t> &shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  std::string text;
  for (int64_t i : index)
    text += (text.empty() ? "" : ",") + std::to_string(i);
  return "[" + text + "]";
}

std::string typeAndShape(DataType type, const std::vector<int64_t> &shape) {
  return std::string(plan::name(type)) + " " + shapeOf(shape);
}

static Status convertInteger(const plan::IO &input, HostArray &value) {
  const int64_t from = plan::byteWidth(value.type), to = plan::byteWidth(input.type);
  std::vector<std::byte> bytes(size_t(value.elements() * to));
  for (int64_t i = 0; i < value.elements(); ++i) {
    int64_t element = elementAsInteger(value.type, value.bytes.data() + i * from);
    if (input.type == DataType::I32 && element != int64_t(int32_t(element)))
      return Status(Code::Usage, "input '" + input.name + "': element " +
                                     indexText(i, value.shape) + " is " + std::to_string(element) +
                                     ", which i32 cannot hold");
    std::memcpy(bytes.data() + i * to, &element, size_t(to)); // little-endian
  }
  value.type = input.type;
  value.bytes = std::move(bytes);
  return Status();
}

Expected<HostArray> checkInput(const plan::IO &input, HostArray value) {
  std::string name = "input '" + input.name + "': ";
  bool compatible = value.type == input.type || (isInteger(value.type) && isInteger(input.type));
  if (!compatible || value.shape != input.shape)
    return Status(Code::Usage, name + "expected " + typeAndShape(input.type, input.shape) +
                                   ", found " + typeAndShape(value.type, value.shape));
  if (value.type != input.type)
    if (Status status = convertInteger(input, value); !status)
      return status;
  const int64_t width = plan::byteWidth(value.type), count = value.elements();
  if (input.low != input.high && (isInteger(value.type) || value.type == DataType::I1))
    for (int64_t i = 0; i < count; ++i) {
      int64_t element = elementAsInteger(value.type, value.bytes.data() + i * width);
      if (element < input.low || element >= input.high)
        return Status(Code::Usage, name + "element " + indexText(i, value.shape) + " is " +
                                       std::to_string(element) + ", expected a value in [" +
                                       std::to_string(input.low) + ", " +
                                       std::to_string(input.high) + ")");
    }
  if (input.maskRows && count > 0) {
    int64_t row = value.shape.empty() ? 1 : value.shape.back();
    for (int64_t begin = 0; begin < count; begin += row) {
      bool any = false;
      for (int64_t i = begin; i < begin + row && !any; ++i)
        any = elementAsDouble(value.type, value.bytes.data() + i * width) != 0;
      if (!any) {
        std::vector<int64_t> rows(value.shape.begin(), value.shape.end() - 1);
        return Status(Code::Usage, name + "row " + indexText(begin / row, rows) +
                                       " masks every position, expected at least one 1");
      }
    }
  }
  return value;
}

HostArray randomInput(const plan::IO &input, uint64_t seed) {
  HostArray value{input.type, input.shape, {}};
  const int64_t width = plan::byteWidth(input.type), count = value.elements();
  value.bytes.resize(size_t(count * width));
  RandomValues random(seed, input.name);
  // A width of zero cannot be: the range is given or [0, 2).
  uint64_t range = input.low < input.high ? uint64_t(input.high) - uint64_t(input.low) : 2;
  for (int64_t i = 0; i < count; ++i) {
    std::byte *to = value.bytes.data() + i * width;
    int64_t integer =
        input.maskRows || input.type == DataType::I1
            ? 1
            : int64_t(uint64_t(input.low) +
                      (uint64_t(random.bits(2 * i)) << 32 | random.bits(2 * i + 1)) % range);
    float number = input.maskRows ? 1.0f : random.normal(i);
    uint16_t half = 0;
    switch (input.type) {
    case DataType::F32:
      std::memcpy(to, &number, 4);
      break;
    case DataType::BF16:
      half = f32ToBf16(number);
      std::memcpy(to, &half, 2);
      break;
    case DataType::F16:
      half = f32ToF16(number);
      std::memcpy(to, &half, 2);
      break;
    case DataType::I32:
    case DataType::I64:
    case DataType::I1:
      std::memcpy(to, &integer, size_t(width));
      break;
    }
  }
  return value;
}

} // namespace tenon::runtime
