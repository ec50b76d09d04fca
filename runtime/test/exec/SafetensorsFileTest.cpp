// SPDX-License-Identifier: Apache-2.0
#include "FilesOnDisk.h"

#include "tenon/runtime/exec/Checkpoint.h"

#include <gmock/gmock.h>

namespace tenon::runtime {
namespace {

using ::testing::HasSubstr;

class SafetensorsFileTest : public test::FilesOnDisk {
protected:
  /// The message with which a file of these bytes is refused; empty when it is not.
  std::string refusal(const std::string &bytes) {
    std::string path = write("file.safetensors", bytes);
    auto file = SafetensorsFile::open(path);
    if (file)
      return "";
    EXPECT_EQ(file.status().code(), Code::Plan);
    EXPECT_THAT(file.status().message(), HasSubstr(path));
    return file.status().message();
  }
};

const char *kTwo = R"({"__metadata__":{"format":"pt"},
  "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
  "b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})";

TEST_F(SafetensorsFileTest, readsHeaderAndData) {
  auto file = SafetensorsFile::open(
      write("f.safetensors", safetensors(kTwo, numbers(0, 6) + bytesOf<int64_t>({-7}))));
  ASSERT_TRUE(file) << file.status().message();
  ASSERT_EQ((*file)->tensors().size(), 2u);
  const StoredTensor &a = (*file)->tensors().at("a"), &b = (*file)->tensors().at("b");
  EXPECT_EQ(a.dtype, "F32");
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
  auto data = (*file)->data(a);
  ASSERT_TRUE(data);
  EXPECT_EQ(std::memcmp(*data, numbers(0, 6).data(), 24), 0);
  data = (*file)->data(b);
  int64_t number;
  std::memcpy(&number, *data, 8);
  EXPECT_EQ(number, -7);
}

TEST_F(SafetensorsFileTest, emptyTensorsAndEmptyFilesAreLegal) {
  EXPECT_EQ(refusal(safetensors("{}", "")), "");
  EXPECT_EQ(refusal(safetensors(R"({"e":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},
                                    "a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                                "xy")),
            "");
}

TEST_F(SafetensorsFileTest, headersOverTheLimitAreRefused) {
  uint64_t length = (100 << 20) + 1;
  EXPECT_THAT(refusal(std::string(reinterpret_cast<char *>(&length), 8) + "{}"),
              HasSubstr("header of 104857601 bytes, expected at most 104857600"));
  length = ~0ull;
  EXPECT_THAT(refusal(std::string(reinterpret_cast<char *>(&length), 8) + "{}"),
              HasSubstr("expected at most"));
}

TEST_F(SafetensorsFileTest, truncationIsSeenBeforeTheDataIsTouched) {
  std::string whole = safetensors(kTwo, numbers(0, 6) + bytesOf<int64_t>({-7}));
  for (size_t kept = 0; kept < whole.size(); ++kept)
    EXPECT_NE(refusal(whole.substr(0, kept)), "") << kept;
  EXPECT_THAT(refusal(whole.substr(0, whole.size() - 1)), HasSubstr("it is truncated"));
  EXPECT_THAT(refusal(whole.substr(0, 50)), HasSubstr("the file is truncated"));
  EXPECT_THAT(refusal(whole + "x"), HasSubstr("expected 32 bytes of data, found 33"));
}

TEST_F(SafetensorsFileTest, aFileThatShrinksAfterTheCheckIsRefused) {
  std::string path = write("f.safetensors", safetensors(kTwo, std::string(32, '\0')));
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file);
  std::filesystem::resize_file(path, 100);
  auto data = (*file)->data((*file)->tensors().at("a"));
  ASSERT_FALSE(data);
  EXPECT_THAT(data.status().message(), HasSubstr("has changed"));
}

struct Lie {
  const char *name, *header;
  size_t dataBytes;
  const char *message;
};

class SafetensorsLies : public SafetensorsFileTest, public ::testing::WithParamInterface<Lie> {};

TEST_P(SafetensorsLies, areRefused) {
  EXPECT_THAT(refusal(safetensors(GetParam().header, std::string(GetParam().dataBytes, '\0'))),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsLies,
    ::testing::Values(
        Lie{"overlap", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                           "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
            12, "key 'b' lies at bytes 4 to 12 and overlaps key 'a'"},
        Lie{"gap", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                       "b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})",
            20, "key 'b' lies at bytes 12 to 20, expected to begin at 8"},
        Lie{"shapeOverflows",
            R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
            "key 'a': shape [4294967296,4294967296] overflows"},
        Lie{"sizeAboveI64", R"({"a":{"dtype":"U8","shape":[18446744073709551615],
                                "data_offsets":[0,18446744073709551615]}})",
            0, "non-negative integers in shape"},
        Lie{"negative", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})", 0,
            "non-negative integers in shape"},
        Lie{"fractional", R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1,
            "non-negative integers in shape"},
        Lie{"bytesAndShape", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
            "expected 8 bytes for F32 [2], found data_offsets [0,4]"},
        Lie{"backwards", R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[4,0]}})", 4,
            "expected 0 bytes"},
        Lie{"oneOffset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1,
            "in data_offsets"},
        Lie{"behindTheEnd", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8,
            "the file has 8 bytes of data"},
        Lie{"unknownType", R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4,
            "unknown dtype 'F31'"},
        Lie{"noShape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4,
            "expected dtype, shape and data_offsets"},
        Lie{"notJson", R"({"a":)", 0, "not a JSON object"},
        Lie{"aList", "[]", 0, "not a JSON object"}),
    [](const auto &info) { return info.param.name; });

class CheckpointTest : public test::FilesOnDisk {
protected:
  std::string one(const std::string &name, const std::string &key) {
    return write(name,
                 safetensors("{\"" + key + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                             numbers(1, 1)));
  }
};

TEST_F(CheckpointTest, filesAndDirectoriesTogether) {
  one("model.safetensors", "a");
  one("constants.safetensors", "b");
  std::filesystem::create_directory(directory / "more");
  std::string file = one("more/c.safetensors", "c");
  auto checkpoint = Checkpoint::open({directory, file});
  ASSERT_TRUE(checkpoint) << checkpoint.status().message();
  for (const char *key : {"a", "b", "c"})
    EXPECT_TRUE(checkpoint->find(key)->file) << key;
  EXPECT_FALSE(checkpoint->find("d")->file);
}

TEST_F(CheckpointTest, anIndexNamesTheShards) {
  one("model-1-of-2.safetensors", "a");
  one("model-2-of-2.safetensors", "b");
  write("model.safetensors.index.json",
        R"({"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors"}})");
  auto checkpoint = Checkpoint::open({directory});
  ASSERT_TRUE(checkpoint) << checkpoint.status().message();
  EXPECT_TRUE(checkpoint->find("b")->file);
  std::filesystem::remove(directory / "model-2-of-2.safetensors");
  checkpoint = Checkpoint::open({directory});
  ASSERT_FALSE(checkpoint);
  EXPECT_THAT(checkpoint.status().message(), HasSubstr("model-2-of-2.safetensors"));
}

TEST_F(CheckpointTest, anIndexMayNotLeadElsewhere) {
  write("model.safetensors.index.json", R"({"weight_map":{"a":"../other.safetensors"}})");
  auto checkpoint = Checkpoint::open({directory});
  ASSERT_FALSE(checkpoint);
  EXPECT_THAT(checkpoint.status().message(), HasSubstr("beside the index"));
}

TEST_F(CheckpointTest, aKeyInTwoFilesIsRefusedOnlyWhenAsked) {
  std::string x = one("x.safetensors", "a"), y = one("y.safetensors", "a");
  auto checkpoint = Checkpoint::open({x, y});
  ASSERT_TRUE(checkpoint);
  auto found = checkpoint->find("a");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.status().code(), Code::Plan);
  EXPECT_THAT(found.status().message(), HasSubstr(x));
  EXPECT_THAT(found.status().message(), HasSubstr(y));
}

TEST_F(CheckpointTest, aFileNamedTwiceIsOneFile) {
  std::string x = one("x.safetensors", "a");
  auto checkpoint = Checkpoint::open({x, directory, directory / "." / "x.safetensors"});
  ASSERT_TRUE(checkpoint);
  EXPECT_TRUE(checkpoint->find("a"));
}

TEST_F(CheckpointTest, whatIsNotThereIsNamed) {
  auto checkpoint = Checkpoint::open({directory / "nothing"});
  ASSERT_FALSE(checkpoint);
  EXPECT_EQ(checkpoint.status().code(), Code::Plan);
  EXPECT_THAT(checkpoint.status().message(), HasSubstr("nothing"));
}

} // namespace
} // namespace tenon::runtime
