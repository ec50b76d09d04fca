// SPDX-License-Identifier: Apache-2.0
#include "tenon/Transforms/MemorySpec.h"

using namespace tenon;

std::optional<MemoryDemand> tenon::parseMemory(llvm::StringRef text, std::string &error) {
  if (text == "shard" || text == "none")
    return MemoryDemand{text == "shard"};
  static constexpr std::pair<const char *, int64_t> kUnits[] = {{"KiB", 1ll << 10},
                                                                {"MiB", 1ll << 20},
                                                                {"GiB", 1ll << 30},
                                                                {"KB", 1'000},
                                                                {"MB", 1'000'000},
                                                                {"GB", 1'000'000'000},
                                                                {"B", 1}};
  llvm::StringRef number = text;
  int64_t unit = 1;
  for (auto [name, bytes] : kUnits)
    if (number.consume_back(name)) {
      unit = bytes;
      break;
    }
  int64_t count = 0;
  if (number.empty() || number.getAsInteger(10, count) || count <= 0 ||
      count > (int64_t(1) << 50) / unit) {
    error = "unknown memory '" + text.str() +
            "'; expected shard, none, or bytes per rank such as 16GiB";
    return std::nullopt;
  }
  return MemoryDemand{false, count * unit};
}
