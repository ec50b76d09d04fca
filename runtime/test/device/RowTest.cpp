// SPDX-License-Identifier: Apache-2.0
// Norm, rope, reduce and softmax against the reference.
#include "Conformance.h"

#include <cmath>
#include <limits>

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;
using plan::ReduceKind;

class NormTest : public OpTest {
protected:
  struct With {
    bool scale = false, bias = false, residual = false, sum = false, rounded = false;
  };

  void check(const std::vector<int64_t> &sizes, int dims, With with, const Layout &layout = {}) {
    for (plan::Norm::Kind normKind : {plan::Norm::Kind::Layer, plan::Norm::Kind::Rms}) {
      Case test(kind());
      plan::Norm op;
      op.kind = normKind;
      op.dims = dims;
      op.eps = 1e-5f;
      op.rounded = with.rounded;
      op.x = test.operand(type(), sizes, layout);
      op.out = test.operand(type(), sizes, layout);
      Layout weights;
      for (int d = 0; d < int(sizes.size()) - dims; ++d)
        weights.broadcast.push_back(d);
      if (with.scale)
        op.scale = {test.operand(type(), sizes, weights)};
      if (with.bias)
        op.bias = {test.operand(type(), sizes, weights)};
      if (with.residual)
        op.residual = {test.operand(type(), sizes)};
      if (with.sum)
        op.sum = {test.operand(type(), sizes)};
      test.check(op, 1e-5);
    }
  }
};

TEST_P(NormTest, sizes) {
  for (int64_t n : {1, 2, 15, 16, 63, 64, 65, 384, 1000})
    check({3, n}, 1, {true, true, false, false});
  check({0, 8}, 1, {true, false, false, false});
  check({2, 3, 40}, 1, {true, false, false, false});
}

TEST_P(NormTest, operands) {
  for (int bits = 0; bits < 16; ++bits)
    check({5, 48}, 1, {bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8)});
}

// A bf16 weight of 3 makes a missing rounding of the quotient show as more than half a unit.
TEST_P(NormTest, roundedBeforeTheWeight) {
  for (int64_t n : {7, 64, 1000})
    check({3, n}, 1, {true, false, false, false, true});
  check({3, 64}, 1, {true, true, true, true, true});
  check({3, 64}, 1, {false, false, false, false, true});
  Layout steps;
  steps.step = 3;
  check({4, 3, 20}, 1, {true, true, false, false, true}, steps);

  Case exact(kind());
  plan::Norm op;
  op.kind = plan::Norm::Kind::Rms;
  op.rounded = true;
  op.x = exact.operand(type(), {1, 8});
  op.out = exact.operand(type(), {1, 8});
  op.scale = {exact.operand(type(), {1, 8})};
  // mean(x^2) = (1 + 7 * 4) / 8: quotients 0.52523 and 1.05045, which bf16 holds as 0.52344 and
  // 1.04688.
  exact.assign(op.x, {1, 2, 2, 2, 2, 2, 2, 2});
  exact.assign(op.scale[0], std::vector<double>(8, 3));
  auto device = kind().make(StreamPolicy::Inline);
  ASSERT_TRUE(device);
  Bound bound(**device, exact.memory);
  plan::Op whole;
  whole.body = op;
  auto kernel = (*device)->prepare(whole, bound.binding);
  ASSERT_TRUE(kernel);
  (*kernel)->enqueue(0);
  ASSERT_TRUE((*device)->synchronize());
  bound.read(exact.memory);
  if (type() == DataType::BF16) {
    EXPECT_EQ(exact.memory.get(op.out.buffer, 0), 1.5703125);
    EXPECT_EQ(exact.memory.get(op.out.buffer, 1), 3.140625);
  }
}

TEST_P(NormTest, severalDimensions) {
  check({2, 3, 4, 5}, 2, {true, true, true, true});
  check({2, 3, 4, 5}, 4, {true, true, false, false});
  Layout permuted;
  permuted.order = {2, 0, 3, 1};
  check({2, 3, 4, 5}, 2, {true, true, true, true}, permuted);
}

TEST_P(NormTest, layouts) {
  Layout gap;
  gap.gap = 7;
  check({4, 3, 20}, 1, {true, true, false, false}, gap);
  Layout steps;
  steps.step = 3;
  check({4, 3, 20}, 1, {true, true, true, false}, steps);
  Layout transposed;
  transposed.order = {1, 0};
  check({4, 20}, 1, {true, true, false, true}, transposed);
}

TEST_P(NormTest, inPlace) {
  Case test(kind());
  plan::Norm op;
  op.x = op.out = test.operand(type(), {4, 40});
  op.eps = 1e-6f;
  test.check(op, 1e-5);
}

TENON_INSTANTIATE_FLOATS(NormTest);

class RopeTest : public OpTest {
protected:
  void check(std::vector<int64_t> sizes, int64_t half, const Layout &layout, DataType ids) {
    for (bool interleaved : {false, true}) {
      Case test(kind());
      plan::Rope op;
      op.interleaved = interleaved;
      op.x = test.operand(type(), sizes, layout);
      op.out = test.operand(type(), sizes, layout);
      op.cos = test.operand(DataType::F32, {20, half});
      op.sin = test.operand(DataType::F32, {20, half});
      Layout broadcast;
      if (sizes[0] > 2)
        broadcast.broadcast = {0};
      op.positions = test.operand(ids, {sizes[0], sizes[1]}, broadcast);
      std::vector<double> positions;
      for (int64_t i = 0; i < sizes[0] * sizes[1] && i < 8; ++i)
        positions.push_back(double(i * 7 % 20));
      test.assign(op.positions, positions);
      for (int64_t i = int64_t(positions.size()); i < test.memory.elements(op.positions.buffer);
           ++i)
        test.memory.set(op.positions.buffer, i, double(i % 20));
      test.check(op, 1e-6);
    }
  }
};

TEST_P(RopeTest, headsAndTails) {
  check({1, 5, 2, 3, 16}, 8, {}, DataType::I64);
  check({3, 5, 2, 20}, 6, {}, DataType::I32);
  check({2, 4, 33}, 16, {}, DataType::I32);
  check({1, 1, 1, 2}, 1, {}, DataType::I64);
}

TEST_P(RopeTest, emptyAndUnrotated) {
  check({0, 5, 2, 16}, 8, {}, DataType::I64);
  check({1, 0, 2, 16}, 8, {}, DataType::I64);
  check({1, 5, 2, 16}, 0, {}, DataType::I64);
}

TEST_P(RopeTest, layouts) {
  Layout layout;
  layout.order = {0, 2, 1, 3};
  check({2, 5, 3, 16}, 8, layout, DataType::I64);
  layout.order = {3, 0, 2, 1};
  check({2, 5, 3, 16}, 8, layout, DataType::I64);
}

TEST_P(RopeTest, positionOutsideTheTables) {
  Case test(kind());
  plan::Rope op;
  op.x = test.operand(type(), {1, 2, 8});
  op.out = test.operand(type(), {1, 2, 8});
  op.cos = test.operand(DataType::F32, {4, 4});
  op.sin = test.operand(DataType::F32, {4, 4});
  op.positions = test.operand(DataType::I64, {1, 2});
  test.assign(op.positions, {3, 4});
  auto device = kind().make(StreamPolicy::Inline);
  ASSERT_TRUE(device);
  Bound bound(**device, test.memory);
  plan::Op whole;
  whole.body = op;
  auto kernel = (*device)->prepare(whole, bound.binding);
  ASSERT_TRUE(kernel);
  (*kernel)->enqueue(0);
  Status status = (*device)->synchronize();
  if (kind().onCallingThread) {
    EXPECT_EQ(status.code(), Code::Device);
    EXPECT_NE(status.message().find("position 4"), std::string::npos) << status.message();
    return;
  }
  // A kernel has no way to fail: the row becomes NaN.
  EXPECT_TRUE(status) << status.message();
  bound.read(test.memory);
  for (int64_t i = 0; i < 16; ++i)
    EXPECT_EQ(std::isnan(test.memory.get(op.out.buffer, i)), i >= 8) << i;
}

TENON_INSTANTIATE_FLOATS(RopeTest);

class ReduceTest : public OpTest {
protected:
  void check(const std::vector<int64_t> &sizes, std::vector<bool> reduced, const Layout &layout,
             DataType in, DataType out, double tolerance) {
    for (ReduceKind reduce : {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min}) {
      Case test(kind());
      plan::Reduce op;
      op.kind = reduce;
      op.reduced = reduced;
      op.x = test.operand(in, sizes, layout);
      std::vector<int64_t> kept = sizes;
      for (size_t d = 0; d < kept.size(); ++d)
        kept[d] = reduced[d] ? 1 : kept[d];
      op.out = test.operand(out, kept);
      test.check(op, tolerance);
    }
  }
};

TEST_P(ReduceTest, everySetOfDimensions) {
  for (int bits = 0; bits < 8; ++bits)
    for (const Layout &layout : {Layout{}, Layout{{2, 0, 1}, 0, {}, 1, 0}, Layout{{}, 5, {}, 2, 3}})
      check({4, 5, 7}, {bool(bits & 1), bool(bits & 2), bool(bits & 4)}, layout, type(), type(),
            1e-5);
}

TEST_P(ReduceTest, longRows) {
  for (int64_t n : {1, 31, 32, 100, 1023, 1025, 3000}) {
    check({3, n}, {false, true}, {}, type(), type(), 1e-4);
    check({n, 3}, {true, false}, {}, type(), type(), 1e-4);
  }
  check({2, 1500}, {true, false}, {}, type(), type(), 1e-5);
}

TEST_P(ReduceTest, nothing) {
  // Over nothing: the identity.
  check({3, 0}, {false, true}, {}, type(), type(), 1e-5);
  check({0, 3}, {true, false}, {}, type(), type(), 1e-5);
  check({0, 3}, {false, true}, {}, type(), type(), 1e-5);
}

TEST_P(ReduceTest, broadcastOperand) {
  Layout layout;
  layout.broadcast = {1};
  check({4, 6, 3}, {false, true, false}, layout, type(), type(), 1e-5);
  layout.broadcast = {2};
  check({4, 6, 3}, {false, false, true}, layout, type(), type(), 1e-5);
}

TEST_P(ReduceTest, integers) {
  for (DataType integer : {DataType::I32, DataType::I64, DataType::I1})
    check({4, 5, 7}, {true, false, true}, {}, integer,
          integer == DataType::I1 ? DataType::I64 : integer, 0);
}

TEST_P(ReduceTest, notANumberStays) {
  for (ReduceKind reduce : {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min})
    for (int64_t at : {0, 17, 69}) {
      Case test(kind());
      plan::Reduce op;
      op.kind = reduce;
      op.reduced = {false, true};
      op.x = test.operand(type(), {2, 70});
      op.out = test.operand(type(), {2, 1});
      test.memory.set(op.x.buffer, at, NAN);
      test.check(op, 1e-4);
    }
}

TENON_INSTANTIATE_FLOATS(ReduceTest);

class SoftmaxTest : public OpTest {};

TEST_P(SoftmaxTest, everyDimension) {
  for (int dim : {0, 1, 2})
    for (const Layout &layout :
         {Layout{}, Layout{{2, 0, 1}, 0, {}, 1, 0}, Layout{{}, 5, {}, 2, 3}}) {
      Case test(kind());
      plan::Softmax op;
      op.dim = dim;
      op.x = test.operand(type(), {3, 6, 37}, layout);
      op.out = test.operand(type(), {3, 6, 37});
      test.check(op, 1e-6);
    }
}

TEST_P(SoftmaxTest, sizes) {
  for (int64_t n : {0, 1, 2, 16, 17, 64, 129, 1000}) {
    Case test(kind());
    plan::Softmax op;
    op.dim = 1;
    op.x = op.out = test.operand(type(), {5, n});
    test.check(op, 1e-6);
  }
}

TEST_P(SoftmaxTest, extremes) {
  Case test(kind());
  plan::Softmax op;
  op.dim = 1;
  op.x = test.operand(type(), {3, 4});
  op.out = test.operand(type(), {3, 4});
  constexpr double infinity = std::numeric_limits<double>::infinity();
  test.assign(op.x, {-infinity, 1, 2, -infinity, 1e4, -1e4, 1e4, 0, 1, NAN, 0, 0});
  test.check(op, 1e-6);
}

TENON_INSTANTIATE_FLOATS(SoftmaxTest);

} // namespace
} // namespace tenon::runtime::conformance
