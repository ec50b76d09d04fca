// SPDX-License-Identifier: Apache-2.0
// RangeMap: half-open ranges of integers with a value each, where a new range replaces what it
// covers. Assigning [0, 10) a and then [4, 6) b leaves a on [0, 4), b on [4, 6), a on [6, 10). n
// assignments take O(n log n) in all.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace tenon::plan {

template <typename T> class RangeMap {
public:
  /// Sets [begin, end) to the value.
  void assign(int64_t begin, int64_t end, const T &value) {
    if (begin >= end)
      return;
    splitAt(begin);
    splitAt(end);
    ranges.erase(ranges.lower_bound(begin), ranges.lower_bound(end));
    ranges.emplace(begin, Range{end, value});
  }

  /// Calls visit(begin, end, value) for the ranges that meet [begin, end), clipped to it, in
  /// ascending order, until it returns false. Returns false when it did.
  template <typename Visit> bool visit(int64_t begin, int64_t end, Visit &&visit) const {
    if (begin >= end)
      return true;
    auto it = ranges.upper_bound(begin);
    if (it != ranges.begin() && std::prev(it)->second.end > begin)
      --it;
    for (; it != ranges.end() && it->first < end; ++it)
      if (!visit(it->first < begin ? begin : it->first, it->second.end < end ? it->second.end : end,
                 it->second.value))
        return false;
    return true;
  }

  /// Returns the first integer of [begin, end) that no range covers, or end.
  int64_t firstGap(int64_t begin, int64_t end) const {
    visit(begin, end, [&](int64_t from, int64_t to, const T &) {
      if (from > begin)
        return false;
      begin = to;
      return true;
    });
    return begin < end ? begin : end;
  }

private:
  struct Range {
    int64_t end;
    T value;
  };
  std::map<int64_t, Range> ranges; ///< By begin; they never overlap.

  void splitAt(int64_t at) {
    auto it = ranges.lower_bound(at);
    if (it == ranges.begin())
      return;
    --it;
    if (it->second.end <= at)
      return;
    Range tail = it->second;
    it->second.end = at;
    ranges.emplace(at, std::move(tail));
  }
};

} // namespace tenon::plan
