// SPDX-License-Identifier: Apache-2.0
// MatMul against the reference: dimension numbers, layouts, sizes, epilogues.
#include "Conformance.h"

#include <map>

namespace tenon::runtime::conformance {
namespace {

using plan::Activation;
using plan::DataType;

/// Labels with their sizes, and where the operands lie.
struct Problem {
  std::string a, b, c;
  std::map<char, int64_t> sizes;
  Layout aLayout, bLayout, cLayout;
  Activation activation = Activation::None;
  bool bias = false, residual = false;
  Layout biasLayout, residualLayout;

  std::vector<int64_t> shape(const std::string &labels) const {
    std::vector<int64_t> shape;
    for (char label : labels)
      shape.push_back(sizes.at(label));
    return shape;
  }
};

class MatMulTest : public OpTest {
protected:
  plan::MatMul make(Case &test, const Problem &problem, DataType out) {
    plan::MatMul op;
    op.aDims = problem.a;
    op.bDims = problem.b;
    op.cDims = problem.c;
    op.a = test.operand(type(), problem.shape(problem.a), problem.aLayout);
    op.b = test.operand(type(), problem.shape(problem.b), problem.bLayout);
    op.c = test.operand(out, problem.shape(problem.c), problem.cLayout);
    op.activation = problem.activation;
    if (problem.bias)
      op.bias = {test.operand(type(), problem.shape(problem.c), problem.biasLayout)};
    if (problem.residual)
      op.residual = {test.operand(type(), problem.shape(problem.c), problem.residualLayout)};
    return op;
  }

  // bf16 is computed or refused with the remedy, never widened.
  void check(const Problem &problem) {
    for (DataType out : {DataType::F32, type()}) {
      Case test(kind());
      plan::MatMul op = make(test, problem, out);
      if (type() == DataType::F32 || kind().bf16MatMul) {
        test.check(op, 2e-5);
        continue;
      }
      plan::Op whole;
      whole.body = op;
      whole.location = "layer.7";
      Status status = test.prepare(whole);
      EXPECT_EQ(status.code(), Code::Plan);
      EXPECT_NE(status.message().find("matmul at layer.7"), std::string::npos) << status.message();
      EXPECT_NE(status.message().find("--dtype f32"), std::string::npos) << status.message();
    }
  }
};

TEST_P(MatMulTest, rowMajor) {
  check({"mk", "kn", "mn", {{'m', 5}, {'k', 7}, {'n', 3}}});
  check({"mk", "kn", "mn", {{'m', 33}, {'k', 130}, {'n', 65}}});
}

TEST_P(MatMulTest, transposedOperands) {
  check({"mk", "nk", "mn", {{'m', 6}, {'k', 40}, {'n', 9}}});
  check({"km", "kn", "mn", {{'m', 6}, {'k', 40}, {'n', 9}}});
  check({"km", "nk", "mn", {{'m', 6}, {'k', 40}, {'n', 9}}});
  check({"mk", "nk", "nm", {{'m', 6}, {'k', 40}, {'n', 9}}});
  check({"mk", "kn", "nm", {{'m', 1}, {'k', 40}, {'n', 9}}});
}

TEST_P(MatMulTest, sizesOfZeroAndOne) {
  for (char label : {'m', 'k', 'n'})
    for (int64_t size : {0, 1}) {
      std::map<char, int64_t> sizes = {{'m', 4}, {'k', 5}, {'n', 6}};
      sizes[label] = size;
      Problem problem{"mk", "nk", "mn", sizes};
      check(problem);
      problem.bias = problem.residual = true;
      problem.biasLayout.broadcast = {0};
      problem.activation = Activation::Gelu;
      check(problem);
    }
  check({"mk", "kn", "mn", {{'m', 1}, {'k', 1}, {'n', 1}}});
}

TEST_P(MatMulTest, gapsBetweenRows) {
  Problem problem{"mk", "nk", "mn", {{'m', 7}, {'k', 12}, {'n', 10}}};
  problem.aLayout.gap = 3;
  problem.bLayout.gap = 5;
  problem.cLayout.gap = 2;
  problem.aLayout.offset = 9;
  check(problem);
}

TEST_P(MatMulTest, noUnitStep) {
  Problem problem{"mk", "nk", "mn", {{'m', 7}, {'k', 12}, {'n', 10}}};
  problem.aLayout.step = 2;
  problem.bLayout.step = 3;
  problem.cLayout.step = 2;
  check(problem);
  problem.bias = problem.residual = true;
  problem.biasLayout.step = 2;
  problem.residualLayout.order = {1, 0};
  check(problem);
}

TEST_P(MatMulTest, repeatedRowsAndColumns) {
  Problem problem{"mk", "nk", "mn", {{'m', 7}, {'k', 12}, {'n', 10}}};
  problem.aLayout.broadcast = {0};
  check(problem);
  problem.aLayout.broadcast = {1};
  problem.bLayout.broadcast = {0};
  check(problem);
}

TEST_P(MatMulTest, batches) {
  check({"bmk", "bkn", "bmn", {{'b', 3}, {'m', 5}, {'k', 8}, {'n', 6}}});
  check({"bmk", "kn", "bmn", {{'b', 3}, {'m', 5}, {'k', 8}, {'n', 6}}});
  check({"bhmk", "bhnk", "bhmn", {{'b', 2}, {'h', 3}, {'m', 5}, {'k', 8}, {'n', 6}}});
  Problem repeated{"bmk", "bkn", "bmn", {{'b', 3}, {'m', 5}, {'k', 8}, {'n', 6}}};
  repeated.bLayout.broadcast = {0};
  check(repeated);
  repeated.aLayout.broadcast = {0};
  check(repeated);
}

TEST_P(MatMulTest, interleavedBatches) {
  // Heads between rows and elements: s, h, d in memory.
  Problem heads{"hsd", "htd", "hst", {{'h', 3}, {'s', 5}, {'d', 8}, {'t', 6}}};
  heads.aLayout.order = {1, 0, 2};
  heads.bLayout.order = {1, 0, 2};
  check(heads);
  heads.cLayout.order = {1, 0, 2};
  check(heads);
}

TEST_P(MatMulTest, headDimensions) {
  check({"bsk", "kgrd", "bsgrd", {{'b', 2}, {'s', 5}, {'k', 16}, {'g', 2}, {'r', 3}, {'d', 4}}});
  check({"bsk", "grdk", "bsgrd", {{'b', 2}, {'s', 5}, {'k', 16}, {'g', 2}, {'r', 3}, {'d', 4}}});
  check({"bsgrd", "grdj", "bsj", {{'b', 2}, {'s', 5}, {'j', 16}, {'g', 2}, {'r', 3}, {'d', 4}}});
  check({"bsgrd", "jgrd", "bsj", {{'b', 2}, {'s', 5}, {'j', 16}, {'g', 2}, {'r', 3}, {'d', 4}}});
}

TEST_P(MatMulTest, contractedDimensionsThatDoNotMerge) {
  Problem problem{"sgrd", "grdj", "sj", {{'s', 5}, {'j', 9}, {'g', 2}, {'r', 3}, {'d', 4}}};
  problem.aLayout.order = {0, 2, 1, 3};
  check(problem);
  problem.bias = true;
  problem.biasLayout.broadcast = {0};
  check(problem);
  problem.activation = Activation::Silu;
  problem.residual = true;
  check(problem);
}

TEST_P(MatMulTest, resultDimensionsThatDoNotMerge) {
  Problem problem{"bsk", "gdk", "bsgd", {{'b', 2}, {'s', 5}, {'k', 16}, {'g', 3}, {'d', 4}}};
  problem.cLayout.order = {0, 2, 1, 3};
  check(problem);
  problem.bias = true;
  problem.biasLayout.broadcast = {0, 1};
  check(problem);
  problem.cLayout.order = {0, 2, 3, 1};
  check(problem);
}

TEST_P(MatMulTest, biases) {
  Problem problem{"mk", "nk", "mn", {{'m', 6}, {'k', 20}, {'n', 33}}};
  problem.bias = true;
  for (const std::vector<int> &broadcast : {std::vector<int>{0}, {1}, {0, 1}, {}}) {
    problem.biasLayout.broadcast = broadcast;
    check(problem);
  }
}

TEST_P(MatMulTest, activations) {
  Problem problem{"mk", "nk", "mn", {{'m', 6}, {'k', 20}, {'n', 1030}}};
  problem.bias = true;
  problem.biasLayout.broadcast = {0};
  for (Activation activation : {Activation::Gelu, Activation::GeluTanh, Activation::Silu,
                                Activation::Relu, Activation::Tanh}) {
    problem.activation = activation;
    problem.residual = false;
    check(problem);
    problem.residual = true;
    check(problem);
  }
}

TEST_P(MatMulTest, residualInPlace) {
  if (type() != DataType::F32 && !kind().bf16MatMul)
    return check({"mk", "kn", "mn", {{'m', 5}, {'k', 7}, {'n', 3}}});
  Case test(kind());
  Problem problem{"mk", "nk", "mn", {{'m', 6}, {'k', 20}, {'n', 33}}};
  problem.bias = true;
  problem.biasLayout.broadcast = {0};
  plan::MatMul op = make(test, problem, type());
  op.residual = {test.operand(type(), {6, 33})};
  test.check(op, 2e-5);
}

TEST_P(MatMulTest, refusesWhatContradictsItself) {
  Case test(kind());
  plan::Op op;
  plan::MatMul body = make(test, {"mk", "kn", "mn", {{'m', 5}, {'k', 7}, {'n', 3}}}, DataType::F32);
  body.bDims = "xn";
  op.body = body;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
  body.bDims = "mn";
  op.body = body;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
  body.bDims = "k";
  op.body = body;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
  body.bDims = "kn";
  body.a.buffer = 99;
  op.body = body;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
}

INSTANTIATE_TEST_SUITE_P(Devices, MatMulTest,
                         testing::Combine(testing::ValuesIn(deviceKinds()),
                                          testing::Values(DataType::F32, DataType::BF16)),
                         opTestName);

} // namespace
} // namespace tenon::runtime::conformance
