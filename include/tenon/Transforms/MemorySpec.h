// SPDX-License-Identifier: Apache-2.0
// The `memory` option: shard, none, or a number of bytes per rank (16000000000, 512MiB, 16GiB,
// 16GB).
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace tenon {

struct MemoryDemand {
  bool shardWeights = false;                           ///< Every weight must use every axis.
  int64_t limit = std::numeric_limits<int64_t>::max(); ///< Bytes of weights and arena per rank.
};

/// Nullopt when malformed; `error` says what was expected.
std::optional<MemoryDemand> parseMemory(llvm::StringRef text, std::string &error);

} // namespace tenon
