// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/InputCheck.h"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::runtime {
namespace {

using plan::DataType;
using ::testing::HasSubstr;

template <typename T>
HostArray array(DataType type, std::vector<int64_t> shape, const std::vector<T> &values) {
  HostArray result{type, std::move(shape), {}};
  result.bytes.resize(values.size() * sizeof(T));
  std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
  return result;
}

plan::IO io(DataType type, std::vector<int64_t> shape, int64_t low = 0, int64_t high = 0) {
  plan::IO input;
  input.name = "ids";
  input.type = type;
  input.shape = std::move(shape);
  input.low = low;
  input.high = high;
  return input;
}

std::string refusal(const plan::IO &input, HostArray value) {
  Expected<HostArray> checked = checkInput(input, std::move(value));
  if (checked)
    return "";
  EXPECT_EQ(checked.status().code(), Code::Usage);
  return checked.status().message();
}

TEST(InputCheckTest, integersComeInEitherWidth) {
  auto wide = checkInput(io(DataType::I64, {2}), array<int32_t>(DataType::I32, {2}, {-1, 5}));
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->type, DataType::I64);
  EXPECT_EQ(elementAsInteger(DataType::I64, wide->bytes.data()), -1);
  auto narrow = checkInput(io(DataType::I32, {2}), array<int64_t>(DataType::I64, {2}, {-1, 5}));
  ASSERT_TRUE(narrow);
  EXPECT_EQ(elementAsInteger(DataType::I32, narrow->bytes.data() + 4), 5);
  EXPECT_THAT(
      refusal(io(DataType::I32, {2}), array<int64_t>(DataType::I64, {2}, {0, int64_t(1) << 31})),
      HasSubstr("element [1] is 2147483648, which i32 cannot hold"));
}

TEST(InputCheckTest, otherTypesAndShapesAreRefused) {
  EXPECT_THAT(refusal(io(DataType::I64, {2}), array<float>(DataType::F32, {2}, {0, 1})),
              HasSubstr("input 'ids': expected i64 2, found f32 2"));
  EXPECT_THAT(refusal(io(DataType::F32, {2}), array<int64_t>(DataType::I64, {2}, {0, 1})),
              HasSubstr("expected f32 2, found i64 2"));
  EXPECT_THAT(refusal(io(DataType::F32, {2}), array<float>(DataType::F32, {1, 2}, {0, 1})),
              HasSubstr("expected f32 2, found f32 1x2"));
}

TEST(InputCheckTest, rangesNameIndexValueAndRange) {
  plan::IO ids = io(DataType::I64, {2, 3}, 0, 10);
  EXPECT_EQ(refusal(ids, array<int64_t>(DataType::I64, {2, 3}, {0, 9, 1, 2, 3, 4})), "");
  EXPECT_THAT(refusal(ids, array<int64_t>(DataType::I64, {2, 3}, {0, 9, 1, 2, 10, 4})),
              HasSubstr("element [1,1] is 10, expected a value in [0, 10)"));
  EXPECT_THAT(refusal(ids, array<int32_t>(DataType::I32, {2, 3}, {-1, 9, 1, 2, 0, 4})),
              HasSubstr("element [0,0] is -1"));
}

TEST(InputCheckTest, aMaskRowNeedsAOne) {
  plan::IO mask = io(DataType::I1, {2, 2});
  mask.maskRows = true;
  EXPECT_EQ(refusal(mask, array<uint8_t>(DataType::I1, {2, 2}, {0, 1, 1, 0})), "");
  EXPECT_THAT(refusal(mask, array<uint8_t>(DataType::I1, {2, 2}, {0, 1, 0, 0})),
              HasSubstr("row [1] masks every position"));
}

TEST(InputCheckTest, randomInputsAreLegalAndDependOnSeedAndName) {
  plan::IO ids = io(DataType::I64, {64}, 3, 10);
  HostArray value = randomInput(ids, 1);
  EXPECT_EQ(refusal(ids, value), "");
  EXPECT_EQ(value.bytes, randomInput(ids, 1).bytes);
  EXPECT_NE(value.bytes, randomInput(ids, 2).bytes);
  plan::IO other = ids;
  other.name = "other";
  EXPECT_NE(value.bytes, randomInput(other, 1).bytes);
  plan::IO mask = io(DataType::I1, {2, 2});
  mask.maskRows = true;
  EXPECT_EQ(randomInput(mask, 1).bytes, std::vector<std::byte>(4, std::byte(1)));
}

} // namespace
} // namespace tenon::runtime
