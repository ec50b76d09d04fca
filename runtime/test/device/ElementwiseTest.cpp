// SPDX-License-Identifier: Apache-2.0
// Elementwise against the reference: each operator over its range, programs, layouts, integers.
#include "Conformance.h"

#include <cmath>
#include <limits>

namespace tenon::runtime::conformance {
namespace {

using plan::DataType;
using plan::ExprOp;
using plan::ExprTerm;

ExprTerm in(int32_t input) { return {ExprOp::Input, input, 0}; }
ExprTerm value(double constant) { return {ExprOp::Constant, 0, constant}; }
ExprTerm term(ExprOp op) { return {op, 0, 0}; }

class ElementwiseTest : public OpTest {
protected:
  plan::Elementwise make(Case &test, std::vector<ExprTerm> expr, const std::vector<int64_t> &sizes,
                         const std::vector<Layout> &inputs) {
    plan::Elementwise op;
    op.expr = std::move(expr);
    for (const Layout &layout : inputs)
      op.inputs.push_back(test.operand(type(), sizes, layout));
    op.out = test.operand(type(), sizes);
    return op;
  }
};

TEST_P(ElementwiseTest, unaryOperators) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (ExprOp op :
       {ExprOp::Neg, ExprOp::Exp, ExprOp::Log, ExprOp::Tanh, ExprOp::Sigmoid, ExprOp::Relu,
        ExprOp::Gelu, ExprOp::GeluTanh, ExprOp::Silu, ExprOp::Sqrt, ExprOp::Rsqrt, ExprOp::Sin,
        ExprOp::Cos, ExprOp::Abs, ExprOp::Erf, ExprOp::Not}) {
    SCOPED_TRACE(int(op));
    Case test(kind());
    plan::Elementwise body = make(test, {in(0), term(op)}, {2001}, {{}});
    std::vector<double> x;
    for (int i = 0; i <= 1990; ++i)
      x.push_back((i - 995) * 0.0101);
    for (double special : {0.0, -0.0, 1e-6, -1e-6, 1e-30, 30.0, -30.0, 85.0, -85.0, double(NAN)})
      x.push_back(special);
    test.assign(body.inputs[0], x);
    test.check(body, 5e-7);
    if (op == ExprOp::Exp || op == ExprOp::Tanh || op == ExprOp::Sigmoid || op == ExprOp::Erf) {
      Case limits(kind());
      plan::Elementwise ends = make(limits, {in(0), term(op)}, {5}, {{}});
      limits.assign(ends.inputs[0], {infinity, -infinity, 500, -500, NAN});
      limits.check(ends, 1e-6);
    }
  }
}

TEST_P(ElementwiseTest, binaryOperators) {
  for (ExprOp op : {ExprOp::Add, ExprOp::Sub, ExprOp::Mul, ExprOp::Div, ExprOp::Pow, ExprOp::Max,
                    ExprOp::Min, ExprOp::Eq, ExprOp::Ne, ExprOp::Lt, ExprOp::Le, ExprOp::Gt,
                    ExprOp::Ge, ExprOp::And, ExprOp::Or}) {
    SCOPED_TRACE(int(op));
    Case test(kind());
    plan::Elementwise body = make(test, {in(0), in(1), term(op)}, {7, 100}, {{}, {}});
    for (int64_t i = 0; i < 700; i += 3)
      test.memory.set(body.inputs[1].buffer, i, test.memory.get(body.inputs[0].buffer, i));
    for (int64_t i = 0; i < 700; i += 50)
      test.memory.set(body.inputs[i % 100 ? 0 : 1].buffer, i, i % 150 ? 0 : NAN);
    test.check(body, 2e-6);
  }
}

TEST_P(ElementwiseTest, programs) {
  std::vector<std::vector<ExprTerm>> programs = {
      {in(0)},
      {value(2.5)},
      {in(1), term(ExprOp::Silu), in(0), term(ExprOp::Mul)},
      {in(0), in(1), term(ExprOp::Add), term(ExprOp::Gelu)},
      {in(0), value(0), term(ExprOp::Lt), in(1), in(0), term(ExprOp::Select)},
      {in(0), value(3), term(ExprOp::Pow), in(1), value(2), term(ExprOp::Pow), term(ExprOp::Sub)},
      {in(0), in(1), in(0), in(1), term(ExprOp::Mul), term(ExprOp::Add), term(ExprOp::Max),
       value(0.5), term(ExprOp::Mul)},
  };
  for (const std::vector<ExprTerm> &program : programs)
    for (const std::vector<int64_t> &sizes :
         {std::vector<int64_t>{}, {1}, {3, 5}, {511}, {513}, {4, 700}, {3, 1, 2, 4}, {0, 7}}) {
      Case test(kind());
      test.check(make(test, program, sizes, {{}, {}}), 2e-6);
    }
}

TEST_P(ElementwiseTest, sixteenOperators) {
  std::vector<ExprTerm> program = {in(0)};
  for (int i = 0; i < 16; ++i)
    program.insert(program.end(), {in(1), term(i % 2 ? ExprOp::Sub : ExprOp::Add)});
  Case test(kind());
  test.check(make(test, program, {3, 40}, {{}, {}}), 1e-5);
  program.insert(program.end(), {in(1), term(ExprOp::Add)});
  plan::Op op;
  op.body = make(test, program, {3, 40}, {{}, {}});
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
}

TEST_P(ElementwiseTest, deepStack) {
  std::vector<ExprTerm> program(17, in(0));
  program.insert(program.end(), 16, term(ExprOp::Add));
  Case test(kind());
  test.check(make(test, program, {1000}, {{}}), 1e-4);
}

TEST_P(ElementwiseTest, layouts) {
  std::vector<Layout> layouts = {
      Layout{{}, 0, {0}, 1, 0},       Layout{{}, 0, {1}, 1, 0},
      Layout{{}, 0, {2}, 1, 0},       Layout{{}, 0, {0, 1, 2}, 1, 4},
      Layout{{2, 1, 0}, 0, {}, 1, 0}, Layout{{1, 0, 2}, 3, {}, 1, 2},
      Layout{{}, 0, {}, 2, 0},
  };
  for (const Layout &layout : layouts)
    for (const std::vector<int64_t> &sizes :
         {std::vector<int64_t>{3, 4, 5}, {2, 3, 600}, {300, 2, 1}}) {
      Case test(kind());
      plan::Elementwise op = make(test, {in(0), in(1), term(ExprOp::Sub)}, sizes, {{}, layout});
      test.check(op, 1e-6);
      if (layout.broadcast.empty()) {
        op.out = test.operand(type(), sizes, layout);
        test.check(op, 1e-6);
      }
    }
}

TEST_P(ElementwiseTest, inPlace) {
  Case test(kind());
  plan::Elementwise op = make(test, {in(0), in(1), term(ExprOp::Mul)}, {5, 300}, {{}, {}});
  op.out = op.inputs[1];
  test.check(op, 1e-6);
}

TEST_P(ElementwiseTest, comparisonToBool) {
  Case test(kind());
  plan::Elementwise op = make(test, {in(0), in(1), term(ExprOp::Ge)}, {5, 30}, {{}, {}});
  op.out = test.operand(DataType::I1, {5, 30});
  test.check(op, 0);
}

TEST_P(ElementwiseTest, boolInputs) {
  Case test(kind());
  plan::Elementwise op;
  op.expr = {in(0), term(ExprOp::Not), in(1), term(ExprOp::Or)};
  op.inputs = {test.operand(DataType::I1, {40}), test.operand(DataType::I1, {40})};
  op.out = test.operand(type(), {40});
  test.check(op, 0);
}

TEST_P(ElementwiseTest, integers) {
  for (DataType integer : {DataType::I32, DataType::I64})
    for (ExprOp operation :
         {ExprOp::Add, ExprOp::Sub, ExprOp::Mul, ExprOp::Max, ExprOp::Min, ExprOp::Eq, ExprOp::Ne,
          ExprOp::Lt, ExprOp::Le, ExprOp::Gt, ExprOp::Ge}) {
      Case test(kind());
      plan::Elementwise op;
      op.expr = {in(0), term(ExprOp::Neg), in(1),    term(operation),
                 in(1), term(ExprOp::Abs), value(3), term(ExprOp::Select)};
      op.inputs = {test.operand(integer, {7, 90}),
                   test.operand(DataType::I64, {7, 90}, Layout{{}, 0, {0}, 1, 0})};
      op.out = test.operand(integer, {7, 90});
      test.check(op, 0);
    }
}

TEST_P(ElementwiseTest, integersBeyondFloat) {
  // 2^24 + 1 is not an f32.
  Case test(kind());
  plan::Elementwise op;
  op.expr = {in(0), value(1), term(ExprOp::Add)};
  op.inputs = {test.operand(DataType::I64, {3})};
  op.out = test.operand(DataType::I64, {3});
  test.assign(op.inputs[0], {16777216, 9007199254740000, -16777218});
  test.check(op, 0);
}

TEST_P(ElementwiseTest, refusesBadPrograms) {
  Case test(kind());
  for (const std::vector<ExprTerm> &program : {std::vector<ExprTerm>{},
                                               {term(ExprOp::Add)},
                                               {in(0), in(0)},
                                               {in(2)},
                                               {in(0), term(ExprOp(99))}}) {
    plan::Op op;
    op.body = make(test, program, {4}, {{}});
    EXPECT_EQ(test.prepare(op).code(), Code::Plan);
  }
  plan::Elementwise integers;
  integers.expr = {in(0), term(ExprOp::Exp)};
  integers.inputs = {test.operand(DataType::I32, {4})};
  integers.out = test.operand(DataType::I32, {4});
  plan::Op op;
  op.body = integers;
  EXPECT_EQ(test.prepare(op).code(), Code::Plan);
}

TENON_INSTANTIATE_FLOATS(ElementwiseTest);

} // namespace
} // namespace tenon::runtime::conformance
