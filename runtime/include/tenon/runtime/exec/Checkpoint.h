// SPDX-License-Identifier: Apache-2.0
// Checkpoint: which file holds which key, over everything that `--parameters=A,B` names. A is a
// safetensors file, or a directory: of model.safetensors, or else the shards of
// model.safetensors.index.json, and of all other *.safetensors (constants.safetensors). Keys that
// no plan asks for may stand in two files.
#pragma once

#include "tenon/runtime/exec/SafetensorsFile.h"

#include <string>
#include <utility>
#include <vector>

namespace tenon::runtime {

class Checkpoint {
public:
  /// Opens all files and checks their headers. Fails with Code::Plan.
  static Expected<Checkpoint> open(const std::vector<std::string> &parameters);

  struct Found {
    SafetensorsFile *file = nullptr;
    const StoredTensor *tensor = nullptr;
  };
  /// Finds a key; `file` is null when no file has it. Fails with Code::Plan when two have it.
  Expected<Found> find(const std::string &key) const;

  /// Behind "is missing": " in A, B", or that no file was given.
  std::string whereMissing() const;
  /// What ranks compare: the fingerprints of the files, in order.
  std::string fingerprint() const;

private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
};

} // namespace tenon::runtime
