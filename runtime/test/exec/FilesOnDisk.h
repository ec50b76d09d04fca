// SPDX-License-Identifier: Apache-2.0
// FilesOnDisk: a directory that goes with the test, and files made of given bytes: safetensors with
// any header, .npy with any header.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace tenon::runtime::test {

class FilesOnDisk : public ::testing::Test {
protected:
  FilesOnDisk() {
    std::string pattern = ::testing::TempDir() + "tenonXXXXXX";
    directory = mkdtemp(pattern.data());
  }
  ~FilesOnDisk() override {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
  }

  /// Writes a file and returns its path.
  std::string write(const std::string &name, const std::string &bytes) {
    std::ofstream(directory / name, std::ios::binary) << bytes;
    return directory / name;
  }
  static std::string read(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  /// Length, header, data, as given.
  static std::string safetensors(const std::string &header, const std::string &data) {
    uint64_t length = header.size();
    return std::string(reinterpret_cast<const char *>(&length), 8) + header + data;
  }
  template <typename T> static std::string bytesOf(const std::vector<T> &values) {
    return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
  }
  static std::string numbers(int from, int count) {
    std::vector<float> values;
    for (int i = 0; i < count; ++i)
      values.push_back(float(from + i));
    return bytesOf(values);
  }

  std::filesystem::path directory;
};

} // namespace tenon::runtime::test
