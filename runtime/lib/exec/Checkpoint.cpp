// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Weights.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tenon::runtime {

using nlohmann::json;
using plan::DataType;

namespace {

constexpr uint64_t kHeaderLimit = 100'000'000;

bool typeOf(const std::string &text, DataType &type) {
  static const std::map<std::string, DataType> types = {{"F32", DataType::F32}, {"BF16", DataType::BF16}, {"F16", DataType::F16},
                                                        {"I32", DataType::I32}, {"I64", DataType::I64},   {"BOOL", DataType::I1}};
  auto it = types.find(text);
  if (it == types.end())
    return false;
  type = it->second;
  return true;
}

/// Everything that a header entry must satisfy; returns what is wrong. Tensors of a type that no plan holds are skipped.
std::string parseEntry(const json &entry, uint64_t dataBytes, StoredTensor &tensor, uint64_t &begin, uint64_t &end, bool &known) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2)
    return "expected dtype, shape and two data_offsets";
  known = typeOf(entry["dtype"].get<std::string>(), tensor.type);
  int64_t elements = 1;
  for (const json &size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      return "shape holds " + size.dump();
    tensor.shape.push_back(size.get<int64_t>());
    if (__builtin_mul_overflow(elements, tensor.shape.back(), &elements))
      return "shape " + entry["shape"].dump() + " overflows";
  }
  for (const json &offset : entry["data_offsets"])
    if (!offset.is_number_unsigned())
      return "data_offsets hold " + offset.dump();
  begin = entry["data_offsets"][0].get<uint64_t>();
  end = entry["data_offsets"][1].get<uint64_t>();
  if (begin > end || end > dataBytes)
    return "bytes [" + std::to_string(begin) + ", " + std::to_string(end) + ") lie outside the " + std::to_string(dataBytes) +
           " bytes of data";
  int64_t bytes = 0;
  if (known && (__builtin_mul_overflow(elements, plan::byteWidth(tensor.type), &bytes) || static_cast<uint64_t>(bytes) != end - begin))
    return "shape " + entry["shape"].dump() + " of " + entry["dtype"].get<std::string>() + " needs another number of bytes than " +
           std::to_string(end - begin);
  return {};
}

} // namespace

Checkpoint::~Checkpoint() {
  for (const Mapping &mapping : mappings_)
    munmap(mapping.memory, mapping.bytes);
}

const StoredTensor *Checkpoint::find(const std::string &key) const {
  auto it = tensors_.find(key);
  return it == tensors_.end() ? nullptr : &it->second;
}

Status Checkpoint::addFile(const std::string &path) {
  std::error_code ignored;
  std::string canonical = std::filesystem::weakly_canonical(path, ignored).string();
  if (std::find(files_.begin(), files_.end(), canonical) != files_.end())
    return {};
  files_.push_back(canonical);
  auto fail = [&](const std::string &why) { return Status(Code::Plan, "'" + path + "': " + why); };
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail(std::string("cannot open the file: ") + std::strerror(errno));
  struct stat info;
  uint64_t headerBytes = 0;
  if (fstat(file, &info) != 0 || pread(file, &headerBytes, 8, 0) != 8) {
    ::close(file);
    return fail("too short for a safetensors file");
  }
  const auto fileBytes = static_cast<uint64_t>(info.st_size);
  if (headerBytes > kHeaderLimit || headerBytes + 8 > fileBytes) {
    ::close(file);
    return fail("header of " + std::to_string(headerBytes) + " bytes; expected at most 100 MB and the file's " + std::to_string(fileBytes));
  }
  void *memory = mmap(nullptr, fileBytes, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  if (memory == MAP_FAILED)
    return fail(std::string("cannot map the file: ") + std::strerror(errno));
  mappings_.push_back({memory, fileBytes});
  const auto *bytes = static_cast<const std::byte *>(memory);
  json header = json::parse(reinterpret_cast<const char *>(bytes) + 8, reinterpret_cast<const char *>(bytes) + 8 + headerBytes, nullptr, false);
  if (!header.is_object())
    return fail("header is not a JSON object");
  const uint64_t dataBytes = fileBytes - 8 - headerBytes;
  std::vector<std::tuple<uint64_t, uint64_t, std::string>> ranges;
  for (const auto &[key, entry] : header.items()) {
    if (key == "__metadata__")
      continue;
    StoredTensor tensor;
    uint64_t begin = 0, end = 0;
    bool known = false;
    if (std::string why = parseEntry(entry, dataBytes, tensor, begin, end, known); !why.empty())
      return fail("tensor '" + key + "': " + why);
    if (begin != end)
      ranges.emplace_back(begin, end, key);
    if (!known)
      continue;
    tensor.data = bytes + 8 + headerBytes + begin;
    tensor.file = path;
    auto [it, isNew] = tensors_.try_emplace(key, std::move(tensor));
    if (!isNew)
      return fail("tensor '" + key + "' is also in '" + it->second.file + "'");
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (std::get<0>(ranges[i]) < std::get<1>(ranges[i - 1]))
      return fail("tensors '" + std::get<2>(ranges[i - 1]) + "' and '" + std::get<2>(ranges[i]) + "' overlap");
  return {};
}

Status Checkpoint::addDirectory(const std::string &path) {
  namespace fs = std::filesystem;
  std::set<std::string> files;
  std::error_code error;
  fs::path index = fs::path(path) / "model.safetensors.index.json";
  const bool sharded = fs::exists(index, error) && !fs::exists(fs::path(path) / "model.safetensors", error);
  if (sharded) {
    std::ifstream text(index);
    json root = json::parse(text, nullptr, false);
    if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object())
      return Status(Code::Plan, "'" + index.string() + "': expected an object with a weight_map");
    for (const auto &[key, file] : root["weight_map"].items()) {
      if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
        return Status(Code::Plan, "'" + index.string() + "': '" + key + "' names " + file.dump());
      files.insert((fs::path(path) / file.get<std::string>()).string());
    }
  }
  for (const fs::directory_entry &entry : fs::directory_iterator(path, error))
    if (entry.path().extension() == ".safetensors")
      files.insert(entry.path().string());
  if (error)
    return Status(Code::Plan, "'" + path + "': cannot list the directory: " + error.message());
  for (const std::string &file : files)
    if (Status status = addFile(file); !status)
      return status;
  return {};
}

Expected<std::shared_ptr<Checkpoint>> Checkpoint::open(const std::vector<std::string> &paths) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint());
  for (const std::string &path : paths) {
    checkpoint->where_ += (checkpoint->where_.empty() ? "" : ",") + path;
    std::error_code error;
    Status status = std::filesystem::is_directory(path, error) ? checkpoint->addDirectory(path) : checkpoint->addFile(path);
    if (!status)
      return status;
  }
  return checkpoint;
}

} // namespace tenon::runtime
