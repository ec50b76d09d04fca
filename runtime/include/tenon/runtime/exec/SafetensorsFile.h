// SPDX-License-Identifier: Apache-2.0
// SafetensorsFile: one checkpoint file, its header checked whole before anybody looks at data, then
// mapped. A file that passed cannot lead outside the mapping: 8 bytes of header length (at most 100
// MB), JSON {key: {dtype, shape, data_offsets}}, then the data, which the tensors cover without
// gaps or overlap.
#pragma once

#include "tenon/runtime/Status.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime {

/// A stored tensor: dtype as the file spells it ("F32", "BF16", ...), place in the data.
struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0; ///< Bytes in the data.
};

class SafetensorsFile {
public:
  /// Reads and checks the header. Fails with Code::Plan; the message names the file, and the key
  /// where one is at fault.
  static Expected<std::unique_ptr<SafetensorsFile>> open(const std::string &path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile &) = delete;
  SafetensorsFile &operator=(const SafetensorsFile &) = delete;

  const std::string &path() const { return path_; }
  const std::map<std::string, StoredTensor> &tensors() const { return tensors_; }

  /// A hash of size, header and 64 pages spread over the data: two files with one fingerprint are
  /// one checkpoint, but for changes between those pages.
  uint64_t fingerprint() const;

  /// Maps the file if it still has the size that was checked and returns the tensor's bytes.
  Expected<const std::byte *> data(const StoredTensor &tensor);
  void unmap();

private:
  SafetensorsFile() = default;
  Status readHeader();
  Status checkCoverage() const;

  std::string path_;
  int descriptor_ = -1;
  int64_t fileBytes_ = 0, dataStart_ = 0;
  std::map<std::string, StoredTensor> tensors_;
  void *mapping_ = nullptr;
};

} // namespace tenon::runtime
