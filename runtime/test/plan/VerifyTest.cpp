// SPDX-License-Identifier: Apache-2.0
// Every rule of the verifier has a plan that breaks it and nothing else.
#include "tenon/runtime/plan/Verify.h"
#include "PlanBuilder.h"
#include "tenon/runtime/plan/Access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

using namespace tenon;
using namespace tenon::plan;
using namespace tenon::plan::test;
using ::testing::HasSubstr;

namespace {

void expectRefused(const Plan &plan, const std::string &message) {
  Status status = verifyAll(plan);
  ASSERT_FALSE(status.ok()) << "expected: " << message;
  EXPECT_EQ(status.code(), Code::Plan);
  EXPECT_THAT(status.message(), HasSubstr(message));
}

/// The n-th op of a kind in the first entry.
template <typename T> T &find(Plan &plan, int n = 0) {
  for (Op &op : plan.entries[0].ops)
    if (T *body = std::get_if<T>(&op.body))
      if (n-- == 0)
        return *body;
  ADD_FAILURE() << "no such op";
  std::abort();
}

Collective &findCollective(Plan &plan, CollectiveKind kind) {
  for (Op &op : plan.entries[0].ops)
    if (auto *body = std::get_if<Collective>(&op.body); body && body->kind == kind)
      return *body;
  ADD_FAILURE() << "no such collective";
  std::abort();
}

template <typename T> struct Case {
  const char *message;
  std::function<void(T &)> change;
};

/// Changes the first op of kind T in the plan with all ops and expects the message.
template <typename T> void expectEachRefused(const std::vector<Case<T>> &cases) {
  for (const Case<T> &c : cases) {
    SCOPED_TRACE(c.message);
    Plan plan = allOpsPlan(2);
    c.change(find<T>(plan));
    expectRefused(plan, c.message);
  }
}

void expectEachRefused(Plan (*make)(), const std::vector<Case<Plan>> &cases) {
  for (const Case<Plan> &c : cases) {
    SCOPED_TRACE(c.message);
    Plan plan = make();
    c.change(plan);
    expectRefused(plan, c.message);
  }
}

Plan mlp2() { return mlpPlan(2); }
Plan all2() { return allOpsPlan(2); }

TEST(Verify, AcceptsTheBuildersPlans) {
  for (int64_t ranks : {1, 2, 3, 4, 5, 8}) {
    for (const Plan &plan : {mlpPlan(ranks), mlpPlan(ranks, 5), allOpsPlan(ranks)}) {
      Status all = verifyAll(plan);
      EXPECT_TRUE(all.ok()) << ranks << " ranks: " << all.message();
      for (int64_t rank = 0; rank < ranks; ++rank)
        EXPECT_TRUE(verify(plan, rank).ok());
    }
  }
}

TEST(Verify, RefusesARankOutsideTheMesh) {
  for (int64_t rank : {int64_t(-1), int64_t(2)}) {
    Status status = verify(mlpPlan(2), rank);
    EXPECT_EQ(status.code(), Code::Plan);
    EXPECT_THAT(status.message(), HasSubstr("of a plan for 2 ranks"));
  }
}

TEST(Verify, NamesEntryOpKindAndLayer) {
  Plan plan = mlpPlan(2);
  find<MatMul>(plan, 1).a.sizes[0] = 5;
  expectRefused(plan, "entry 'forward', op 2 (matmul at mlp.down): label 'm' has sizes 5 and 4");
}

TEST(Verify, NamesTheRankThatLeavesABuffer) {
  // Rank 1 of 2 begins at element 4 * 16 of a buffer of 8 * 8 elements.
  Plan plan = allOpsPlan(2);
  find<Copy>(plan, 1).x.offset = start(8, {1}, 16);
  expectRefused(plan, "copy at slice): x touches elements 64 to 123 of buffer");
  expectRefused(plan, "(rank 1)");
  EXPECT_TRUE(verify(plan, 0).ok());
  EXPECT_FALSE(verify(plan, 1).ok());
}

TEST(Verify, Mesh) {
  expectEachRefused(
      mlp2,
      {
          {"mesh axis 'tp' has size 0", [](Plan &p) { p.mesh[0].size = 0; }},
          {"mesh axis 'tp' has size -2", [](Plan &p) { p.mesh[0].size = -2; }},
          {"mesh has more than 65536 ranks",
           [](Plan &p) { p.mesh.resize(6, {"big", 65536, "big"}); }},
          {"mesh axis has no name", [](Plan &p) { p.mesh[0].name = ""; }},
          {"'tp' has no parent", [](Plan &p) { p.mesh[0].parent = ""; }},
          {"name 'tp' is given to more than one mesh axis",
           [](Plan &p) { p.mesh.push_back({"tp", 1, "tp"}); }},
          {"mesh has 17 axes", [](Plan &p) { p.mesh.resize(17, {"a", 1, "a"}); }},
          {"plan has 0 entries", [](Plan &p) { p.entries.clear(); }},
          {"name 'forward' is given to more than one entry",
           [](Plan &p) { p.entries.push_back(p.entries[0]); }},
          {"pack budget or bytes of weights are negative", [](Plan &p) { p.packBudget = -1; }},
      });
}

TEST(Verify, Weights) {
  auto part = [](Plan &p) -> WeightPart & { return p.weights[0].parts[0]; };
  expectEachRefused(
      mlp2,
      {
          {"weight 0 'w1': part 0 'w1' view at 1 of sizes [8, 16], strides [16, 1] leaves the "
           "stored "
           "tensor [8, 16]",
           [=](Plan &p) { part(p).view.offset = 1; }},
          {"leaves the stored tensor", [=](Plan &p) { part(p).view.storedShape = {8, 15}; }},
          {"leaves the stored tensor", [=](Plan &p) { part(p).view.offset = -1; }},
          {"negative or too large", [=](Plan &p) { part(p).view.strides[0] = INT64_MAX; }},
          {"negative or too large",
           [=](Plan &p) { part(p).view.storedShape = {1ll << 40, 1ll << 40}; }},
          {"has no key", [=](Plan &p) { part(p).view.key = ""; }},
          {"is stored as i64, cannot become f32",
           [=](Plan &p) { part(p).view.type = DataType::I64; }},
          {"has axes for 1 of 2 dimensions", [=](Plan &p) { part(p).dimAxes.pop_back(); }},
          {"names mesh axis 7 of 1", [=](Plan &p) { part(p).dimAxes[1] = {7}; }},
          {"names mesh axis tp twice", [=](Plan &p) { part(p).dimAxes[0] = {0}; }},
          {"is both cut over and partial on axis tp", [=](Plan &p) { part(p).partialAxes = {0}; }},
          {"partial axes: names mesh axis -1", [=](Plan &p) { part(p).partialAxes = {-1}; }},
          {"leaves the weight of 64 elements", [=](Plan &p) { part(p).dstOffset = 1; }},
          {"leaves the weight of 64 elements", [=](Plan &p) { part(p).dstOffset = -1; }},
          {"leaves the weight of 64 elements", [=](Plan &p) { part(p).dimAxes[1] = {}; }},
          {"writes an element twice", [=](Plan &p) { part(p).dstStrides = {4, 1}; }},
          {"part 1 'w1' overlaps an earlier part",
           [=](Plan &p) { p.weights[0].parts.push_back(part(p)); }},
          {"has 0 parts", [=](Plan &p) { p.weights[0].parts.clear(); }},
          {"has -1 elements", [=](Plan &p) { p.weights[0].elements = -1; }},
      });
}

/// A weight of [8, 4 + 2 + 2]: q, k, v side by side, as after merging three matmuls.
Weight mergedWeight() {
  Weight weight{"q+k+v", DataType::F32, 64, {}, false};
  int64_t column = 0;
  for (auto [key, width] : {std::pair("q", 4), {"k", 2}, {"v", 2}}) {
    WeightPart part;
    part.view = {key, DataType::BF16, {8, width}, 0, {8, width}, {width, 1}};
    part.dimAxes.resize(2);
    part.dstOffset = column;
    part.dstStrides = {8, 1};
    column += width;
    weight.parts.push_back(part);
  }
  return weight;
}

TEST(Verify, MergedWeightsAreDisjointByColumns) {
  Plan plan = mlpPlan(2);
  plan.weights.push_back(mergedWeight());
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  plan.weights.back().parts[1].dstOffset = 3;
  expectRefused(plan, "part 1 'k' overlaps an earlier part");
}

TEST(Verify, InterleavedWeightsAreDisjointPerHead) {
  // [heads 2][q 2x3 | k 1x3][columns 5]: the heads' cells hold 45 elements, columns lie innermost.
  Plan plan = mlpPlan(2);
  Weight weight{"qk", DataType::F32, 90, {}, false};
  for (auto [key, rows, offset] : {std::tuple("q", 6, 0), {"k", 3, 30}}) {
    WeightPart part;
    part.view = {key, DataType::F32, {2, rows, 5}, 0, {2, rows, 5}, {rows * 5, 5, 1}};
    part.dimAxes.resize(3);
    part.dstOffset = offset;
    part.dstStrides = {45, 5, 1};
    weight.parts.push_back(part);
  }
  plan.weights.push_back(weight);
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  plan.weights.back().parts[1].dstOffset = 29;
  expectRefused(plan, "overlaps an earlier part");
}

TEST(Verify, Buffers) {
  auto buffer = [](Plan &p, int i) -> Buffer & { return p.entries[0].buffers[i]; };
  expectEachRefused(
      mlp2,
      {
          {"buffer 0 lies at byte 32, expected a multiple of 64",
           [=](Plan &p) { buffer(p, 0).offset = 32; }},
          {"leaves the arena of", [=](Plan &p) { buffer(p, 0).offset = 1 << 20; }},
          {"lies at byte -64", [=](Plan &p) { buffer(p, 0).offset = -64; }},
          {"leaves the arena of 575",
           [=](Plan &p) {
             p.entries[0].arenaBytes = 575;
             p.entries[0].liveBytesBound = 0;
           }},
          {"has 70368744177665 elements",
           [=](Plan &p) { buffer(p, 0).elements = (1ll << 46) + 1; }},
          {"names weight 2 of 2", [=](Plan &p) { buffer(p, 1).weight = 2; }},
          {"names weight -1 of 2", [=](Plan &p) { buffer(p, 1).weight = -1; }},
          {"its weight 'w1' 64 f32", [=](Plan &p) { buffer(p, 1).elements = 63; }},
          {"its weight 'w1' 64 f32", [=](Plan &p) { buffer(p, 1).type = DataType::I32; }},
          {"lies in the arena and names weight 0", [=](Plan &p) { buffer(p, 0).weight = 0; }},
          {"has an arena of -1 bytes", [=](Plan &p) { p.entries[0].arenaBytes = -1; }},
          {"live bytes, expected 0 to the arena's",
           [=](Plan &p) { p.entries[0].liveBytesBound = p.entries[0].arenaBytes + 1; }},
          {"predicted time that is not finite", [=](Plan &p) { p.entries[0].predictedUs = NAN; }},
          {"predicted time that is not finite",
           [=](Plan &p) { p.entries[0].ops[0].predictedUs = NAN; }},
      });
}

TEST(Verify, InputsAndOutputs) {
  auto in = [](Plan &p) -> IO & { return p.entries[0].inputs[0]; };
  auto out = [](Plan &p) -> IO & { return p.entries[0].outputs[0]; };
  expectEachRefused(
      mlp2,
      {
          {"input 'x' names buffer 99 of 7", [=](Plan &p) { in(p).buffer = 99; }},
          {"input 'x' is a weight", [=](Plan &p) { in(p).buffer = 1; }},
          {"input 'x' is f16, its buffer f32", [=](Plan &p) { in(p).type = DataType::F16; }},
          {"input 'x' has block [4, 9], its buffer 32", [=](Plan &p) { in(p).shape = {4, 9}; }},
          {"is cut over mesh axes", [=](Plan &p) { in(p).dimAxes[0] = {0}; }},
          {"has the range [0, 10), expected one of an integer input",
           [=](Plan &p) { in(p).high = 10; }},
          {"input '../x' has a name that no file can have", [=](Plan &p) { in(p).name = "../x"; }},
          {"output '..' has a name that no file can have", [=](Plan &p) { out(p).name = ".."; }},
          {"output 'y=@' has a name that no file can have", [=](Plan &p) { out(p).name = "y=@"; }},
          {"input has no name", [=](Plan &p) { in(p).name = ""; }},
          {"share buffer 0", [=](Plan &p) { p.entries[0].inputs.push_back(in(p)); }},
          {"output 'y' has block [2, 8], its buffer 32", [=](Plan &p) { out(p).dimAxes[0] = {0}; }},
          {"output 'y' has axes for 1 of 2", [=](Plan &p) { out(p).dimAxes.pop_back(); }},
          {"output 'y' has mask rows", [=](Plan &p) { out(p).maskRows = true; }},
          {"name 'y' is given to more than one output",
           [=](Plan &p) { p.entries[0].outputs.push_back(out(p)); }},
      });
}

TEST(Verify, OperandsOfEveryOp) {
  auto x = [](Plan &p) -> Operand & { return find<MatMul>(p).a; };
  auto c = [](Plan &p) -> Operand & { return find<MatMul>(p).c; };
  expectEachRefused(
      mlp2,
      {
          {"a names buffer -1 of 7", [=](Plan &p) { x(p).buffer = -1; }},
          {"a names buffer 7 of 7", [=](Plan &p) { x(p).buffer = 7; }},
          {"a has 2 sizes and 1 strides", [=](Plan &p) { x(p).strides.pop_back(); }},
          {"a has a size or stride that is negative", [=](Plan &p) { x(p).strides[0] = -8; }},
          {"negative or too large", [=](Plan &p) { x(p).sizes = {1ll << 40, 1ll << 40}; }},
          {"a touches elements 1 to 32 of buffer 0, which has 32",
           [=](Plan &p) { x(p).offset.base = 1; }},
          {"a touches elements -1 to 30", [=](Plan &p) { x(p).offset.base = -1; }},
          {"a offset: names mesh axis 1 of 1", [=](Plan &p) { x(p).offset = start(4, {1}); }},
          {"a offset: names mesh axis tp twice", [=](Plan &p) { x(p).offset = start(4, {0, 0}); }},
          {"a offset: is too large",
           [=](Plan &p) { x(p).offset = start(1ll << 40, {0}, 1ll << 40); }},
          {"c writes a weight (buffer 1)", [=](Plan &p) { c(p).buffer = 1; }},
          {"c writes the input 'x'", [=](Plan &p) { c(p).buffer = 0; }},
          {"c writes an element twice", [=](Plan &p) { c(p).strides = {0, 1}; }},
          {"c writes an element twice", [=](Plan &p) { c(p).strides = {7, 1}; }},
          {"c and a overlap in buffer 3",
           [=](Plan &p) {
             MatMul &up = find<MatMul>(p);
             up.a = whole(up.c.buffer, {4, 8});
             up.a.sizes = {4, 8};
           }},
      });
}

TEST(Verify, MatMul) {
  expectEachRefused<MatMul>({
      {"a has labels 'bs' for 3 dimensions", [](MatMul &m) { m.aDims = "bs"; }},
      {"a has label 'k' twice", [](MatMul &m) { m.aDims = "bkk"; }},
      {"a has a label that is no letter", [](MatMul &m) { m.aDims = "b\xffk"; }},
      {"label 's' stands in one operand only", [](MatMul &m) { m.cDims = "btn"; }},
      {"label 'k' has sizes 8 and 7", [](MatMul &m) { m.b.sizes[0] = 7; }},
      {"b is i64, expected f32", [](MatMul &m) { m.b = {0, {}, {8, 8}, {0, 1}}; }},
      {"bias has sizes [8], expected [2, 4, 8]",
       [](MatMul &m) { m.bias[0].sizes = {8}, m.bias[0].strides = {1}; }},
      {"residual has sizes [2, 4, 7]", [](MatMul &m) { m.residual[0].sizes[2] = 7; }},
      {"bias is i64, expected a float type", [](MatMul &m) { m.bias[0].buffer = 0; }},
      {"residual is i64, expected a float type",
       [](MatMul &m) { m.residual[0] = {0, {}, {2, 4, 8}, {4, 1, 0}}; }},
      {"bias is given 2 times", [](MatMul &m) { m.bias.push_back(m.bias[0]); }},
  });
}

TEST(Verify, Attention) {
  expectEachRefused<Attention>({
      {"q has 1 dimensions, expected 5", [](Attention &a) { a.q = whole(a.q.buffer, {64}); }},
      {"k has sizes [2, 4, 2, 3], expected [2, 4, 2, 4]", [](Attention &a) { a.k.sizes[3] = 3; }},
      {"v has sizes [2, 3, 2, 4]", [](Attention &a) { a.v.sizes[1] = 3; }},
      {"out has sizes [2, 4, 2, 1, 3]", [](Attention &a) { a.out.sizes[4] = 3; }},
      {"mask has sizes [2, 4, 3], expected [2, 4, 4]",
       [](Attention &a) { a.mask[0].sizes[2] = 3; }},
      {"mask is f32, expected i1", [](Attention &a) { a.mask[0].buffer = a.q.buffer; }},
      {"bias is i1, expected f32", [](Attention &a) { a.bias[0].buffer = a.mask[0].buffer; }},
      {"scale is not a finite number", [](Attention &a) { a.scale = NAN; }},
      {"position is -1, expected 0 to", [](Attention &a) { a.position = constant(-1); }},
      {"names mesh axis 5 of 2", [](Attention &a) { a.position = start(4, {5}); }},
  });
}

TEST(Verify, GatherRowsAndTake) {
  expectEachRefused<GatherRows>({
      {"out has sizes [2, 4, 8], expected [2, 4, 7]", [](GatherRows &g) { g.table.sizes[1] = 7; }},
      {"ids is f32, expected i32 or i64",
       [](GatherRows &g) { g.ids = {g.table.buffer, {}, {2, 4}, {4, 1}}; }},
      {"rows is 10, expected 0 to 5", [](GatherRows &g) { g.rows = constant(10); }},
      {"rows is -1, expected 0 to 5", [](GatherRows &g) { g.rows = constant(-1); }},
      {"base is -1", [](GatherRows &g) { g.base = constant(-1); }},
      {"table has no dimension of rows",
       [](GatherRows &g) { g.table.sizes = g.table.strides = {}; }},
  });
  expectEachRefused<Take>({
      {"dimension 2 of an operand with 2", [](Take &t) { t.dim = 2; }},
      {"dimension -1 of an operand with 2", [](Take &t) { t.dim = -1; }},
      {"out has sizes [1, 4], expected [8, 1]", [](Take &t) { t.dim = 1; }},
      {"takes index -1", [](Take &t) { t.index = -1; }},
      {"rows is 9, expected 0 to 8", [](Take &t) { t.rows = constant(9); }},
      {"base is -3", [](Take &t) { t.base = constant(-3); }},
  });
}

TEST(Verify, NormAndRope) {
  expectEachRefused<Norm>({
      {"out has sizes [2, 4, 7], expected [2, 4, 8]", [](Norm &n) { n.out.sizes[2] = 7; }},
      {"scale has sizes [2, 4, 7]", [](Norm &n) { n.scale[0].sizes[2] = 7; }},
      {"bias has sizes [2, 4, 7]", [](Norm &n) { n.bias[0].sizes[2] = 7; }},
      {"residual has sizes [2, 4, 7]", [](Norm &n) { n.residual[0].sizes[2] = 7; }},
      {"sum has sizes [2, 4, 7]", [](Norm &n) { n.sum[0].sizes[2] = 7; }},
      {"writes a sum without a residual", [](Norm &n) { n.residual.clear(); }},
      {"normalises 4 of 3 dimensions", [](Norm &n) { n.dims = 4; }},
      {"normalises 0 of 3 dimensions", [](Norm &n) { n.dims = 0; }},
      {"eps is not a finite number", [](Norm &n) { n.eps = NAN; }},
      {"eps is not a finite number", [](Norm &n) { n.eps = -1; }},
      {"out and sum overlap", [](Norm &n) { n.sum = {n.out}; }},
      {"out and x overlap", [](Norm &n) { n.out = n.x; }},
  });
  expectEachRefused<Rope>({
      {"x has 2 dimensions, expected at least 3", [](Rope &r) { r.x = whole(r.x.buffer, {8, 8}); }},
      {"out has sizes [2, 4, 2, 3]", [](Rope &r) { r.out.sizes[3] = 3; }},
      {"positions has sizes [1, 4], expected [2, 4]", [](Rope &r) { r.positions.sizes[0] = 1; }},
      {"positions is f32, expected i32 or i64", [](Rope &r) { r.positions.buffer = r.cos.buffer; }},
      {"sin has sizes [4, 1], expected [4, 2]", [](Rope &r) { r.sin.sizes[1] = 1; }},
      {"rotates 3 pairs of 4 elements",
       [](Rope &r) {
         r.cos = {r.cos.buffer, {}, {2, 3}, {3, 1}};
         r.sin = {r.sin.buffer, {}, {2, 3}, {3, 1}};
       }},
  });
}

TEST(Verify, Expressions) {
  using E = Elementwise;
  expectEachRefused<E>({
      {"term 0 of the expression reads input 2 of 2", [](E &e) { e.expr[0].input = 2; }},
      {"reads input -1 of 2", [](E &e) { e.expr[0].input = -1; }},
      {"term 0 of the expression pops 2 values of 0", [](E &e) { e.expr[0].op = ExprOp::Add; }},
      {"term 1 of the expression pops 2 values of 1", [](E &e) { e.expr.erase(e.expr.begin()); }},
      {"expression leaves 0 values, expected 1", [](E &e) { e.expr.clear(); }},
      {"expression leaves 3 values, expected 1", [](E &e) { e.expr.pop_back(); }},
      {"has 17 operators, expected at most 16",
       [](E &e) { e.expr.insert(e.expr.end(), 15, {ExprOp::Neg, 0, 0}); }},
      {"is not a number", [](E &e) { e.expr[4].value = NAN; }},
      {"is no operator", [](E &e) { e.expr[4].op = ExprOp(77); }},
      {"has 0 inputs", [](E &e) { e.inputs.clear(); }},
      {"input has sizes [8, 3], expected [8, 4]", [](E &e) { e.inputs[0].sizes[1] = 3; }},
      {"mixes integer and float inputs", [](E &e) { e.inputs[1] = {0, {}, {8, 4}, {1, 0}}; }},
      {"out is f32 and the inputs are integers",
       [](E &e) { e.inputs = {{0, {}, {8, 4}, {1, 0}}}, e.expr = {{ExprOp::Input, 0, 0}}; }},
  });
}

TEST(Verify, IntegerExpressions) {
  // out I64 = ids * 2, then one thing wrong at a time.
  auto build = [] {
    Plan plan = emptyPlan({{"tp", 2, "tp"}});
    EntryBuilder e(plan, "forward");
    int32_t ids = e.input("ids", DataType::I64, {4}), out = e.buffer(DataType::I64, {4});
    e.op(Elementwise{{whole(ids, {4})},
                     whole(out, {4}),
                     {{ExprOp::Input, 0, 0}, {ExprOp::Constant, 0, 2}, {ExprOp::Mul, 0, 0}}});
    e.output("out", out, {4});
    e.finish();
    return plan;
  };
  EXPECT_TRUE(verifyAll(build()).ok()) << verifyAll(build()).message();
  expectEachRefused(
      +build,
      {
          {"does not work on integers",
           [](Plan &p) { find<Elementwise>(p).expr[2].op = ExprOp::Div; }},
          {"does not work on integers",
           [](Plan &p) { find<Elementwise>(p).expr[2].op = ExprOp::And; }},
          {"is no 64-bit integer", [](Plan &p) { find<Elementwise>(p).expr[1].value = 0.5; }},
          {"is no 64-bit integer", [](Plan &p) { find<Elementwise>(p).expr[1].value = 0x1p63; }},
          {"is no 64-bit integer", [](Plan &p) { find<Elementwise>(p).expr[1].value = INFINITY; }},
      });
}

TEST(Verify, ReduceSoftmaxCopyFill) {
  expectEachRefused<Reduce>({
      {"tells 1 of 2 dimensions", [](Reduce &r) { r.reduced.pop_back(); }},
      {"out has sizes [8, 1], expected [1, 1]", [](Reduce &r) { r.reduced[0] = true; }},
      {"out is f32, expected i64", [](Reduce &r) { r.x = {0, {}, {8, 4}, {1, 0}}; }},
  });
  expectEachRefused<Softmax>({
      {"dimension 2 of an operand with 2", [](Softmax &s) { s.dim = 2; }},
      {"out has sizes [8, 3]", [](Softmax &s) { s.out.sizes[1] = 3; }},
      {"x is i64, expected a float type", [](Softmax &s) { s.x = {0, {}, {8, 4}, {1, 0}}; }},
  });
  expectEachRefused<Copy>({
      {"out has sizes [8, 8], expected [8, 7]", [](Copy &c) { c.x.sizes[1] = 7; }},
      {"out and x overlap", [](Copy &c) { c.out = c.x; }},
  });
  expectEachRefused<Fill>({
      {"value is not a number", [](Fill &f) { f.value = NAN; }},
      {"value is no integer, for i32", [](Fill &f) { f.value = 0.5; }},
      {"value is no integer, for i32", [](Fill &f) { f.value = INFINITY; }},
      {"value does not fit in i32", [](Fill &f) { f.value = 0x1p31; }},
      {"dimension 1 of an operand with 1", [](Fill &f) { f.dim = 1; }},
      {"dimension -2 of an operand with 1", [](Fill &f) { f.dim = -2; }},
      {"from is -1", [](Fill &f) { f.from = constant(-1); }},
  });
}

TEST(Verify, Groups) {
  expectEachRefused(
      all2,
      {
          {"names no axes", [](Plan &p) { find<Collective>(p).axes = {}; }},
          {"names mesh axis 2 of 2", [](Plan &p) { find<Collective>(p).axes = {2}; }},
          {"names mesh axis -1 of 2", [](Plan &p) { find<Collective>(p).axes = {-1}; }},
          {"names mesh axis tp twice", [](Plan &p) { find<Collective>(p).axes = {1, 1}; }},
          {"out has 64 elements, expected 32 for x with 32 over 1 ranks",
           [](Plan &p) { findCollective(p, CollectiveKind::AllGather).axes = {0}; }},
          {"out has 32 elements, expected 64 for x with 64 over 1 ranks",
           [](Plan &p) { findCollective(p, CollectiveKind::ReduceScatter).axes = {0}; }},
          {"out has 28 elements, expected 32 for x with 32 over 2 ranks",
           [](Plan &p) { findCollective(p, CollectiveKind::Broadcast).out.sizes[0] = 7; }},
          {"x has 63 elements, expected a multiple of the group's size 2",
           [](Plan &p) {
             Collective &c = findCollective(p, CollectiveKind::AllToAll);
             c.x = {c.x.buffer, {}, {63}, {1}}, c.out = {c.out.buffer, {}, {63}, {1}};
           }},
          {"out is bf16, expected f32",
           [](Plan &p) {
             findCollective(p, CollectiveKind::Broadcast).out.buffer = find<Softmax>(p).out.buffer;
           }},
          {"x is not contiguous",
           [](Plan &p) {
             Collective &c = findCollective(p, CollectiveKind::Broadcast);
             c.x.sizes = c.out.sizes = {4, 4};
             c.out.strides = {4, 1}, c.x.strides = {5, 1};
           }},
          {"out is not contiguous",
           [](Plan &p) { findCollective(p, CollectiveKind::Broadcast).out.strides = {1, 8}; }},
          {"sums i1",
           [](Plan &p) {
             Collective &c = find<Collective>(p);
             c.x = whole(p.entries[0].inputs[1].buffer, {2, 4});
             EntryBuilder e(p, "other");
             int32_t flags = int32_t(p.entries[0].buffers.size());
             p.entries[0].buffers.push_back(
                 {Buffer::Kind::Arena, DataType::I1, 8, p.entries[0].arenaBytes, -1});
             p.entries[0].arenaBytes += 64;
             c.out = whole(flags, {2, 4});
           }},
          {"out and x overlap",
           [](Plan &p) {
             Collective &c = findCollective(p, CollectiveKind::AllToAll);
             c.out = c.x;
           }},
      });
}

TEST(Verify, BroadcastMayBeInPlace) {
  Plan plan = allOpsPlan(2);
  Collective &send = findCollective(plan, CollectiveKind::Broadcast);
  find<Softmax>(plan).x = send.out = send.x;
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  // Half over itself is not in place.
  send.x = {send.x.buffer, constant(0), {16}, {1}};
  send.out = {send.x.buffer, constant(8), {16}, {1}};
  expectRefused(plan, "out and x overlap in buffer");
}

TEST(Verify, DefinedBeforeRead) {
  expectEachRefused(
      mlp2, {
                {"op 1 (matmul at mlp.down) reads element 0 of buffer 4, which nothing has written",
                 [](Plan &p) { p.entries[0].ops.erase(p.entries[0].ops.begin() + 1); }},
                {"op 1 (elementwise at mlp.gelu) reads element 31 of buffer 3",
                 [](Plan &p) {
                   // The matmul writes 31 of the 32 elements that gelu reads.
                   MatMul &up = find<MatMul>(p);
                   up.c = {up.c.buffer, {}, {31, 1}, {1, 1}};
                   up.a = {up.a.buffer, {}, {31, 1}, {1, 1}};
                   up.b = {up.b.buffer, {}, {1, 1}, {1, 1}};
                 }},
                {"output 'y' reads element 0 of buffer 6, which nothing has written",
                 [](Plan &p) {
                   Collective &c = find<Collective>(p);
                   c.out = c.x;
                 }},
                {"reads 32 elements of buffer 3, of which only 17 were written",
                 [](Plan &p) {
                   // Elements 0 and 31 in one op, 0, 2, .. 28 in another: the spans cover all, 17
                   // are written.
                   p.entries[0].ops.insert(p.entries[0].ops.begin(), p.entries[0].ops[0]);
                   MatMul &ends = find<MatMul>(p, 0), &even = find<MatMul>(p, 1);
                   ends.b = even.b = {even.b.buffer, {}, {1, 1}, {1, 1}};
                   ends.a = {ends.a.buffer, {}, {2, 1}, {1, 1}};
                   ends.c = {ends.c.buffer, {}, {2, 1}, {31, 1}};
                   even.a = {even.a.buffer, {}, {15, 1}, {1, 1}};
                   even.c = {even.c.buffer, {}, {15, 1}, {2, 1}};
                 }},
            });
}

TEST(Verify, AConcatenationNeedsAllItsParts) {
  // Two copies fill the columns of [4, 8]; without the second the span of the first still covers
  // most.
  auto build = [] {
    Plan plan = emptyPlan({{"tp", 1, "tp"}});
    EntryBuilder e(plan, "forward");
    int32_t x = e.input("x", DataType::F32, {4, 4}), both = e.buffer(DataType::F32, {4, 8});
    e.op(Copy{whole(x, {4, 4}), {both, constant(4), {4, 4}, {8, 1}}});
    e.op(Copy{whole(x, {4, 4}), {both, constant(0), {4, 4}, {8, 1}}});
    e.output("out", both, {4, 8});
    e.finish();
    return plan;
  };
  EXPECT_TRUE(verifyAll(build()).ok()) << verifyAll(build()).message();
  for (int dropped : {0, 1}) {
    Plan plan = build();
    plan.entries[0].ops.erase(plan.entries[0].ops.begin() + dropped);
    EXPECT_FALSE(verifyAll(plan).ok());
  }
  Plan narrow = build();
  // Both write columns up to the last row's end, but each only two columns.
  for (Op &op : narrow.entries[0].ops) {
    auto &copy = std::get<Copy>(op.body);
    copy.x.sizes = copy.out.sizes = {4, 2};
  }
  std::get<Copy>(narrow.entries[0].ops[0].body).out.offset = constant(6);
  expectRefused(narrow, "reads 32 elements of buffer 1, of which only 16 were written");
}

TEST(Verify, AFillDefinesOnlyFromItsLimitOn) {
  auto build = [](int64_t from) {
    Plan plan = emptyPlan({{"tp", 1, "tp"}});
    EntryBuilder e(plan, "forward");
    int32_t x = e.input("x", DataType::F32, {3}), padded = e.buffer(DataType::F32, {5});
    e.op(Copy{whole(x, {3}), whole(padded, {3})});
    e.op(Fill{whole(padded, {5}), 0, 0, constant(from)});
    e.output("out", padded, {5});
    e.finish();
    return plan;
  };
  EXPECT_TRUE(verifyAll(build(3)).ok()) << verifyAll(build(3)).message();
  EXPECT_TRUE(verifyAll(build(0)).ok());
  expectRefused(build(4), "output 'out' reads element 3 of buffer 1");
  expectRefused(build(5), "output 'out' reads element 3 of buffer 1");
  expectRefused(build(1000), "output 'out' reads element 3 of buffer 1");
}

TEST(Verify, Events) {
  expectEachRefused(
      mlp2,
      {
          {"runs on stream 2, expected 0 or 1", [](Plan &p) { p.entries[0].ops[5].stream = 2; }},
          {"runs on stream -1", [](Plan &p) { p.entries[0].ops[5].stream = -1; }},
          {"names event 2 of 2",
           [](Plan &p) { find<Record>(p, 1).event = find<Wait>(p, 1).event = 2; }},
          {"names event -1 of 2", [](Plan &p) { find<Record>(p).event = -1; }},
          {"records event 0 again after op 3 (record)",
           [](Plan &p) { find<Record>(p, 1).event = 0; }},
          {"waits for event 1 before it is recorded", [](Plan &p) { find<Wait>(p).event = 1; }},
          {"waits for event 0 before it is recorded",
           [](Plan &p) { std::swap(p.entries[0].ops[3], p.entries[0].ops[4]); }},
          {"op 4 (all_reduce at mlp.down) begins stream 1 without waiting for an event of stream 0",
           [](Plan &p) { p.entries[0].ops.erase(p.entries[0].ops.begin() + 4); }},
          {"stream 0 ends without waiting for the end of stream 1",
           [](Plan &p) { p.entries[0].ops.pop_back(); }},
          {"has -1 events", [](Plan &p) { p.entries[0].events = -1; }},
          // The wait is there, but its record comes before the product.
          {"op 5 (all_reduce at mlp.down) reads buffer 5, which op 3 (matmul at mlp.down) writes "
           "on the "
           "other stream",
           [](Plan &p) { std::swap(p.entries[0].ops[2], p.entries[0].ops[3]); }},
      });
}

TEST(Verify, EveryDroppedEventIsRefused) {
  // In allOpsPlan some are not needed: its collectives follow one another on stream 1.
  for (const Plan &plan : {mlpPlan(2), mlpPlan(3, 5)})
    for (size_t i = 0; i < plan.entries[0].ops.size(); ++i) {
      const OpBody &body = plan.entries[0].ops[i].body;
      if (!std::holds_alternative<Record>(body) && !std::holds_alternative<Wait>(body))
        continue;
      Plan changed = plan;
      changed.entries[0].ops.erase(changed.entries[0].ops.begin() + i);
      EXPECT_FALSE(verifyAll(changed).ok()) << "dropped op " << i;
    }
}

TEST(Verify, EveryDroppedComputationIsRefused) {
  for (const Plan &plan : {mlpPlan(3), allOpsPlan(3)})
    for (size_t i = 0; i < plan.entries[0].ops.size(); ++i) {
      Plan changed = plan;
      changed.entries[0].ops.erase(changed.entries[0].ops.begin() + i);
      // In-place and padding ops are not needed for definedness.
      const Op &op = plan.entries[0].ops[i];
      const auto *collective = std::get_if<Collective>(&op.body);
      const auto *fill = std::get_if<Fill>(&op.body);
      if (std::holds_alternative<Record>(op.body) || std::holds_alternative<Wait>(op.body))
        continue;
      if ((collective && collective->x == collective->out) ||
          (fill && fill->from.kind == RankValue::Kind::Length))
        continue;
      EXPECT_FALSE(verifyAll(changed).ok()) << "dropped op " << i << " " << opName(op);
    }
}

TEST(Verify, CollectivesHaveATotalOrder) {
  // A second collective on stream 0, with data of its own, beside the one on stream 1.
  Plan plan = mlpPlan(2);
  Entry &entry = plan.entries[0];
  int32_t copy = int32_t(entry.buffers.size());
  entry.buffers.push_back({Buffer::Kind::Arena, DataType::F32, 32, entry.arenaBytes, -1});
  entry.arenaBytes += 128;
  Collective beside{CollectiveKind::AllReduce,
                    ReduceKind::Sum,
                    whole(0, {4, 8}),
                    whole(copy, {4, 8}),
                    {0},
                    "test"};
  entry.ops.insert(entry.ops.begin() + 6, Op{beside, 0, "beside", 0});
  expectRefused(plan, "op 6 (all_reduce at beside) is a collective that is not ordered after op 5");
  entry.ops.erase(entry.ops.begin() + 6);
  entry.ops.insert(entry.ops.begin() + 2, Op{beside, 0, "beside", 0});
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
}

TEST(Verify, BuffersThatDieMayShareBytes) {
  Plan plan = mlpPlan(2);
  auto &buffers = plan.entries[0].buffers;
  // x and h die before y is written by the collective; g is read by the second matmul.
  buffers[6].offset = buffers[0].offset;
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  plan = mlpPlan(2);
  plan.entries[0].buffers[5].offset = plan.entries[0].buffers[3].offset;
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
}

TEST(Verify, EveryOverlapOfLiveBuffersIsRefused) {
  // Arena buffers of mlpPlan: x 0, h 3, g 4, partial 5, y 6; neighbours in the chain are live at
  // once.
  for (auto [a, b] : {std::pair(0, 3), {3, 4}, {4, 5}, {5, 6}})
    for (bool swapped : {false, true}) {
      Plan plan = mlpPlan(2);
      auto &buffers = plan.entries[0].buffers;
      buffers[swapped ? a : b].offset = buffers[swapped ? b : a].offset;
      expectRefused(plan, "buffers " + std::to_string(a) + " and " + std::to_string(b) +
                              " share arena bytes [" + std::to_string(buffers[a].offset));
    }
}

TEST(Verify, ABufferUnderAnInputOrOutputIsLiveToItsEnd) {
  // A scratch buffer of its own time at the start, over an output of the first op.
  Plan plan = emptyPlan({{"tp", 1, "tp"}});
  EntryBuilder e(plan, "forward");
  int32_t x = e.input("x", DataType::F32, {16}), early = e.buffer(DataType::F32, {16}),
          late = e.buffer(DataType::F32, {16});
  e.op(Copy{whole(x, {16}), whole(early, {16})});
  e.op(Copy{whole(x, {16}), whole(late, {16})});
  e.output("early", early, {16});
  e.output("late", late, {16});
  e.finish();
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  plan.entries[0].buffers[late].offset = plan.entries[0].buffers[early].offset;
  expectRefused(plan, "buffers 1 and 2 share arena bytes [64, 128)");
  plan.entries[0].outputs.erase(plan.entries[0].outputs.begin());
  EXPECT_TRUE(verifyAll(plan).ok()) << verifyAll(plan).message();
  plan.entries[0].buffers[late].offset = 0; // over the input, which op 1 still reads
  expectRefused(plan, "buffers 0 and 2 share arena bytes [0, 64)");
}

} // namespace
