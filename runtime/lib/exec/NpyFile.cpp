// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/NpyFile.h"

#include "tenon/runtime/AtomicFile.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace tenon::runtime {
namespace {

constexpr size_t kHeaderLimit = 1 << 20;

struct Type {
  plan::DataType type;
  const char *descr;
};
// The first of a type is the one that is written.
constexpr Type kTypes[] = {
    {plan::DataType::F32, "<f4"}, {plan::DataType::F16, "<f2"},  {plan::DataType::BF16, "<V2"},
    {plan::DataType::I32, "<i4"}, {plan::DataType::I64, "<i8"},  {plan::DataType::I1, "|b1"},
    {plan::DataType::I1, "|u1"},  {plan::DataType::BF16, "|V2"}, {plan::DataType::BF16, "bfloat16"},
};

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

/// Reads the literal of a Python dictionary with the keys descr, fortran_order and shape.
class HeaderParser {
public:
  explicit HeaderParser(const std::string &text) : text_(text) {}

  bool parse(Header &header) {
    std::set<std::string> keys;
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':'))
        return false;
      bool ok = key == "descr"           ? string(header.descr)
                : key == "fortran_order" ? boolean(header.fortran)
                : key == "shape"         ? tuple(header.shape)
                                         : false;
      if (!ok)
        return false;
      if (!keys.insert(key).second)
        return false;
      if (!take(',') && !peek('}'))
        return false;
    }
    skip();
    return keys.size() == 3 && at_ == text_.size();
  }

private:
  void skip() {
    while (at_ < text_.size() && std::strchr(" \t\n", text_[at_]))
      ++at_;
  }
  bool peek(char c) {
    skip();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) {
    if (!peek(c))
      return false;
    ++at_;
    return true;
  }
  bool string(std::string &value) {
    skip();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"'))
      return false;
    size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string::npos)
      return false;
    value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool boolean(bool &value) {
    skip();
    for (bool candidate : {true, false}) {
      const char *word = candidate ? "True" : "False";
      if (text_.compare(at_, std::strlen(word), word) == 0) {
        value = candidate;
        at_ += std::strlen(word);
        return true;
      }
    }
    return false;
  }
  bool tuple(std::vector<int64_t> &value) {
    if (!take('('))
      return false;
    while (!take(')')) {
      skip();
      int64_t number = 0;
      size_t digits = 0;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_, ++digits)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text_[at_] - '0', &number))
          return false;
      if (digits == 0 || value.size() >= 32)
        return false;
      value.push_back(number);
      if (!take(',') && !peek(')'))
        return false;
    }
    return true;
  }

  const std::string &text_;
  size_t at_ = 0;
};

struct Close {
  void operator()(FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, Close>;

Status wrong(const std::string &path, const std::string &what) {
  return Status(Code::Usage, path + ": " + what);
}

std::string systemError() { return std::strerror(errno); }

} // namespace

Expected<HostArray> readNpy(const std::string &path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file)
    return wrong(path, "cannot open: " + systemError());
  unsigned char magic[8], length[4] = {};
  if (std::fread(magic, 1, 8, file.get()) != 8 || std::memcmp(magic, "\x93NUMPY", 6) != 0)
    return wrong(path, "not a .npy file");
  if (magic[6] != 1 && magic[6] != 2)
    return wrong(path, "expected .npy version 1 or 2, found " + std::to_string(magic[6]));
  size_t lengthBytes = magic[6] == 1 ? 2 : 4;
  if (std::fread(length, 1, lengthBytes, file.get()) != lengthBytes)
    return wrong(path, "truncated header");
  size_t headerBytes =
      length[0] | size_t(length[1]) << 8 | size_t(length[2]) << 16 | size_t(length[3]) << 24;
  if (headerBytes > kHeaderLimit)
    return wrong(path, "header of " + std::to_string(headerBytes) + " bytes is too long");
  std::string text(headerBytes, '\0');
  if (std::fread(text.data(), 1, headerBytes, file.get()) != headerBytes)
    return wrong(path, "truncated header");
  Header header;
  if (!HeaderParser(text).parse(header))
    return wrong(path, "malformed header");
  if (header.fortran)
    return wrong(path, "expected row-major order, found Fortran order");
  HostArray array;
  const Type *type = nullptr;
  for (const Type &candidate : kTypes)
    if (header.descr == candidate.descr)
      type = &candidate;
  if (!type)
    return wrong(path, "expected elements of f4, f2, i4, i8, b1, u1 or bf16 (V2), found '" +
                           header.descr + "'");
  array.type = type->type;
  array.shape = header.shape;
  int64_t bytes = plan::byteWidth(array.type);
  for (int64_t size : array.shape)
    if (__builtin_mul_overflow(bytes, size, &bytes))
      return wrong(path, "shape " + shapeOf(array.shape) + " overflows");
  struct stat info{};
  if (fstat(fileno(file.get()), &info) != 0)
    return wrong(path, systemError());
  int64_t rest = int64_t(info.st_size) - int64_t(8 + lengthBytes + headerBytes);
  if (S_ISREG(info.st_mode) && rest != bytes)
    return wrong(path, "expected " + std::to_string(bytes) + " bytes of data for shape " +
                           shapeOf(array.shape) + ", found " + std::to_string(rest));
  array.bytes.resize(size_t(bytes));
  if (std::fread(array.bytes.data(), 1, array.bytes.size(), file.get()) != array.bytes.size())
    return wrong(path, "cannot read " + std::to_string(bytes) + " bytes of data");
  if (array.type == plan::DataType::I1)
    for (std::byte value : array.bytes)
      if (value > std::byte(1))
        return wrong(path, "expected 0 or 1 in an array of '" + header.descr + "', found " +
                               std::to_string(int(value)));
  return array;
}

Status writeNpy(const std::string &path, const HostArray &array) {
  const char *descr = "";
  for (const Type &candidate : kTypes)
    if (candidate.type == array.type) {
      descr = candidate.descr;
      break;
    }
  std::string header = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (";
  for (int64_t size : array.shape)
    header += std::to_string(size) + ",";
  header += "), }";
  // The data begins at a multiple of 64.
  while ((10 + header.size() + 1) % 64)
    header += ' ';
  header += '\n';
  std::string head("\x93NUMPY\x01\x00", 8);
  head += char(header.size() & 0xff);
  head += char(header.size() >> 8);
  head += header;
  return writeFileAtomically(path, head.data(), head.size(), array.bytes.data(),
                             array.bytes.size());
}

} // namespace tenon::runtime
