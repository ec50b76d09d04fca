// SPDX-License-Identifier: Apache-2.0
#include "FilesOnDisk.h"

#include "tenon/runtime/exec/NpyFile.h"

#include "tenon/runtime/AtomicFile.h"

#include <csignal>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tenon::runtime {
namespace {

using plan::DataType;
using ::testing::HasSubstr;

class NpyFileTest : public test::FilesOnDisk {
protected:
  static std::string npy(const std::string &dictionary, const std::string &data, int version = 1) {
    std::string bytes = std::string("\x93NUMPY") + char(version) + '\0';
    uint32_t length = uint32_t(dictionary.size());
    bytes += std::string(reinterpret_cast<char *>(&length), version == 1 ? 2 : 4);
    return bytes + dictionary + data;
  }
  static std::string header(const std::string &descr, const std::string &shape,
                            const std::string &fortran = "False") {
    return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape +
           ", }\n";
  }
  std::string refusal(const std::string &bytes) {
    std::string path = write("x.npy", bytes);
    auto array = readNpy(path);
    if (array)
      return "";
    EXPECT_EQ(array.status().code(), Code::Usage);
    EXPECT_EQ(array.status().message().rfind(path + ": ", 0), 0u);
    return array.status().message();
  }
};

TEST_F(NpyFileTest, everyTypeThereAndBack) {
  for (DataType type :
       {DataType::F32, DataType::BF16, DataType::F16, DataType::I32, DataType::I64, DataType::I1}) {
    HostArray array{type, {2, 3}, {}};
    for (int64_t i = 0; i < 6 * plan::byteWidth(type); ++i)
      array.bytes.push_back(std::byte(type == DataType::I1 ? i % 2 : 7 * i));
    ASSERT_TRUE(writeNpy(directory / "x.npy", array));
    auto back = readNpy(directory / "x.npy");
    ASSERT_TRUE(back) << back.status().message();
    EXPECT_EQ(back->type, type);
    EXPECT_EQ(back->shape, array.shape);
    EXPECT_EQ(back->bytes, array.bytes);
  }
}

TEST_F(NpyFileTest, scalarsVectorsAndEmptyArrays) {
  for (const std::vector<int64_t> &shape : {std::vector<int64_t>{}, {3}, {0, 4}}) {
    HostArray array{DataType::I32, shape, {}};
    array.bytes.resize(size_t(array.elements()) * 4);
    ASSERT_TRUE(writeNpy(directory / "x.npy", array));
    auto back = readNpy(directory / "x.npy");
    ASSERT_TRUE(back) << back.status().message();
    EXPECT_EQ(back->shape, shape);
  }
}

TEST_F(NpyFileTest, dataBeginsAtAMultipleOf64) {
  HostArray array{DataType::F32, {1}, std::vector<std::byte>(4)};
  ASSERT_TRUE(writeNpy(directory / "x.npy", array));
  EXPECT_EQ((std::filesystem::file_size(directory / "x.npy") - 4) % 64, 0u);
}

TEST_F(NpyFileTest, bothVersionsAndSpellings) {
  EXPECT_EQ(refusal(npy(header("<f4", "(2,)"), numbers(0, 2), 1)), "");
  EXPECT_EQ(refusal(npy(header("<f4", "(2,)"), numbers(0, 2), 2)), "");
  EXPECT_EQ(refusal(npy(header("|u1", "(2,)"), std::string("\0\1", 2))), "");
  EXPECT_EQ(refusal(npy(header("|b1", "(2,)"), std::string("\0\1", 2))), "");
  EXPECT_EQ(refusal(npy(header("|V2", "(1,)"), "ab")), "");
  EXPECT_EQ(
      refusal(npy(R"({"shape": ( 1 , 2 ), "fortran_order":False,"descr":"<f4"})", numbers(0, 2))),
      "");
  EXPECT_THAT(refusal(npy(header("<f4", "(2,)"), numbers(0, 2), 3)), HasSubstr("found 3"));
}

TEST_F(NpyFileTest, otherLayoutsAreRefused) {
  EXPECT_THAT(refusal(npy(header("<f4", "(2,)", "True"), numbers(0, 2))),
              HasSubstr("found Fortran order"));
  EXPECT_THAT(refusal(npy(header(">f4", "(2,)"), numbers(0, 2))), HasSubstr("found '>f4'"));
  EXPECT_THAT(refusal(npy(header("<f8", "(1,)"), numbers(0, 2))), HasSubstr("found '<f8'"));
  EXPECT_THAT(refusal(npy(header("|O", "(1,)"), numbers(0, 2))), HasSubstr("found '|O'"));
  EXPECT_THAT(refusal(npy(header("|u1", "(2,)"), std::string("\0\2", 2))), HasSubstr("found 2"));
}

TEST_F(NpyFileTest, lyingHeadersAreRefused) {
  std::string good = npy(header("<f4", "(2,)"), numbers(0, 2));
  for (size_t kept = 0; kept < good.size(); ++kept)
    EXPECT_NE(refusal(good.substr(0, kept)), "") << kept;
  EXPECT_THAT(refusal(good + "x"), HasSubstr("expected 8 bytes of data for shape 2, found 9"));
  EXPECT_THAT(refusal(npy(header("<f4", "(3,)"), numbers(0, 2))), HasSubstr("expected 12 bytes"));
  EXPECT_THAT(refusal(npy(header("<f4", "(4611686018427387904, 4)"), numbers(0, 2))),
              HasSubstr("overflows"));
  EXPECT_NE(refusal(npy(header("<f4", "(99999999999999999999,)"), numbers(0, 2))), "");
  EXPECT_NE(refusal(npy(header("<f4", "(-1,)"), numbers(0, 2))), "");
  EXPECT_NE(refusal(npy(header("<f4", "(2,"), numbers(0, 2))), "");
  EXPECT_NE(refusal(npy("{'descr': '<f4'}", numbers(0, 2))), "");
  EXPECT_NE(refusal(npy("", numbers(0, 2))), "");
  EXPECT_NE(refusal("PK\3\4 a .npz is not a .npy"), "");
  EXPECT_THAT(refusal(npy(std::string(2 << 20, ' '), "", 2)), HasSubstr("too long"));
}

TEST_F(NpyFileTest, aFileThatCannotBeOpenedIsNamed) {
  auto array = readNpy(directory / "none.npy");
  ASSERT_FALSE(array);
  EXPECT_THAT(array.status().message(), HasSubstr("No such file"));
}

TEST_F(NpyFileTest, aFailedWriteLeavesTheOldFileAndNothingElse) {
  std::string path = write("x.npy", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit small{100, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  HostArray array{DataType::F32, {1000}, std::vector<std::byte>(4000)};
  Status status = writeNpy(path, array);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(status.code(), Code::Device);
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory), {}), 1);
}

TEST_F(NpyFileTest, aSignalDuringAWriteLeavesNothing) {
  const pid_t child = fork();
  if (child == 0) {
    // The file grows beyond its limit: the signal comes in the middle of the write.
    std::signal(SIGXFSZ, [](int) {
      removeTemporaryFile();
      _exit(9);
    });
    rlimit small{100, 100};
    setrlimit(RLIMIT_FSIZE, &small);
    HostArray array{DataType::F32, {100000}, std::vector<std::byte>(400000)};
    Status status = writeNpy(directory / "x.npy", array);
    _exit(status ? 0 : 1);
  }
  int result = 0;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  ASSERT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), 9);
  EXPECT_TRUE(std::filesystem::is_empty(directory));
}

TEST_F(NpyFileTest, placesAreCheckedBeforeTheWork) {
  EXPECT_TRUE(checkWritable(directory / "new.npy"));
  EXPECT_EQ(checkWritable(directory / "none" / "new.npy").code(), Code::Plan);
  EXPECT_EQ(checkWritable(directory).code(), Code::Plan);
  EXPECT_TRUE(checkWritable("/dev/null"));
}

TEST_F(NpyFileTest, devicesStayAndLinksAreFollowed) {
  HostArray array{DataType::F32, {1}, std::vector<std::byte>(4)};
  EXPECT_TRUE(writeNpy("/dev/null", array));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  std::filesystem::create_directory(directory / "far");
  write("far/x.npy", "old");
  std::filesystem::create_symlink(directory / "far" / "x.npy", directory / "link.npy");
  EXPECT_TRUE(writeNpy(directory / "link.npy", array));
  EXPECT_TRUE(std::filesystem::is_symlink(directory / "link.npy"));
  EXPECT_TRUE(readNpy(directory / "far" / "x.npy"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory / "far"), {}), 1);
}

} // namespace
} // namespace tenon::runtime
