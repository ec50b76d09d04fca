// SPDX-License-Identifier: Apache-2.0
// The file: what is written reads back equal; what is not a whole, undamaged file of this format is
// refused.
#include "PlanBuilder.h"
#include "Sha256.h"
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"
#include "tenon/runtime/plan/Verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>

using namespace tenon;
using namespace tenon::plan;
using namespace tenon::plan::test;
using ::testing::HasSubstr;

namespace {

using Bytes = std::vector<std::byte>;

Bytes written(const Plan &plan) {
  auto file = plan::write(plan);
  EXPECT_TRUE(file.ok()) << file.status().message();
  return *file;
}

void expectRefused(const Bytes &file, const std::string &message) {
  auto plan = plan::read(file);
  ASSERT_FALSE(plan.ok()) << "expected: " << message;
  EXPECT_EQ(plan.status().code(), Code::Plan);
  EXPECT_THAT(plan.status().message(), HasSubstr(message));
}

std::string hexOf(const std::string &data) {
  auto bytes = std::as_bytes(std::span(data.data(), data.size()));
  std::string result;
  char text[3];
  for (std::byte b : sha256(bytes)) {
    std::snprintf(text, sizeof text, "%02x", int(b));
    result += text;
  }
  return result;
}

TEST(Sha256, VectorsOfTheStandard) {
  EXPECT_EQ(hexOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hexOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hexOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hexOf(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(File, RoundTripOfEveryOp) {
  for (int64_t ranks : {1, 2, 3, 4}) {
    Plan plan = allOpsPlan(ranks);
    Bytes file = written(plan);
    auto back = plan::read(file);
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_TRUE(*back == plan);
    EXPECT_EQ(written(*back), file) << "the same plan gives the same bytes";
  }
}

TEST(File, TheBuilderUsesEveryOp) {
  std::set<size_t> kinds;
  std::set<CollectiveKind> collectives;
  const Plan plan = allOpsPlan(2);
  for (const Op &op : plan.entries[0].ops) {
    kinds.insert(op.body.index());
    if (const auto *collective = std::get_if<Collective>(&op.body))
      collectives.insert(collective->kind);
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<OpBody>);
  EXPECT_EQ(collectives.size(), 5u);
}

TEST(File, KeepsMinusZeroAndInfinity) {
  Plan plan = allOpsPlan(2);
  for (double value : {-0.0, 0.0, double(INFINITY), -double(INFINITY), 1e-300}) {
    Plan changed = plan;
    for (Op &op : changed.entries[0].ops)
      if (auto *fill = std::get_if<Fill>(&op.body))
        fill->value = value;
    auto back = plan::read(written(changed));
    ASSERT_TRUE(back.ok());
    for (const Op &op : back->entries[0].ops)
      if (const auto *fill = std::get_if<Fill>(&op.body)) {
        EXPECT_EQ(fill->value, value);
        EXPECT_EQ(std::signbit(fill->value), std::signbit(value));
      }
  }
}

TEST(File, FieldsThatATermDoesNotUseAreReadAsNothing) {
  Plan plan = allOpsPlan(2);
  Elementwise *elementwise = nullptr;
  for (Op &op : plan.entries[0].ops)
    if (auto *body = std::get_if<Elementwise>(&op.body))
      elementwise = body;
  ASSERT_NE(elementwise, nullptr);
  Plan clean = plan;
  for (ExprTerm &term : elementwise->expr) {
    if (term.op != ExprOp::Input)
      term.input = 7;
    if (term.op != ExprOp::Constant)
      term.value = std::numeric_limits<double>::quiet_NaN();
  }
  auto back = plan::read(written(plan));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(*back == clean);
}

TEST(File, DigestIsTheSumInTheHeader) {
  Bytes file = written(mlpPlan(2));
  std::string payload(reinterpret_cast<const char *>(file.data()) + headerBytes,
                      file.size() - headerBytes);
  EXPECT_EQ(digest(file), hexOf(payload));
  EXPECT_NE(digest(file), digest(written(mlpPlan(4))));
  EXPECT_EQ(digest(std::span(file).first(63)), "");
}

TEST(File, RefusesEveryTruncation) {
  Bytes file = written(mlpPlan(2));
  for (size_t size = 0; size < file.size(); ++size)
    expectRefused(Bytes(file.begin(), file.begin() + size),
                  size < headerBytes ? "expected a header of 64 bytes" : "header promises");
}

TEST(File, RefusesTrailingBytes) {
  Bytes file = written(mlpPlan(2));
  file.push_back(std::byte(0));
  expectRefused(file, "header promises a payload of");
}

TEST(File, RefusesEveryFlippedBit) {
  Bytes file = written(mlpPlan(2));
  for (size_t i = 0; i < file.size(); ++i) {
    // All bits of the header, one bit of each byte of the payload.
    for (int bit = 0; bit < (i < headerBytes ? 8 : 1); ++bit) {
      Bytes damaged = file;
      damaged[i] ^= std::byte(1 << (i < headerBytes ? bit : int(i % 8)));
      ASSERT_FALSE(plan::read(damaged).ok()) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(File, RefusesAnotherFormatWithBothNumbers) {
  Bytes file = written(mlpPlan(2));
  file[8] = std::byte(77);
  expectRefused(file,
                "plan has format 77, this program reads format " + std::to_string(formatNumber));
}

TEST(File, RefusesAnotherMagic) {
  Bytes file = written(mlpPlan(2));
  file[0] = std::byte('X');
  expectRefused(file, "expected it to begin with TENONPLN");
}

TEST(File, RefusesAPayloadThatIsNoFlatBuffer) {
  Bytes file(headerBytes + 100, std::byte(0x5a));
  sealHeader(file);
  expectRefused(file, "FlatBuffers structure");
  Bytes none(headerBytes);
  sealHeader(none);
  expectRefused(none, "FlatBuffers structure");
}

TEST(File, ReadsFromAnyAddress) {
  Bytes file = written(mlpPlan(2));
  for (size_t shift = 0; shift < 8; ++shift) {
    Bytes moved(shift + file.size());
    std::memcpy(moved.data() + shift, file.data(), file.size());
    EXPECT_TRUE(plan::read(std::span<const std::byte>(moved).subspan(shift)).ok());
  }
}

TEST(File, RefusesUnknownEnumValues) {
  Plan plan = mlpPlan(2);
  plan.entries[0].buffers[0].type = DataType(6);
  expectRefused(written(plan), "unknown data type 6, expected at most 5");
  plan = mlpPlan(2);
  std::get<MatMul>(plan.entries[0].ops[0].body).activation = Activation(9);
  expectRefused(written(plan), "op 0: unknown activation 9");
  plan = mlpPlan(2);
  std::get<Elementwise>(plan.entries[0].ops[1].body).expr[1].op = ExprOp(200);
  expectRefused(written(plan), "op 1: unknown operator of an expression 200");
  plan = mlpPlan(2);
  std::get<Collective>(plan.entries[0].ops[5].body).kind = CollectiveKind(5);
  expectRefused(written(plan), "op 5: unknown collective 5");
  plan = mlpPlan(2);
  std::get<MatMul>(plan.entries[0].ops[0].body).a.offset.kind = RankValue::Kind(3);
  expectRefused(written(plan), "op 0: unknown kind of a rank-dependent number 3");
}

TEST(File, RefusesCountsBeyondTheLimits) {
  Plan plan = mlpPlan(2);
  plan.mesh.resize(17, {"x", 1, "x"});
  expectRefused(written(plan), "mesh axis has 17 elements, expected at most 16");
  plan = mlpPlan(2);
  std::get<Elementwise>(plan.entries[0].ops[1].body).expr.resize(50);
  expectRefused(written(plan), "expression has 50 elements");
  plan = mlpPlan(2);
  plan.entries[0].ops[0].location.assign(70000, 'x');
  expectRefused(written(plan), "location has 70000 bytes");
  plan = mlpPlan(2);
  plan.entries[0].events = (1 << 18) + 1;
  expectRefused(written(plan), "events");
  plan = mlpPlan(2);
  auto &matmul = std::get<MatMul>(plan.entries[0].ops[0].body);
  matmul.bias = {matmul.c, matmul.c};
  expectRefused(written(plan), "bias has 2 elements, expected at most 1");
}

TEST(File, RefusesNumbersThatOverflow) {
  auto withOperand = [](auto change) {
    Plan plan = mlpPlan(2);
    change(std::get<MatMul>(plan.entries[0].ops[0].body).a);
    return written(plan);
  };
  expectRefused(withOperand([](Operand &o) { o.sizes[0] = -1; }),
                "op 0: operand has an offset, size");
  expectRefused(withOperand([](Operand &o) { o.strides[0] = INT64_MAX; }), "negative or too large");
  expectRefused(withOperand([](Operand &o) { o.sizes = {1ll << 40, 1ll << 40}; }),
                "negative or too large");
  expectRefused(withOperand([](Operand &o) { o.offset.base = INT64_MIN; }), "too large");
  expectRefused(withOperand([](Operand &o) { o.offset = start(1ll << 40, {0}, 1ll << 40); }),
                "rank-dependent number is too large");
  expectRefused(withOperand([](Operand &o) { o.strides.pop_back(); }), "2 sizes and 1 strides");
  Plan plan = mlpPlan(2);
  plan.weights[0].parts[0].view.storedShape = {1ll << 40, 1ll << 40};
  expectRefused(written(plan), "stored shape is negative or too large");
}

TEST(File, WritesUnderATemporaryNameAndRenames) {
  namespace fs = std::filesystem;
  fs::path folder = fs::temp_directory_path() / ("tenon-plan-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::string path = folder / "model.plan";
  ASSERT_TRUE(writeFile(mlpPlan(2), path).ok());
  ASSERT_TRUE(writeFile(mlpPlan(4), path).ok()) << "replaces an existing file";
  auto back = readFile(path);
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_TRUE(*back == mlpPlan(4));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << "no temporary file is left";

  Status status = writeFile(mlpPlan(2), folder / "no" / "model.plan");
  EXPECT_EQ(status.code(), Code::Usage);
  EXPECT_THAT(status.message(), HasSubstr("cannot create"));
  auto missing = readFile(folder / "missing.plan");
  EXPECT_EQ(missing.status().code(), Code::Usage);
  EXPECT_THAT(missing.status().message(), HasSubstr("missing.plan: cannot open"));
  fs::resize_file(path, fs::file_size(path) - 1);
  auto cut = readFile(path);
  EXPECT_EQ(cut.status().code(), Code::Plan);
  EXPECT_THAT(cut.status().message(), HasSubstr(path));
  fs::remove_all(folder);
}

/// Changed payloads under a valid header: the reader and the verifier may refuse or accept, and
/// must come back. What is accepted must survive another round trip.
TEST(File, SurvivesRandomPayloads) {
  std::mt19937 random(20240607);
  const Bytes originals[] = {written(mlpPlan(2)), written(allOpsPlan(3))};
  int accepted = 0, refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes file = originals[round % 2];
    int changes = 1 + random() % 4;
    for (int i = 0; i < changes; ++i) {
      size_t at = headerBytes + random() % (file.size() - headerBytes);
      switch (random() % 3) {
      case 0:
        file[at] ^= std::byte(1 << random() % 8);
        break;
      case 1:
        file[at] = std::byte(random());
        break;
      default:
        file[at] = random() % 2 ? std::byte(0xff) : std::byte(0);
        break;
      }
    }
    sealHeader(file);
    auto plan = plan::read(file);
    if (!plan) {
      ++refused;
      continue;
    }
    if (!verifyAll(*plan).ok()) {
      ++refused;
      continue;
    }
    ++accepted;
    auto back = plan::read(written(*plan));
    ASSERT_TRUE(back.ok() && *back == *plan);
  }
  EXPECT_GT(accepted, 100) << "some changes are harmless: names, padding";
  EXPECT_GT(refused, 5000);
}

/// A plan of about 4000 ops: 96 layers of the test model with their own weights.
TEST(File, ReadsAndVerifiesALargePlanQuickly) {
  Plan one = allOpsPlan(8), plan = one;
  Entry &entry = plan.entries[0];
  size_t perLayer = one.entries[0].ops.size();
  while (entry.ops.size() < 4000)
    for (size_t i = 0; i < perLayer; ++i) {
      Op op = one.entries[0].ops[i];
      int32_t shift = int32_t(entry.ops.size() / perLayer) * one.entries[0].events;
      if (auto *record = std::get_if<Record>(&op.body))
        record->event += shift;
      if (auto *wait = std::get_if<Wait>(&op.body))
        wait->event += shift;
      op.location = "layer." + std::to_string(entry.ops.size() / perLayer) + "." + op.location;
      entry.ops.push_back(op);
    }
  entry.events = int32_t(entry.ops.size() / perLayer) * one.entries[0].events;
  Bytes file = written(plan);
  auto clock = [] { return std::chrono::steady_clock::now(); };
  auto t0 = clock();
  auto back = plan::read(file);
  auto t1 = clock();
  ASSERT_TRUE(back.ok());
  Status status = verify(*back, 0);
  auto t2 = clock();
  ASSERT_TRUE(status.ok()) << status.message();
  auto all = verifyAll(*back);
  auto t3 = clock();
  ASSERT_TRUE(all.ok()) << all.message();
  auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
  std::printf("%zu ops, %zu bytes: read %.1f ms, verify %.1f ms, verifyAll %.1f ms\n",
              entry.ops.size(), file.size(), ms(t1 - t0), ms(t2 - t1), ms(t3 - t2));
  // Far above what is measured, so that a slow machine passes and a quadratic check does not.
  EXPECT_LT(ms(t3 - t0), 2000);
}

} // namespace
