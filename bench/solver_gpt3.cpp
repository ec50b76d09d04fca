// SPDX-License-Identifier: Apache-2.0
// Times the solver on GPT-3 shaped problems (2048 tokens, 12288 wide, 96 heads, bf16) that it
// builds from rules, strategies and reshard prices without a compiler around them: layers of 34
// variables, weights among them.
//   solver_gpt3 [--benchmark_filter=...]

#include "tenon/Cost/CostModel.h"
#include "tenon/Solver/ShardingProblem.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

using namespace tenon;
using namespace tenon::sharding;

namespace {

constexpr int64_t kTokens = 2048, kHeads = 96, kHead = 128, kInner = 4 * kHeads * kHead;

/// What a kind of op is, once for all layers.
struct Kind {
  Rule rule;
  std::vector<std::vector<int64_t>> operandShapes;
  std::vector<int64_t> resultShape;
  double flops = 0;
  std::vector<Strategy> strategies;
  std::vector<double> costs;
};

class Builder {
public:
  explicit Builder(Mesh mesh) : mesh(std::move(mesh)), model(load()) {
    const Factor s{"s", kTokens}, h{"h", kHeads}, d{"d", kHead}, f{"f", kInner};
    auto whole = [](Factor factor) {
      factor.kind = FactorKind::Whole;
      return factor;
    };
    auto reduced = [](Factor factor) {
      factor.kind = FactorKind::Reduction;
      return factor;
    };
    // Values are [s,h,d] (the model's width as heads) or [s,f]. Element-wise ops take a bias as
    // second operand.
    norm = kind({s, whole(h), whole(d)}, {{{0}, {1}, {2}}, {{1}, {2}}}, {{0}, {1}, {2}},
                Linearity::None, {});
    bias = kind({s, h, d}, {{{0}, {1}, {2}}, {{1}, {2}}}, {{0}, {1}, {2}}, Linearity::Sum, {0, 1});
    biasInner = kind({s, f}, {{{0}, {1}}, {{1}}}, {{0}, {1}}, Linearity::Sum, {0, 1});
    gelu = kind({s, f}, {{{0}, {1}}}, {{0}, {1}}, Linearity::None, {});
    add = kind({s, h, d}, {{{0}, {1}, {2}}, {{0}, {1}, {2}}}, {{0}, {1}, {2}}, Linearity::Sum,
               {0, 1});
    // [s,h,d] x [h,d,g,e] -> [s,g,e].
    Factor g = h, e = d;
    g.name = "g";
    e.name = "e";
    project = kind({s, reduced(h), whole(d), g, whole(e)}, {{{0}, {1}, {2}}, {{1}, {2}, {3}, {4}}},
                   {{0}, {3}, {4}}, Linearity::Product, {0, 1},
                   2.0 * kTokens * kHeads * kHead * kHeads * kHead);
    up = kind({s, reduced(h), whole(d), f}, {{{0}, {1}, {2}}, {{1}, {2}, {3}}}, {{0}, {3}},
              Linearity::Product, {0, 1}, 2.0 * kTokens * kHeads * kHead * kInner);
    down = kind({s, reduced(f), h, whole(d)}, {{{0}, {1}}, {{1}, {2}, {3}}}, {{0}, {2}, {3}},
                Linearity::Product, {0, 1}, 2.0 * kTokens * kInner * kHeads * kHead);
    Factor t = whole(s);
    t.name = "t";
    attention =
        kind({s, h, t, whole(d)}, {{{0}, {1}, {3}}, {{2}, {1}, {3}}, {{2}, {1}, {3}}},
             {{0}, {1}, {3}}, Linearity::None, {}, 4.0 * kTokens * kTokens * kHeads * kHead);
  }

  solver::ShardingProblem build(int layers) {
    problem = {};
    values.clear();
    int x = op(gelu3(), {}, false); // The embedding's output stands for the input.
    for (int layer = 0; layer < layers; ++layer) {
      const int normed = op(norm, {x});
      std::vector<int> heads;
      for (int k = 0; k < 3; ++k)
        heads.push_back(op(bias, {op(project, {normed})}));
      const int attended = op(attention, heads, false);
      x = op(add, {x, op(bias, {op(project, {attended})})}, false);
      const int inner = op(gelu, {op(biasInner, {op(up, {op(norm, {x})})})}, false);
      x = op(add, {x, op(bias, {op(down, {inner})})}, false);
    }
    connect();
    return std::move(problem);
  }

private:
  struct Use {
    int node;
    const Kind *kind;
    int operand;
  };
  struct Value {
    int node;
    const Kind *kind;
    std::vector<Use> uses;
  };

  static cost::CostModel load() {
    std::string error;
    auto machine = cost::loadMachine("h100-sxm", error);
    if (!machine) {
      std::fprintf(stderr, "solver_gpt3: %s\n", error.c_str());
      std::exit(3);
    }
    return cost::CostModel(*machine);
  }

  /// A producer of [s,h,d] without operands.
  const Kind &gelu3() {
    if (!source) {
      source = std::make_unique<Kind>(*add);
      source->rule.operands.clear();
      source->rule.linearity = Linearity::None;
      source->operandShapes.clear();
      finish(*source);
    }
    return *source;
  }
  int op(const std::unique_ptr<Kind> &kind, const std::vector<int> &operands, bool weight = true) {
    return op(*kind, operands, weight);
  }
  int op(const Kind &kind, const std::vector<int> &operands, bool weight) {
    const int node = static_cast<int>(problem.nodes.size());
    problem.nodes.push_back({"", kind.costs});
    for (size_t i = 0; i < operands.size(); ++i)
      values[operands[i]].uses.push_back({node, &kind, static_cast<int>(i)});
    if (weight)
      addWeight({node, &kind, static_cast<int>(kind.rule.operands.size()) - 1});
    values.push_back({node, &kind, {}});
    return static_cast<int>(values.size()) - 1;
  }

  std::unique_ptr<Kind> kind(std::vector<Factor> factors, std::vector<ValueFactors> operands,
                             ValueFactors result, Linearity linearity,
                             std::vector<int> linearOperands, double flops = 0) {
    auto made = std::make_unique<Kind>();
    made->rule = {std::move(factors),
                  std::move(operands),
                  {std::move(result)},
                  linearity,
                  std::move(linearOperands)};
    made->flops = flops;
    auto shapeOf = [&](const ValueFactors &value) {
      std::vector<int64_t> shape;
      for (const DimFactors &dim : value)
        shape.push_back(made->rule.factors[dim[0]].size);
      return shape;
    };
    for (const ValueFactors &operand : made->rule.operands)
      made->operandShapes.push_back(shapeOf(operand));
    made->resultShape = shapeOf(made->rule.results[0]);
    finish(*made);
    return made;
  }

  void finish(Kind &made) {
    made.strategies = *enumerateStrategies(made.rule, mesh);
    made.costs.clear();
    auto bytes = [&](const std::vector<int64_t> &shape, const Sharding &sharding) {
      double product = 2;
      for (int64_t size : localShape(shape, sharding, mesh))
        product *= static_cast<double>(size);
      return product;
    };
    for (const Strategy &strategy : made.strategies) {
      double total = bytes(made.resultShape, resultSharding(made.rule, strategy, 0)), share = 1;
      for (size_t i = 0; i < made.operandShapes.size(); ++i)
        total +=
            bytes(made.operandShapes[i], operandSharding(made.rule, strategy, static_cast<int>(i)));
      for (const AxisList &axes : strategy.factorAxes)
        share /= static_cast<double>(mesh.size(axes));
      made.costs.push_back(model.opSeconds(made.flops * share, total, plan::DataType::BF16));
    }
  }

  /// A weight keeps one sharding of those that its user can demand, over every axis where the user
  /// can take that.
  void addWeight(const Use &use) {
    std::vector<Sharding> demands, candidates;
    for (const Strategy &strategy : use.kind->strategies)
      demands.push_back(operandSharding(use.kind->rule, strategy, use.operand));
    auto ways = [&](const Sharding &sharding) {
      int64_t product = 1;
      for (const AxisList &axes : sharding.dims)
        product *= mesh.size(axes);
      return product;
    };
    int64_t most = 1;
    for (const Sharding &demand : demands)
      if (demand.partial.empty())
        most = std::max(most, ways(demand));
    for (const Sharding &demand : demands)
      if (ways(demand) == most &&
          std::find(candidates.begin(), candidates.end(), demand) == candidates.end())
        candidates.push_back(demand);
    const int node = static_cast<int>(problem.nodes.size());
    problem.nodes.push_back({"", std::vector<double>(candidates.size(), 0.0)});
    solver::Edge edge{use.node, node, {}};
    for (const Sharding &demand : demands)
      for (const Sharding &candidate : candidates)
        edge.costs.push_back(demand == candidate ? 0 : solver::kInfinity);
    problem.edges.push_back(std::move(edge));
  }

  double seconds(const std::vector<int64_t> &shape, const Sharding &from, const Sharding &to) {
    auto it = graphs.find(shape);
    if (it == graphs.end())
      it = graphs.emplace(shape, ReshardGraph(shape, mesh, model.stepPrice(shape, mesh, 2))).first;
    return it->second.seconds(from, to);
  }

  static std::vector<int32_t> number(const std::vector<Sharding> &list,
                                     std::vector<Sharding> &distinct) {
    std::vector<int32_t> result;
    for (const Sharding &sharding : list) {
      auto it = std::find(distinct.begin(), distinct.end(), sharding);
      result.push_back(static_cast<int32_t>(it - distinct.begin()));
      if (it == distinct.end())
        distinct.push_back(sharding);
    }
    return result;
  }

  /// Every value becomes a group over its users; with one user, an edge.
  void connect() {
    // Prices per (producer kind, users' kinds and operands): layers repeat.
    std::map<std::vector<const void *>, solver::Group> known;
    for (const Value &value : values) {
      if (value.uses.empty())
        continue;
      std::vector<const void *> key{value.kind};
      for (const Use &use : value.uses) {
        key.push_back(use.kind);
        key.push_back(&use.kind->operandShapes[use.operand]);
      }
      auto [it, isNew] = known.try_emplace(key);
      solver::Group &group = it->second;
      if (isNew) {
        std::vector<Sharding> list, forms, targets;
        for (const Strategy &strategy : value.kind->strategies)
          list.push_back(resultSharding(value.kind->rule, strategy, 0));
        group.form = number(list, forms);
        for (const Use &use : value.uses) {
          list.clear();
          for (const Strategy &strategy : use.kind->strategies)
            list.push_back(operandSharding(use.kind->rule, strategy, use.operand));
          group.users.push_back({0, number(list, targets)});
        }
        group.forms = static_cast<int32_t>(forms.size());
        group.targets = static_cast<int32_t>(targets.size());
        for (const Sharding &form : forms)
          for (const Sharding &target : targets)
            group.price.push_back(seconds(value.kind->resultShape, form, target));
      }
      group.producer = value.node;
      for (size_t u = 0; u < value.uses.size(); ++u)
        group.users[u].node = value.uses[u].node;
      if (value.uses.size() >= 2) {
        problem.groups.push_back(group);
        continue;
      }
      solver::Edge edge{value.node, value.uses[0].node, {}};
      for (int32_t form : group.form)
        for (int32_t target : group.users[0].target)
          edge.costs.push_back(group.price[form * group.targets + target]);
      problem.edges.push_back(std::move(edge));
    }
  }

  Mesh mesh;
  cost::CostModel model;
  std::unique_ptr<Kind> norm, bias, biasInner, gelu, add, project, up, down, attention, source;
  solver::ShardingProblem problem;
  std::vector<Value> values;
  std::map<std::vector<int64_t>, ReshardGraph> graphs;
};

void solve(benchmark::State &state, const Mesh &mesh, int layers) {
  const solver::ShardingProblem problem = Builder(mesh).build(layers);
  if (std::string why = solver::check(problem); !why.empty()) {
    state.SkipWithError(why.c_str());
    return;
  }
  solver::Solution solution;
  for (auto _ : state)
    benchmark::DoNotOptimize(solution = solver::solveByElimination(problem));
  state.counters["nodes"] = static_cast<double>(problem.nodes.size());
  state.counters["groups"] = static_cast<double>(problem.groups.size());
  state.counters["table"] = static_cast<double>(solution.largestTable);
  state.counters["exact"] = solution.exact && solution.feasible;
  state.counters["predicted_ms"] = solution.objective * 1e3;
}

void build(benchmark::State &state, const Mesh &mesh, int layers) {
  for (auto _ : state)
    benchmark::DoNotOptimize(Builder(mesh).build(layers));
}

const Mesh kOne{{{"tp", 8, "tp"}}};
const Mesh kTwo{{{"node", 2, "node"}, {"tp", 8, "tp"}}};

BENCHMARK_CAPTURE(solve, tp8_96_layers, kOne, 96)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(solve, tp8_1000_layers, kOne, 1000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(solve, node2_tp8_2_layers, kTwo, 2)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(solve, node2_tp8_96_layers, kTwo, 96)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(build, tp8_96_layers, kOne, 96)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(build, node2_tp8_96_layers, kTwo, 96)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
