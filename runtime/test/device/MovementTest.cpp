// SPDX-License-Identifier: Apache-2.0
// Gather, take, copy and fill against the reference: bit for bit where nothing is cast.
#include "Conformance.h"

#include <cmath>
#include <limits>

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;

class MovementTest : public OpTest {};

TEST_P(MovementTest, gatherRows) {
  for (DataType ids : {DataType::I32, DataType::I64}) {
    Case test(kind());
    plan::GatherRows op;
    op.ids = test.operand(ids, {2, 5});
    op.table = test.operand(type(), {7, 3, 4});
    op.out = test.operand(type(), {2, 5, 3, 4});
    op.base = constant(10);
    op.rows = constant(6); // The seventh row is padding.
    test.assign(op.ids, {10, 15, 16, 9, -1, 0, 12, 1000000, 11, 10});
    test.check(op, 0);
  }
}

TEST_P(MovementTest, gatherRowsLayouts) {
  Case test(kind());
  plan::GatherRows op;
  op.ids = test.operand(DataType::I64, {2, 5}, Layout{{1, 0}, 2, {}, 1, 3});
  op.table = test.operand(type(), {7, 3, 4}, Layout{{1, 0, 2}, 1, {}, 1, 0});
  op.out = test.operand(type(), {2, 5, 3, 4}, Layout{{3, 2, 1, 0}, 0, {}, 1, 0});
  op.rows = constant(7);
  test.check(op, 0);
  op.out = test.operand(DataType::F32, {2, 5, 3, 4});
  test.check(op, 0);
}

TEST_P(MovementTest, gatherNothing) {
  Case test(kind());
  plan::GatherRows op;
  op.ids = test.operand(DataType::I64, {0});
  op.table = test.operand(type(), {7, 4});
  op.out = test.operand(type(), {0, 4});
  op.rows = constant(7);
  test.check(op, 0);
  op.ids = test.operand(DataType::I64, {3});
  op.table = test.operand(type(), {0, 4});
  op.out = test.operand(type(), {3, 4});
  op.rows = constant(0);
  test.check(op, 0);
}

TEST_P(MovementTest, gatherIdsAtTheEndsOfTheirRange) {
  Case test(kind());
  plan::GatherRows op;
  op.ids = test.operand(DataType::I32, {2});
  op.table = test.operand(type(), {3, 4});
  op.out = test.operand(type(), {2, 4});
  op.base = constant(2);
  op.rows = constant(3);
  test.assign(op.ids, {-2147483648.0, 2147483647.0});
  test.check(op, 0);
}

TEST_P(MovementTest, take) {
  for (int64_t index : {0, 3, 6, 7, 9}) {
    Case test(kind());
    plan::Take op;
    op.x = test.operand(type(), {2, 5, 6});
    op.out = test.operand(type(), {2, 1, 6});
    op.dim = 1;
    op.index = index;
    op.base = constant(3);
    op.rows = constant(4);
    test.check(op, 0);
  }
}

TEST_P(MovementTest, copyLayouts) {
  std::vector<Layout> layouts = {
      Layout{},
      Layout{{2, 1, 0}, 0, {}, 1, 0},
      Layout{{1, 0, 2}, 0, {}, 1, 0},
      Layout{{0, 2, 1}, 0, {}, 1, 0},
      Layout{{}, 3, {}, 1, 7},
      Layout{{}, 0, {}, 2, 0},
  };
  for (const std::vector<int64_t> &sizes :
       {std::vector<int64_t>{3, 4, 5}, {1, 70, 40}, {2, 1, 9}, {3, 0, 5}})
    for (const Layout &from : layouts)
      for (const Layout &to : layouts) {
        Case test(kind());
        plan::Copy op;
        op.x = test.operand(type(), sizes, from);
        op.out = test.operand(type(), sizes, to);
        test.check(op, 0);
      }
}

TEST_P(MovementTest, copyBroadcast) {
  for (const std::vector<int> &broadcast : {std::vector<int>{0}, {1}, {2}, {0, 1, 2}}) {
    Case test(kind());
    plan::Copy op;
    op.x = test.operand(type(), {3, 4, 50}, Layout{{}, 0, broadcast, 1, 0});
    op.out = test.operand(type(), {3, 4, 50});
    test.check(op, 0);
  }
}

TEST_P(MovementTest, casts) {
  for (DataType to :
       {DataType::F32, DataType::BF16, DataType::F16, DataType::I32, DataType::I64, DataType::I1})
    for (const Layout &layout : {Layout{}, Layout{{1, 0}, 0, {}, 1, 0}}) {
      Case test(kind());
      plan::Copy op;
      op.x = test.operand(type(), {20, 30}, layout);
      op.out = test.operand(to, {20, 30});
      test.check(op, 0);
      Case back(kind());
      op.x = back.operand(to, {20, 30}, layout);
      op.out = back.operand(type(), {20, 30});
      back.check(op, 0);
    }
}

TEST_P(MovementTest, integerCastsAreExact) {
  for (DataType from : {DataType::I32, DataType::I64, DataType::I1})
    for (DataType to : {DataType::I32, DataType::I64, DataType::I1}) {
      Case test(kind());
      plan::Copy op;
      op.x = test.operand(from, {6});
      op.out = test.operand(to, {6});
      if (from != DataType::I1)
        test.assign(op.x, {16777217, -16777217, 2147483647, -2147483647, 0, 1});
      test.check(op, 0);
    }
}

TEST_P(MovementTest, roundingToNarrowTypes) {
  // Halves to even, overflow to infinity, small numbers to denormals, NaN stays.
  Case test(kind());
  plan::Copy op;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> values = {1.00390625, 1.01171875, 3.3961e38, 65519, 65520, 6e-8, 1e-7,
                                2.5e-8,     -1e-40,     infinity,  -0.0,  NAN,   2049, 2051};
  op.x = test.operand(DataType::F32, {int64_t(values.size())});
  op.out = test.operand(type(), {int64_t(values.size())});
  test.assign(op.x, values);
  test.check(op, 0);
}

TEST_P(MovementTest, truncation) {
  // What does not fit saturates; NaN becomes 0.
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values = {1.75, -1.75,    0.5,       -0.5, 100, -100,
                                      NAN,  infinity, -infinity, 3e9,  -3e9};
  for (DataType to : {DataType::I32, DataType::I64}) {
    Case test(kind());
    plan::Copy op;
    op.x = test.operand(type(), {int64_t(values.size())});
    op.out = test.operand(to, {int64_t(values.size())});
    test.assign(op.x, values);
    test.check(op, 0);
  }
}

TEST_P(MovementTest, fill) {
  for (int dim : {-1, 0, 1, 2})
    for (int64_t from : {0, 2, 3, 9})
      for (double value : {0.0, 1.5, -std::numeric_limits<double>::infinity()}) {
        Case test(kind());
        plan::Fill op;
        op.out = test.operand(type(), {3, 4, 5}, Layout{{1, 2, 0}, 1, {}, 1, 2});
        op.dim = dim;
        op.from = constant(from);
        op.value = value;
        test.check(op, 0);
      }
}

TEST_P(MovementTest, fillIntegers) {
  for (DataType integer : {DataType::I32, DataType::I64, DataType::I1}) {
    Case test(kind());
    plan::Fill op;
    op.out = test.operand(integer, {3, 40});
    op.value = 16777217;
    test.check(op, 0);
  }
}

TENON_INSTANTIATE_FLOATS(MovementTest);

} // namespace
} // namespace tenon::runtime::conformance
