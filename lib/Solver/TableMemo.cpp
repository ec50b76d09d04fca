// SPDX-License-Identifier: Apache-2.0
// Hashing by multiply and shift, eight bytes at a time.

#include "TableMemo.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tenon::solver {

static uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
  return hash ^ (hash >> 32);
}

static uint64_t hashWords(const std::vector<int32_t> &list) {
  uint64_t hash = list.size();
  for (int32_t word : list)
    hash = mix(hash, static_cast<uint32_t>(word));
  return hash;
}

int32_t TableMemo::number(const std::vector<int32_t> &dimensions, const double *costs,
                          int64_t entries) {
  uint64_t hash = hashWords(dimensions);
  for (int64_t i = 0; i < entries; ++i)
    hash = mix(hash, std::bit_cast<uint64_t>(costs[i]));
  auto [begin, end] = contents.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (it->second.dimensions == dimensions &&
        std::memcmp(it->second.costs, costs, static_cast<size_t>(entries) * sizeof(double)) == 0)
      return it->second.id;
  contents.insert({hash, {dimensions, costs, next}});
  return next++;
}

TableMemo::Result TableMemo::find(const std::vector<int32_t> &key) {
  auto [begin, end] = arrangements.equal_range(hashWords(key));
  for (auto it = begin; it != end; ++it)
    if (std::equal(key.begin(), key.end(), words.begin() + it->second.begin,
                   words.begin() + it->second.end))
      return it->second.result;
  return {};
}

int32_t TableMemo::remember(const std::vector<int32_t> &key, const double *costs) {
  const auto begin = static_cast<int64_t>(words.size());
  words.insert(words.end(), key.begin(), key.end());
  arrangements.insert({hashWords(key), {begin, static_cast<int64_t>(words.size()), {next, costs}}});
  return next++;
}

} // namespace tenon::solver
