// SPDX-License-Identifier: Apache-2.0
#include "tenon/Cost/MachineModel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

using namespace tenon::cost;
using ::testing::HasSubstr;

static const char *kText =
    R"({"name": "box", "peak_flops": {"f32": 1e10, "bf16": 2e10}, "memory_bandwidth": 1e9,
 "memory_bytes": 1e12, "launch_s": 1e-6, "axes": [{"alpha_s": 1e-5, "hop_s": 2e-6, "bandwidth": 5e8}]})";

/// The text with one piece replaced, and the error that follows.
static std::string errorOf(const std::string &piece, const std::string &replacement) {
  std::string text = kText, error;
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  text.replace(at, piece.size(), replacement);
  EXPECT_FALSE(parseMachine(text, error).has_value()) << text;
  return error;
}

TEST(MachineModel, EveryShippedMachineLoadsUnderItsName) {
  EXPECT_EQ(shippedMachines(), (std::vector<std::string>{"a100-sxm", "b200", "cpu", "h100-pcie",
                                                         "h100-sxm", "h200-sxm"}));
  for (const std::string &name : shippedMachines()) {
    std::string error;
    auto machine = loadMachine(name, error);
    ASSERT_TRUE(machine.has_value()) << error;
    EXPECT_EQ(machine->name, name);
    EXPECT_GE(machine->links.size(), 2u);
    // Outer links are never faster.
    EXPECT_LE(machine->links[1].bandwidth, machine->links[0].bandwidth);
    EXPECT_GE(machine->links[1].hop, machine->links[0].hop);
  }
}

TEST(MachineModel, UnknownNamesListTheShippedOnes) {
  std::string error;
  EXPECT_FALSE(loadMachine("h300", error).has_value());
  EXPECT_THAT(error, HasSubstr("unknown machine 'h300'"));
  EXPECT_THAT(error, HasSubstr("cpu"));
  EXPECT_THAT(error, HasSubstr("h200-sxm"));
}

TEST(MachineModel, FilesLoadByPath) {
  const std::string path = ::testing::TempDir() + "machine-model-test.json";
  std::ofstream(path) << kText;
  std::string error;
  auto machine = loadMachine(path, error);
  ASSERT_TRUE(machine.has_value()) << error;
  EXPECT_EQ(machine->name, "box");
  EXPECT_EQ(machine->peakFlops.at("bf16"), 2e10);
  EXPECT_EQ(machine->memoryBandwidth, 1e9);
  EXPECT_EQ(machine->memoryBytes, 1e12);
  EXPECT_EQ(machine->launch, 1e-6);
  ASSERT_EQ(machine->links.size(), 1u);
  EXPECT_EQ(machine->links[0].alpha, 1e-5);
  EXPECT_EQ(machine->links[0].hop, 2e-6);
  EXPECT_EQ(machine->links[0].bandwidth, 5e8);
  std::ofstream(path) << "{";
  EXPECT_FALSE(loadMachine(path, error).has_value());
  EXPECT_THAT(error, HasSubstr(path));
  std::remove(path.c_str());
}

TEST(MachineModel, MissingConstantsAreNamed) {
  EXPECT_THAT(errorOf("\"memory_bandwidth\": 1e9,", ""),
              HasSubstr("'memory_bandwidth' is missing"));
  EXPECT_THAT(errorOf("\"memory_bytes\": 1e12,", ""), HasSubstr("'memory_bytes' is missing"));
  EXPECT_THAT(errorOf("\"launch_s\": 1e-6,", ""), HasSubstr("'launch_s' is missing"));
  EXPECT_THAT(errorOf("\"hop_s\": 2e-6, ", ""), HasSubstr("'hop_s' is missing"));
  EXPECT_THAT(errorOf("\"alpha_s\": 1e-5, ", ""), HasSubstr("'alpha_s' is missing"));
  EXPECT_THAT(errorOf(", \"bandwidth\": 5e8", ""), HasSubstr("'bandwidth' is missing"));
  EXPECT_THAT(errorOf("\"f32\": 1e10, ", ""), HasSubstr("'peak_flops' needs at least 'f32'"));
  EXPECT_THAT(errorOf("\"name\": \"box\",", ""), HasSubstr("'name' is missing"));
  EXPECT_THAT(errorOf("[{\"alpha_s\": 1e-5, \"hop_s\": 2e-6, \"bandwidth\": 5e8}]", "[]"),
              HasSubstr("'axes'"));
}

TEST(MachineModel, ImpossibleConstantsAreNamedWithTheirValue) {
  EXPECT_THAT(errorOf("1e9", "-1"), HasSubstr("'memory_bandwidth' must be positive, found -1"));
  EXPECT_THAT(errorOf("1e-6", "0"), HasSubstr("'launch_s' must be positive, found 0"));
  EXPECT_THAT(errorOf("1e-6", "\"fast\""), HasSubstr("'launch_s' is missing or not a number"));
  EXPECT_THAT(errorOf("2e10", "-2e10"), HasSubstr("'bf16' must be positive"));
  EXPECT_THAT(errorOf("5e8", "-5"), HasSubstr("'bandwidth' must be positive, found -5"));
}

TEST(MachineModel, UnknownConstantsAreRefused) {
  EXPECT_THAT(errorOf("\"launch_s\": 1e-6", "\"launch_s\": 1e-6, \"lunch_s\": 1"),
              HasSubstr("unknown constant 'lunch_s'"));
  EXPECT_THAT(errorOf("\"f32\": 1e10", "\"f32\": 1e10, \"fp8\": 1"),
              HasSubstr("unknown constant 'fp8'"));
  EXPECT_THAT(errorOf("\"hop_s\": 2e-6", "\"hop_s\": 2e-6, \"beta\": 1"),
              HasSubstr("unknown constant 'beta'"));
}

TEST(MachineModel, TextThatIsNoObject) {
  for (const char *text : {"", "{", "[]", "3", "null"}) {
    std::string error;
    EXPECT_FALSE(parseMachine(text, error).has_value());
    EXPECT_THAT(error, HasSubstr("not a JSON object"));
  }
}

TEST(MachineModel, DigestFollowsTheText) {
  std::string error, other = kText;
  other.replace(other.find("1e9"), 3, "2e9");
  auto a = parseMachine(kText, error), b = parseMachine(kText, error),
       c = parseMachine(other, error);
  EXPECT_EQ(a->digest().size(), 16u);
  EXPECT_EQ(a->digest(), b->digest());
  EXPECT_NE(a->digest(), c->digest());
}
