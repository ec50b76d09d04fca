// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/RandomValues.h"

#include <cmath>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

// The known answers that come with Random123 for philox4x32 with ten rounds.
TEST(RandomValuesTest, philoxGivesTheKnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomValuesTest, anElementDoesNotDependOnTheWayToIt) {
  RandomValues forwards(7, "layer.weight"), backwards(7, "layer.weight");
  std::vector<float> values;
  for (int64_t i = 0; i < 100; ++i)
    values.push_back(forwards.normal(i));
  for (int64_t i = 99; i >= 0; --i)
    EXPECT_EQ(backwards.normal(i), values[size_t(i)]);
}

TEST(RandomValuesTest, seedAndNameTellSequencesApart) {
  EXPECT_NE(RandomValues(1, "a").bits(0), RandomValues(2, "a").bits(0));
  EXPECT_NE(RandomValues(1, "a").bits(0), RandomValues(1, "b").bits(0));
  EXPECT_NE(RandomValues(1, "a").bits(0), RandomValues(1, "a").bits(int64_t(1) << 40));
}

TEST(RandomValuesTest, normalsHaveMeanZeroAndVarianceOne) {
  RandomValues random(3, "w");
  const int64_t count = 100000;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    double value = random.normal(i);
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
  }
  // Five standard errors: 5 / sqrt(n) and 5 * sqrt(2 / n).
  EXPECT_LT(std::abs(sum / count), 0.016);
  EXPECT_LT(std::abs(squares / count - 1), 0.0224);
}

} // namespace
} // namespace tenon::runtime
