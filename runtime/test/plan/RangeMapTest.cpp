// SPDX-License-Identifier: Apache-2.0
// RangeMap against an array.
#include "RangeMap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

using tenon::plan::RangeMap;

namespace {

TEST(RangeMap, AgreesWithAnArray) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    RangeMap<int> map;
    std::vector<int> twin(40, -1);
    for (int step = 1; step <= 20; ++step) {
      int begin = random() % 41, end = random() % 41;
      map.assign(begin, end, step);
      for (int i = begin; i < end; ++i)
        twin[i] = step;
      int from = random() % 41, to = random() % 41;
      std::vector<int> seen(40, -1), expected(40, -1);
      map.visit(from, to, [&](int64_t b, int64_t e, int value) {
        std::fill(seen.begin() + b, seen.begin() + e, value);
        return true;
      });
      for (int i = from; i < to; ++i)
        expected[i] = twin[i];
      ASSERT_EQ(seen, expected);
      int gap = from;
      while (gap < to && twin[gap] >= 0)
        ++gap;
      ASSERT_EQ(map.firstGap(from, std::max(from, to)), gap);
    }
  }
}

} // namespace
