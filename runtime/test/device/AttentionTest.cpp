// SPDX-License-Identifier: Apache-2.0
// Attention against the reference: grouped heads, masks, causality, decoding shapes, layouts.
#include "Conformance.h"

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;

struct Sizes {
  int64_t b = 1, s = 4, t = 4, g = 1, r = 1, d = 8, e = 8;
};

class AttentionTest : public OpTest {
protected:
  plan::Attention make(Case &test, const Sizes &n, const Layout &kv = {}) {
    plan::Attention op;
    op.q = test.operand(type(), {n.b, n.s, n.g, n.r, n.d});
    op.k = test.operand(type(), {n.b, n.t, n.g, n.d}, kv);
    op.v = test.operand(type(), {n.b, n.t, n.g, n.e}, kv);
    op.out = test.operand(type(), {n.b, n.s, n.g, n.r, n.e});
    op.scale = 0.4f;
    return op;
  }
  static constexpr double kTolerance = 1e-5;
};

TEST_P(AttentionTest, sizes) {
  for (Sizes n :
       {Sizes{1, 4, 4, 1, 1, 8, 8}, Sizes{2, 7, 13, 3, 1, 5, 9}, Sizes{1, 70, 70, 2, 2, 32, 32},
        Sizes{1, 1, 1, 1, 1, 1, 1}, Sizes{1, 50, 100, 1, 3, 33, 40}}) {
    Case test(kind());
    test.check(make(test, n), kTolerance);
  }
}

TEST_P(AttentionTest, nothingToDo) {
  for (Sizes n :
       {Sizes{0, 4, 4, 1, 1, 8, 8}, Sizes{1, 0, 4, 1, 1, 8, 8}, Sizes{1, 4, 0, 1, 1, 8, 8},
        Sizes{1, 4, 4, 0, 1, 8, 8}, Sizes{1, 4, 4, 1, 0, 8, 8}, Sizes{1, 4, 4, 1, 1, 8, 0}}) {
    Case test(kind());
    test.check(make(test, n), kTolerance);
  }
}

TEST_P(AttentionTest, causal) {
  for (int64_t position : {0, 3, 40}) {
    Case test(kind());
    plan::Attention op = make(test, {1, 60, 100, 2, 2, 16, 16});
    op.causal = true;
    op.position = constant(position);
    test.check(op, kTolerance);
  }
}

TEST_P(AttentionTest, decoding) {
  for (int64_t r : {1, 3, 7}) {
    Case test(kind());
    plan::Attention op = make(test, {2, 1, 90, 2, r, 32, 24});
    op.causal = true;
    op.position = constant(61);
    test.check(op, kTolerance);
  }
}

TEST_P(AttentionTest, maskWithEmptyRows) {
  Case test(kind());
  plan::Attention op = make(test, {2, 5, 6, 1, 2, 8, 8});
  op.mask = {test.operand(DataType::I1, {2, 5, 6})};
  std::vector<double> mask(60, 1);
  for (int i = 0; i < 6; ++i)
    mask[2 * 6 + i] = 0; // Query 2 of the first sequence attends to nothing.
  mask[0] = mask[31] = 0;
  test.assign(op.mask[0], mask);
  test.check(op, kTolerance);
  for (int d : {0, 1}) {
    Case again(kind());
    plan::Attention other = make(again, {2, 5, 6, 1, 2, 8, 8});
    Layout layout;
    layout.broadcast = {d};
    other.mask = {again.operand(DataType::I1, {2, 5, 6}, layout)};
    again.check(other, kTolerance);
  }
}

TEST_P(AttentionTest, leftPaddingUnderCausality) {
  // The first keys are padding, so the first queries attend to nothing.
  Case test(kind());
  plan::Attention op = make(test, {1, 5, 5, 1, 1, 8, 8});
  op.causal = true;
  Layout layout;
  layout.broadcast = {1};
  op.mask = {test.operand(DataType::I1, {1, 5, 5}, layout)};
  test.assign(op.mask[0], {0, 0, 1, 1, 1});
  test.check(op, kTolerance);
}

TEST_P(AttentionTest, bias) {
  for (const std::vector<int> &broadcast : {std::vector<int>{}, {0}, {0, 1, 2}, {3}}) {
    Case test(kind());
    plan::Attention op = make(test, {2, 5, 9, 2, 3, 8, 8});
    Layout layout;
    layout.broadcast = broadcast;
    op.bias = {test.operand(DataType::F32, {2, 2, 3, 5, 9}, layout)};
    test.check(op, kTolerance);
  }
}

TEST_P(AttentionTest, layouts) {
  for (const Layout &kv : {Layout{{0, 2, 1, 3}, 0, {}, 1, 0}, Layout{{}, 3, {}, 1, 5},
                           Layout{{0, 2, 3, 1}, 0, {}, 1, 0}, Layout{{}, 0, {}, 2, 0}}) {
    Case test(kind());
    plan::Attention op = make(test, {2, 6, 9, 2, 2, 8, 8}, kv);
    Layout outLayout;
    outLayout.order = {0, 2, 3, 1, 4};
    outLayout.gap = 1;
    op.out = test.operand(type(), {2, 6, 2, 2, 8}, outLayout);
    test.check(op, kTolerance);
    Case few(kind());
    test.check(make(test, {1, 1, 9, 2, 1, 8, 8}, kv), kTolerance);
  }
}

TEST_P(AttentionTest, largeScores) {
  Case test(kind());
  plan::Attention op = make(test, {1, 4, 20, 1, 1, 8, 8});
  op.scale = 40;
  test.check(op, 1e-3);
}

TEST_P(AttentionTest, refusesWrongShapes) {
  Case test(kind());
  plan::Attention body = make(test, {});
  body.k.sizes[2] = 2;
  plan::Op op;
  op.body = body;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
}

TENON_INSTANTIATE_FLOATS(AttentionTest);

} // namespace
} // namespace tenon::runtime::conformance
