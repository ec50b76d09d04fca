// SPDX-License-Identifier: Apache-2.0
// Conversions of 16-bit floats: all of them round trip, and rounding against the neighbours.
#include "tenon/runtime/comm/HalfFloat.h"

#include <cmath>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

TEST(HalfFloat, everyValueRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float wide = f16ToF32(uint16_t(bits));
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(wide))));
    } else {
      EXPECT_EQ(f32ToF16(wide), bits);
    }
    float bf = bf16ToF32(uint16_t(bits));
    if (std::isnan(bf)) {
      EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBf16(bf))));
    } else {
      EXPECT_EQ(f32ToBf16(bf), bits);
    }
  }
}

TEST(HalfFloat, knownValues) {
  EXPECT_EQ(f16ToF32(0x3c00), 1.0f);
  EXPECT_EQ(f16ToF32(0x7bff), 65504.0f);
  EXPECT_EQ(f16ToF32(0x0001), 0x1p-24f);
  EXPECT_EQ(bf16ToF32(0x3f80), 1.0f);
}

// Between two neighbours the nearer wins; in the middle the even one.
TEST(HalfFloat, roundsToNearestEven) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    float low = f16ToF32(bits), high = f16ToF32(uint16_t(bits + 1)), middle = (low + high) / 2;
    EXPECT_EQ(f32ToF16(middle), bits % 2 ? bits + 1 : bits);
    EXPECT_EQ(f32ToF16(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(f32ToF16(std::nextafter(middle, 1e9f)), bits + 1);
    EXPECT_EQ(f32ToF16(-std::nextafter(middle, 1e9f)), 0x8000 | (bits + 1));
  }
  EXPECT_EQ(f32ToF16(65519.0f), 0x7bff);
  EXPECT_EQ(f32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(f32ToBf16(1 + 0x1p-8f), f32ToBf16(1.0f));
  EXPECT_EQ(bf16ToF32(f32ToBf16(1 + 0x1.8p-8f)), 1 + 0x1p-7f);
}

} // namespace
} // namespace tenon::runtime
