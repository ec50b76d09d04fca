// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Checkpoint.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace tenon::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The shards that an index names.
Expected<std::set<std::string>> readIndex(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  json index = in ? json::parse(text.str(), nullptr, false) : json();
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return Status(Code::Plan, path.string() + ": expected a JSON object with a weight_map");
  std::set<std::string> shards;
  for (const auto &[key, shard] : index["weight_map"].items()) {
    if (!shard.is_string())
      return Status(Code::Plan, path.string() + ": key '" + key + "': expected a file name");
    std::string name = shard.get<std::string>();
    // A shard lies beside its index.
    if (name.empty() || name.find('/') != std::string::npos)
      return Status(Code::Plan, path.string() + ": key '" + key +
                                    "': expected the name of a file beside the index, found '" +
                                    name + "'");
    shards.insert(name);
  }
  return shards;
}

/// The files of a directory, in order of their names. model.safetensors goes before an index.
Expected<std::set<std::string>> filesOf(const fs::path &directory) {
  std::set<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".safetensors")
      files.insert(it->path().filename().string());
  if (error)
    return Status(Code::Plan, directory.string() + ": " + error.message());
  fs::path index = directory / "model.safetensors.index.json";
  if (!files.count("model.safetensors") && fs::exists(index, error)) {
    Expected<std::set<std::string>> shards = readIndex(index);
    if (!shards)
      return shards.status();
    files.insert(shards->begin(), shards->end());
  }
  return files;
}

} // namespace

Expected<Checkpoint> Checkpoint::open(const std::vector<std::string> &parameters) {
  Checkpoint result;
  std::set<std::string> opened;
  auto openFile = [&](const std::string &path) {
    std::error_code error;
    if (!opened.insert(fs::weakly_canonical(path, error).string()).second)
      return Status();
    Expected<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::open(path);
    if (!file)
      return file.status();
    result.files_.push_back(std::move(*file));
    return Status();
  };
  for (const std::string &parameter : parameters) {
    std::error_code error;
    fs::file_status kind = fs::status(parameter, error);
    if (!fs::exists(kind))
      return Status(Code::Plan, parameter + ": " + std::strerror(ENOENT));
    if (!fs::is_directory(kind)) {
      if (Status status = openFile(parameter); !status)
        return status;
      continue;
    }
    Expected<std::set<std::string>> files = filesOf(parameter);
    if (!files)
      return files.status();
    for (const std::string &name : *files)
      if (Status status = openFile((fs::path(parameter) / name).string()); !status)
        return status;
  }
  return result;
}

Expected<Checkpoint::Found> Checkpoint::find(const std::string &key) const {
  Found found;
  for (const std::unique_ptr<SafetensorsFile> &file : files_) {
    auto at = file->tensors().find(key);
    if (at == file->tensors().end())
      continue;
    if (found.file)
      return Status(Code::Plan, "key '" + key + "' is in " + found.file->path() + " and in " +
                                    file->path() + ": name the one file in --parameters");
    found = {file.get(), &at->second};
  }
  return found;
}

std::string Checkpoint::whereMissing() const {
  std::string text;
  for (const std::unique_ptr<SafetensorsFile> &file : files_)
    text += (text.empty() ? "" : ", ") + file->path();
  return text.empty() ? ": --parameters names no safetensors file" : " in " + text;
}

std::string Checkpoint::fingerprint() const {
  std::string text;
  for (const std::unique_ptr<SafetensorsFile> &file : files_) {
    char number[24];
    std::snprintf(number, sizeof(number), "%016llx",
                  static_cast<unsigned long long>(file->fingerprint()));
    text += (text.empty() ? "" : " ") + std::string(number);
  }
  return text.empty() ? "none" : text;
}

} // namespace tenon::runtime
