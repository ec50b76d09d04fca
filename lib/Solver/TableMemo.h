// SPDX-License-Identifier: Apache-2.0
// TableMemo: numbers tables by content, and remembers what minimising a bucket gave. Layers of a
// model repeat, so their buckets hold the same tables in the same arrangement: each arrangement is
// computed once. Equality is always checked in full; a hash only finds the candidates.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace tenon::solver {

class TableMemo {
public:
  struct Result {
    int32_t id = -1;               ///< Content number of the resulting table.
    const double *costs = nullptr; ///< Null: not seen yet.
  };

  /// Number of a table with these dimensions and costs; equal content, equal number. Keeps the
  /// pointer.
  int32_t number(const std::vector<int32_t> &dimensions, const double *costs, int64_t entries);

  /// Looks up an arrangement: content numbers and positions of a bucket, as one list of words.
  Result find(const std::vector<int32_t> &key);
  /// Remembers the result of the arrangement last looked up; returns its content number.
  int32_t remember(const std::vector<int32_t> &key, const double *costs);

private:
  struct Content {
    std::vector<int32_t> dimensions;
    const double *costs;
    int32_t id;
  };
  struct Arrangement {
    int64_t begin, end; ///< In words.
    Result result;
  };
  std::unordered_multimap<uint64_t, Content> contents;
  std::unordered_multimap<uint64_t, Arrangement> arrangements;
  std::vector<int32_t> words;
  int32_t next = 0;
};

} // namespace tenon::solver
