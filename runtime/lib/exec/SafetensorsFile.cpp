// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/SafetensorsFile.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tenon::runtime {
namespace {

using nlohmann::json;

// The limit of the format's own implementation.
constexpr int64_t kHeaderLimit = 100 << 20;

struct Width {
  const char *dtype;
  int64_t bits;
};
constexpr Width kWidths[] = {{"F64", 64}, {"F32", 32},    {"F16", 16},    {"BF16", 16},
                             {"I64", 64}, {"I32", 32},    {"I16", 16},    {"I8", 8},
                             {"U64", 64}, {"U32", 32},    {"U16", 16},    {"U8", 8},
                             {"BOOL", 8}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}};

int64_t widthOf(const std::string &dtype) {
  for (const Width &width : kWidths)
    if (dtype == width.dtype)
      return width.bits / 8;
  return 0;
}

bool readFully(int descriptor, void *to, int64_t bytes, int64_t offset) {
  char *at = static_cast<char *>(to);
  while (bytes > 0) {
    ssize_t n = pread(descriptor, at, size_t(bytes), offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    at += n, bytes -= n, offset += n;
  }
  return true;
}

/// Reads one entry of the header. Empty when it is well formed.
std::string readTensor(const json &entry, StoredTensor &tensor) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    return "expected dtype, shape and data_offsets";
  const json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!dtype.is_string())
    return "expected a string as dtype";
  tensor.dtype = dtype.get<std::string>();
  int64_t bytes = widthOf(tensor.dtype);
  if (bytes == 0)
    return "unknown dtype '" + tensor.dtype + "'";
  if (!shape.is_array())
    return "expected a list as shape";
  for (const json &size : shape) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > uint64_t(INT64_MAX))
      return "expected non-negative integers in shape, found " + size.dump();
    tensor.shape.push_back(size.get<int64_t>());
  }
  bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  for (int64_t size : tensor.shape)
    if (!empty && __builtin_mul_overflow(bytes, size, &bytes))
      return "shape " + shape.dump() + " overflows";
  if (empty)
    bytes = 0;
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned() || offsets[0].get<uint64_t>() > uint64_t(INT64_MAX) ||
      offsets[1].get<uint64_t>() > uint64_t(INT64_MAX))
    return "expected two non-negative integers in data_offsets, found " + offsets.dump();
  tensor.begin = offsets[0].get<int64_t>();
  tensor.end = offsets[1].get<int64_t>();
  if (tensor.end < tensor.begin || tensor.end - tensor.begin != bytes)
    return "expected " + std::to_string(bytes) + " bytes for " + tensor.dtype + " " + shape.dump() +
           ", found data_offsets " + offsets.dump();
  return "";
}

} // namespace

Expected<std::unique_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string &path) {
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->path_ = path;
  file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->descriptor_ < 0)
    return Status(Code::Plan, path + ": cannot open: " + std::strerror(errno));
  if (Status status = file->readHeader(); !status)
    return status;
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  unmap();
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

Status SafetensorsFile::readHeader() {
  auto wrong = [&](const std::string &what) { return Status(Code::Plan, path_ + ": " + what); };
  struct stat info{};
  if (fstat(descriptor_, &info) != 0)
    return wrong(std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return wrong("expected a file");
  fileBytes_ = info.st_size;
  unsigned char start[8];
  if (fileBytes_ < 8 || !readFully(descriptor_, start, 8, 0))
    return wrong("expected a safetensors file, found " + std::to_string(fileBytes_) + " bytes");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | start[i];
  if (length > uint64_t(kHeaderLimit))
    return wrong("header of " + std::to_string(length) + " bytes, expected at most " +
                 std::to_string(kHeaderLimit));
  if (int64_t(length) > fileBytes_ - 8)
    return wrong("header of " + std::to_string(length) + " bytes in a file of " +
                 std::to_string(fileBytes_) + ": the file is truncated");
  dataStart_ = 8 + int64_t(length);
  std::string text(size_t(length), '\0');
  if (!readFully(descriptor_, text.data(), int64_t(length), 8))
    return wrong("cannot read the header");
  json header = json::parse(text, nullptr, false);
  if (!header.is_object())
    return wrong("the header is not a JSON object");
  for (const auto &[key, entry] : header.items()) {
    if (key == "__metadata__")
      continue;
    StoredTensor tensor;
    if (std::string what = readTensor(entry, tensor); !what.empty())
      return wrong("key '" + key + "': " + what);
    tensors_.emplace(key, std::move(tensor));
  }
  return checkCoverage();
}

Status SafetensorsFile::checkCoverage() const {
  using Entry = std::pair<const std::string, StoredTensor>;
  std::vector<const Entry *> order;
  for (const Entry &entry : tensors_)
    order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const Entry *a, const Entry *b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  const int64_t dataBytes = fileBytes_ - dataStart_;
  int64_t next = 0;
  const std::string *before = nullptr;
  for (const Entry *entry : order) {
    const StoredTensor &tensor = entry->second;
    std::string place = path_ + ": key '" + entry->first + "' lies at bytes " +
                        std::to_string(tensor.begin) + " to " + std::to_string(tensor.end);
    if (tensor.begin < next)
      return Status(Code::Plan, place + " and overlaps key '" + *before + "'");
    if (tensor.begin > next)
      return Status(Code::Plan, place + ", expected to begin at " + std::to_string(next));
    if (tensor.end > dataBytes)
      return Status(Code::Plan, place + ", the file has " + std::to_string(dataBytes) +
                                    " bytes of data: it is truncated");
    next = tensor.end;
    before = &entry->first;
  }
  if (next != dataBytes)
    return Status(Code::Plan, path_ + ": expected " + std::to_string(next) +
                                  " bytes of data, found " + std::to_string(dataBytes));
  return Status();
}

Expected<const std::byte *> SafetensorsFile::data(const StoredTensor &tensor) {
  if (!mapping_) {
    struct stat info{};
    if (fstat(descriptor_, &info) != 0 || info.st_size != fileBytes_)
      return Status(Code::Plan, path_ + ": the file has changed while it was read");
    void *mapping = mmap(nullptr, size_t(fileBytes_), PROT_READ, MAP_PRIVATE, descriptor_, 0);
    if (mapping == MAP_FAILED)
      return Status(Code::Memory, path_ + ": cannot map " + std::to_string(fileBytes_) +
                                      " bytes: " + std::strerror(errno));
    mapping_ = mapping;
  }
  return static_cast<const std::byte *>(mapping_) + dataStart_ + tensor.begin;
}

void SafetensorsFile::unmap() {
  if (mapping_)
    munmap(mapping_, size_t(fileBytes_));
  mapping_ = nullptr;
}

uint64_t SafetensorsFile::fingerprint() const {
  constexpr int64_t page = 4096, pages = 64;
  std::string text = std::to_string(fileBytes_);
  auto add = [&](int64_t begin, int64_t bytes) {
    const size_t before = text.size();
    text.resize(before + size_t(std::max<int64_t>(0, std::min(bytes, fileBytes_ - begin))));
    ssize_t got = pread(descriptor_, text.data() + before, text.size() - before, begin);
    text.resize(before + size_t(std::max<ssize_t>(0, got)));
  };
  add(0, dataStart_);
  const int64_t data = fileBytes_ - dataStart_;
  for (int64_t i = 0; i < pages; ++i)
    add(dataStart_ + data / pages * i, page);
  return std::hash<std::string>()(text);
}

} // namespace tenon::runtime
