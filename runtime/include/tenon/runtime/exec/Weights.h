// SPDX-License-Identifier: Apache-2.0
// Weights: where elements of stored tensors come from (safetensors files, or random numbers), and the loader that fills
// one rank's share of a plan's weight.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime {

/// One tensor of a safetensors file. The mapping lives as long as the checkpoint.
struct StoredTensor {
  plan::DataType type = plan::DataType::F32;
  std::vector<int64_t> shape;
  const std::byte *data = nullptr;
  std::string file;
};

/// Safetensors files, mapped read-only after their headers were checked: at most 100 MB of header, ranges that lie
/// inside the file and do not overlap, shapes that do not overflow and match their bytes. A directory stands for
/// model.safetensors, or the files that model.safetensors.index.json names, plus every other *.safetensors file.
class Checkpoint {
public:
  /// Opens files and directories. Fails with Code::Plan naming the file (and key); two files with one key are an error.
  static Expected<std::shared_ptr<Checkpoint>> open(const std::vector<std::string> &paths);
  ~Checkpoint();
  Checkpoint(const Checkpoint &) = delete;
  Checkpoint &operator=(const Checkpoint &) = delete;

  const StoredTensor *find(const std::string &key) const;
  /// The files and directories as given, for messages.
  const std::string &where() const { return where_; }

private:
  Checkpoint() = default;
  Status addFile(const std::string &path);
  Status addDirectory(const std::string &path);
  struct Mapping {
    void *memory;
    size_t bytes;
  };
  std::vector<Mapping> mappings_;
  std::vector<std::string> files_;
  std::map<std::string, StoredTensor> tensors_;
  std::string where_;
};

/// Where the loader takes elements from. Keys that a checkpoint holds win over random numbers, so that constants keep their values.
struct WeightSource {
  std::shared_ptr<const Checkpoint> checkpoint; ///< May be null.
  bool random = false;
  uint64_t seed = 0;
};

/// Fills `out` (weight.elements of weight.type, zeros before) with this rank's nested blocks of every part. Fails with
/// Code::Plan: key missing, another shape or type. Counts the bytes copied.
Status loadWeight(const plan::Weight &weight, const std::vector<plan::MeshAxis> &mesh, const std::vector<int64_t> &coordinates,
                  const WeightSource &source, std::byte *out, int64_t &copiedBytes);

/// Element `index` of the random tensor `key`: Philox 4x32-10 (Salmon et al. 2011) on the hash of the key and the index, normal with
/// deviation 0.02 by Box-Muller. The same at every degree.
float randomElement(uint64_t seed, const std::string &key, int64_t index);

} // namespace tenon::runtime
