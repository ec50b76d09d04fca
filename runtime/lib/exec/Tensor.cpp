// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Tensor.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>

namespace tenon::runtime {

using plan::DataType;

int64_t HostTensor::elements() const {
  int64_t n = 1;
  for (int64_t size : shape)
    n *= size;
  return n;
}

HostTensor HostTensor::zeros(DataType type, std::vector<int64_t> shape) {
  HostTensor tensor{type, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.elements() * plan::byteWidth(type)));
  return tensor;
}

std::string describe(const HostTensor &tensor) {
  std::string text;
  for (int64_t size : tensor.shape)
    text += std::to_string(size) + "x";
  return text + plan::name(tensor.type);
}

float toFloat(const std::byte *data, DataType type) {
  if (type == DataType::F32) {
    float value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data, sizeof bits);
  return type == DataType::BF16 ? bf16ToF32(bits) : f16ToF32(bits);
}

void fromFloat(float value, DataType type, std::byte *data) {
  if (type == DataType::F32) {
    std::memcpy(data, &value, sizeof value);
    return;
  }
  uint16_t bits = type == DataType::BF16 ? f32ToBf16(value) : f32ToF16(value);
  std::memcpy(data, &bits, sizeof bits);
}

double HostTensor::at(int64_t i) const {
  const std::byte *data = bytes.data() + i * plan::byteWidth(type);
  switch (type) {
  case DataType::F32:
  case DataType::BF16:
  case DataType::F16:
    return toFloat(data, type);
  case DataType::I32: {
    int32_t value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  case DataType::I64: {
    int64_t value;
    std::memcpy(&value, data, sizeof value);
    return static_cast<double>(value);
  }
  case DataType::I1:
    return static_cast<double>(std::to_integer<int>(*data));
  }
  return 0;
}

namespace {

struct NpyType {
  const char *descr;
  DataType type;
};
constexpr NpyType kTypes[] = {{"<f4", DataType::F32}, {"<f2", DataType::F16}, {"<i4", DataType::I32}, {"<i8", DataType::I64},
                              {"|b1", DataType::I1},  {"|u1", DataType::I1},  {"<V2", DataType::BF16}, {"|V2", DataType::BF16}};

/// The text between the quotes, or up to the closing parenthesis, that follows a key of the header dictionary.
std::string valueAfter(const std::string &header, const std::string &key, char open, char close) {
  size_t at = header.find("'" + key + "'");
  if (at == std::string::npos)
    return {};
  at = header.find(':', at);
  size_t begin = header.find(open, at);
  size_t end = begin == std::string::npos ? begin : header.find(close, begin + 1);
  return end == std::string::npos ? std::string() : header.substr(begin + 1, end - begin - 1);
}

} // namespace

Expected<HostTensor> readNpy(const std::string &path) {
  auto fail = [&](const std::string &why) { return Status(Code::Usage, "'" + path + "': " + why); };
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail("cannot open the file");
  char magic[8];
  if (!file.read(magic, 8) || std::memcmp(magic, "\x93NUMPY", 6) != 0)
    return fail("not a NumPy file");
  uint32_t length = 0;
  if (!file.read(reinterpret_cast<char *>(&length), magic[6] == 1 ? 2 : 4) || length > (1u << 20))
    return fail("damaged NumPy header");
  std::string header(length, '\0');
  if (!file.read(header.data(), length))
    return fail("truncated NumPy header");
  if (header.find("'fortran_order': False") == std::string::npos)
    return fail("expected C order, found Fortran order");
  std::string descr = valueAfter(header, "descr", '\'', '\'');
  const NpyType *found = nullptr;
  for (const NpyType &type : kTypes)
    if (descr == type.descr)
      found = &type;
  if (!found)
    return fail("element type '" + descr + "' is not supported; expected f4, f2, i4, i8, b1 or bf16 as V2");
  HostTensor tensor;
  tensor.type = found->type;
  std::string dims = valueAfter(header, "shape", '(', ')');
  int64_t total = 1;
  for (size_t at = 0; at < dims.size();) {
    if (dims[at] < '0' || dims[at] > '9') {
      ++at;
      continue;
    }
    int64_t size = 0;
    for (; at < dims.size() && dims[at] >= '0' && dims[at] <= '9'; ++at)
      if (__builtin_mul_overflow(size, int64_t{10}, &size) || __builtin_add_overflow(size, dims[at] - '0', &size))
        return fail("shape overflows");
    tensor.shape.push_back(size);
    if (__builtin_mul_overflow(total, size, &total) || total > (int64_t{1} << 40))
      return fail("shape overflows");
  }
  tensor.bytes.resize(static_cast<size_t>(total * plan::byteWidth(tensor.type)));
  if (!file.read(reinterpret_cast<char *>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size())))
    return fail("truncated: expected " + std::to_string(tensor.bytes.size()) + " bytes of data");
  if (file.peek() != std::char_traits<char>::eof())
    return fail("has more bytes than its shape needs");
  if (tensor.type == DataType::I1)
    for (std::byte value : tensor.bytes)
      if (std::to_integer<int>(value) > 1)
        return fail("expected 0 and 1 only, found " + std::to_string(std::to_integer<int>(value)));
  return tensor;
}

Status writeNpy(const HostTensor &tensor, const std::string &path) {
  const char *descr = "|b1";
  for (const NpyType &type : kTypes)
    if (type.type == tensor.type) {
      descr = type.descr;
      break;
    }
  std::string header = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (";
  for (int64_t size : tensor.shape)
    header += std::to_string(size) + ",";
  header += "), }";
  while ((10 + header.size() + 1) % 64 != 0)
    header += ' ';
  header += '\n';
  std::string temporary = path + ".tmp" + std::to_string(getpid());
  std::ofstream file(temporary, std::ios::binary);
  uint16_t length = static_cast<uint16_t>(header.size());
  file.write("\x93NUMPY\x01\x00", 8);
  file.write(reinterpret_cast<const char *>(&length), 2);
  file << header;
  file.write(reinterpret_cast<const char *>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    return Status(Code::Device, "cannot write '" + path + "'");
  }
  return {};
}

} // namespace tenon::runtime
