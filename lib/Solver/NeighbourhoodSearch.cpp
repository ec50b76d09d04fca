// SPDX-License-Identifier: Apache-2.0

#include "NeighbourhoodSearch.h"

#include "ProblemNetwork.h"

#include <algorithm>
#include <cmath>

namespace tenon::solver {

namespace {

/// Neighbours of a node that a walk looks at; a value that everything reads has thousands.
constexpr size_t kFanout = 16;
constexpr int32_t kSmallPart = 150, kLargePart = 400;
/// How often multipliers rise before a neighbourhood is given up.
constexpr int kAttempts = 7;
/// Combinations times points in time up to which all are tried.
constexpr double kTryAll = 2e6;

/// The sum of everything finite, so that no finite choice is worse than one prohibition.
double largerThanAll(const ShardingProblem &problem) {
  double sum = 0;
  auto add = [&](const std::vector<double> &costs) {
    double most = 0;
    for (double cost : costs)
      if (std::isfinite(cost))
        most = std::max(most, cost);
    sum += most;
  };
  for (const Node &node : problem.nodes)
    add(node.costs);
  for (const Edge &edge : problem.edges)
    add(edge.costs);
  for (const Group &group : problem.groups)
    for (double price : group.price)
      sum += std::isfinite(price) ? price : 0;
  return 2 * sum + 1e-9;
}

std::unique_ptr<ShardingProblem> soften(const ShardingProblem &problem) {
  auto result = std::make_unique<ShardingProblem>(problem);
  const double large = largerThanAll(problem);
  auto cap = [&](std::vector<double> &costs) {
    for (double &cost : costs)
      cost = std::min(cost, large);
  };
  for (Node &node : result->nodes)
    cap(node.costs);
  for (Edge &edge : result->edges)
    cap(edge.costs);
  for (Group &group : result->groups)
    cap(group.price);
  return result;
}

/// Sum of a network's tables at a choice.
double sumOf(const CostNetwork &network, const std::vector<int32_t> &choice) {
  double sum = 0;
  for (int32_t t = 0; t < network.tableCount(); ++t) {
    const CostNetwork::Table &table = network.table(t);
    int64_t index = 0;
    for (int32_t i = 0; i < table.arity; ++i) {
      const int32_t v = network.scope(table)[i];
      index = index * network.size(v) + choice[v];
    }
    sum += table.costs[index];
  }
  return sum;
}

} // namespace

struct NeighbourhoodSearch::Part {
  std::vector<int32_t> variables;
  EliminationOrder order;
  std::vector<int32_t> tables; ///< Of the whole network.
};

NeighbourhoodSearch::NeighbourhoodSearch(const ShardingProblem &problem,
                                         const MemoryTimeline &timeline,
                                         const std::vector<int32_t> &start, uint32_t seed)
    : problem(problem), timeline(timeline), random(seed) {
  use(problem);
  adopt(start);
  if (!std::isfinite(cost)) {
    softened = soften(problem);
    use(*softened);
    adopt(start);
  }
  record();
}

void NeighbourhoodSearch::use(const ShardingProblem &costs) {
  network = buildNetwork(costs);
  const int32_t count = network.variableCount();
  touching.assign(count, {});
  neighbours.assign(count, {});
  local.assign(count, -1);
  movable.clear();
  for (int32_t t = 0; t < network.tableCount(); ++t) {
    const CostNetwork::Table &table = network.table(t);
    const int32_t *scope = network.scope(table);
    for (int32_t i = 0; i < table.arity; ++i) {
      touching[scope[i]].push_back(t);
      for (int32_t k = 0; k < table.arity; ++k)
        if (k != i && network.size(scope[k]) > 1)
          neighbours[scope[i]].push_back(scope[k]);
    }
  }
  for (int32_t v = 0; v < count; ++v) {
    std::sort(neighbours[v].begin(), neighbours[v].end());
    neighbours[v].erase(std::unique(neighbours[v].begin(), neighbours[v].end()),
                        neighbours[v].end());
    if (network.size(v) > 1)
      movable.push_back(v);
  }
}

/// Takes over a choice of the nodes. Helpers begin as "paid", which is always allowed.
void NeighbourhoodSearch::adopt(const std::vector<int32_t> &nodes) {
  choice.assign(network.variableCount(), 1);
  std::copy_n(nodes.begin(), problem.nodes.size(), choice.begin());
  memory = timeline.changes(choice);
  excess = timeline.excess(memory, problem.memoryLimit).sum;
  cost = sumOf(network, choice);
}

void NeighbourhoodSearch::offer(const std::vector<int32_t> &nodes) {
  const double value = evaluate(problem, nodes);
  if (!(value < bestValue))
    return;
  softened.reset();
  use(problem);
  adopt(nodes);
  record();
}

/// Keeps the present choice if it is the best so far.
bool NeighbourhoodSearch::record() {
  if (excess > 0 || cost >= bestValue)
    return false;
  std::vector<int32_t> nodes(choice.begin(), choice.begin() + problem.nodes.size());
  const double value = evaluate(problem, nodes);
  if (!(value < bestValue * (1 - 1e-12)))
    return false;
  bestValue = value;
  bestChoice = std::move(nodes);
  if (softened) {
    // No prohibition is broken any more, so from now on none will be.
    use(problem);
    adopt(bestChoice);
    softened.reset();
  }
  return true;
}

/// Grows a few regions around random variables, each along the terms of the network. Memory joins
/// what no term does, so there is more than one.
std::vector<int32_t> NeighbourhoodSearch::pick() {
  const int32_t most = random() % 4 == 0 ? kLargePart : kSmallPart;
  // Half of them small: equal layers under one price all change or none do, and only a part that
  // holds one of them changes it alone.
  const int32_t bound = random() % 2 ? most : 2 + below(most) / 8;
  const size_t wanted = 2 + static_cast<size_t>(below(bound));
  std::vector<int32_t> free, front, around;
  std::vector<char> seen(network.variableCount(), 0);
  auto reach = [&](int32_t variable) {
    if (!seen[variable]) {
      seen[variable] = true;
      front.push_back(variable);
    }
  };
  for (int32_t seeds = 1 + below(4); seeds > 0; --seeds)
    reach(movable[below(movable.size())]);
  while (free.size() < wanted && !front.empty()) {
    const size_t at = static_cast<size_t>(below(std::min<size_t>(front.size(), 4)));
    const int32_t variable = front[at];
    front.erase(front.begin() + static_cast<int64_t>(at));
    free.push_back(variable);
    around = neighbours[variable];
    for (size_t i = 0; i < std::min(around.size(), kFanout); ++i) {
      std::swap(around[i], around[i + static_cast<size_t>(below(around.size() - i))]);
      reach(around[i]);
    }
  }
  // A helper that is held would make its users pay.
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  for (size_t i = 0, count = free.size(); i < count; ++i)
    for (int32_t v : neighbours[free[i]])
      if (v >= nodes && std::find(free.begin(), free.end(), v) == free.end())
        free.push_back(v);
  return free;
}

/// Holds released variables again, at random where the elimination is widest, until it fits.
EliminationOrder NeighbourhoodSearch::fit(std::vector<int32_t> &free, int64_t tableLimit) {
  std::vector<int32_t> scope, widest;
  for (;;) {
    CostNetwork shape;
    for (int32_t v : free)
      local[v] = shape.addVariable(network.size(v));
    std::vector<int32_t> tables;
    for (int32_t v : free)
      tables.insert(tables.end(), touching[v].begin(), touching[v].end());
    std::sort(tables.begin(), tables.end());
    tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
    for (int32_t t : tables) {
      scope.clear();
      for (int32_t i = 0; i < network.table(t).arity; ++i)
        if (int32_t v = local[network.scope(network.table(t))[i]]; v >= 0)
          scope.push_back(v);
      if (scope.size() > 1)
        shape.addTable(scope, nullptr);
    }
    for (int32_t v : free)
      local[v] = -1;
    EliminationOrder order = shape.order();
    if (order.largest <= static_cast<double>(tableLimit) || free.size() < 2)
      return order;
    double largest = -1;
    for (size_t at = 0; at < order.variables.size(); ++at) {
      const auto begin = order.neighbours.begin() + (at == 0 ? 0 : order.neighboursEnd[at - 1]);
      const auto end = order.neighbours.begin() + order.neighboursEnd[at];
      double size = std::log2(shape.size(order.variables[at]));
      for (auto it = begin; it != end; ++it)
        size += std::log2(shape.size(*it));
      if (size > largest) {
        largest = size;
        widest.assign(begin, end);
        widest.push_back(order.variables[at]);
      }
    }
    free.erase(free.begin() + widest[static_cast<size_t>(below(widest.size()))]);
  }
}

/// Best values of the part within the memory that the rest leaves. False when none was found.
bool NeighbourhoodSearch::solve(const Part &part, std::vector<int32_t> &values,
                                std::vector<int64_t> &changes) {
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  std::vector<int64_t> held = memory;
  double before = 0;
  for (int32_t v : part.variables)
    if (v < nodes)
      timeline.apply(held, v, choice[v], -1);
  std::vector<double> multipliers, sums;
  double step = 0;
  CostNetwork slices;
  for (int32_t v : part.variables)
    local[v] = slices.addVariable(network.size(v));
  for (int32_t t : part.tables)
    slices.addSlice(network, t, local, choice);
  std::vector<int32_t> scope;
  bool found = false;
  double least = excess * (1 + 1e-12);
  std::vector<int32_t> tried;
  std::vector<int64_t> then;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CostNetwork small;
    for (int32_t v : part.variables)
      small.addVariable(network.size(v));
    for (int32_t t = 0; t < slices.tableCount(); ++t) {
      const CostNetwork::Table &table = slices.table(t);
      scope.assign(slices.scope(table), slices.scope(table) + table.arity);
      small.addTable(scope, table.costs);
    }
    if (attempt > 0) {
      sums.assign(multipliers.size() + 1, 0);
      for (size_t p = 0; p < multipliers.size(); ++p)
        sums[p + 1] = sums[p] + multipliers[p];
      for (int32_t v : part.variables) {
        if (v >= nodes)
          continue;
        double *price = nullptr;
        for (const MemoryTimeline::Span &span : timeline.spans(v)) {
          const double multiplier = sums[span.end] - sums[span.begin];
          if (multiplier <= 0)
            continue;
          if (!price) {
            price = small.allocate(network.size(v));
            std::fill_n(price, network.size(v), 0.0);
            small.addTable({local[v]}, price);
          }
          for (int32_t s = 0; s < network.size(v); ++s)
            price[s] += multiplier * static_cast<double>(span.bytes[s]);
        }
      }
    }
    const double value = small.eliminate(part.order);
    if (!std::isfinite(value))
      break;
    tried = small.choose();
    then = held;
    for (size_t i = 0; i < part.variables.size(); ++i)
      if (part.variables[i] < nodes)
        timeline.apply(then, part.variables[i], tried[i], 1);
    const MemoryTimeline::Excess now = timeline.excess(then, problem.memoryLimit);
    if (now.sum <= least) {
      found = true;
      least = now.sum;
      values = tried;
      changes = then;
    }
    if (now.sum == 0)
      break;
    if (attempt == 0) {
      multipliers.assign(timeline.points(), 0);
      before = value;
      step = std::max(0.02 * std::abs(before), 1e-30) /
             static_cast<double>(std::max<int64_t>(now.most, 1));
    } else {
      step *= 2;
    }
    multipliers[now.worst] += step;
  }
  // Multipliers do not reach every choice.
  if (!multipliers.empty())
    found |= tryAll(part, slices, held, values, changes);
  for (int32_t v : part.variables)
    local[v] = -1;
  return found;
}

/// The best of all combinations within the memory, if there are few. Leaves `values` as they are
/// when there are many or none fits.
bool NeighbourhoodSearch::tryAll(const Part &part, const CostNetwork &slices,
                                 const std::vector<int64_t> &held, std::vector<int32_t> &values,
                                 std::vector<int64_t> &changes) const {
  double combinations = timeline.points();
  for (int32_t v : part.variables)
    combinations *= network.size(v);
  if (combinations > kTryAll)
    return false;
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  std::vector<int32_t> digits(part.variables.size(), 0);
  std::vector<int64_t> now = held;
  auto apply = [&](size_t i, int64_t sign) {
    if (part.variables[i] < nodes)
      timeline.apply(now, part.variables[i], digits[i], sign);
  };
  for (size_t i = 0; i < digits.size(); ++i)
    apply(i, 1);
  std::pair<double, double> best{excess * (1 + 1e-12), kInfinity};
  for (;;) {
    // Less excess before less cost.
    const std::pair value{timeline.excess(now, problem.memoryLimit).sum, sumOf(slices, digits)};
    if (value < best) {
      best = value;
      values = digits;
      changes = now;
    }
    size_t i = 0;
    for (; i < digits.size(); ++i) {
      apply(i, -1);
      digits[i] = digits[i] + 1 < network.size(part.variables[i]) ? digits[i] + 1 : 0;
      apply(i, 1);
      if (digits[i] > 0)
        break;
    }
    if (i == digits.size())
      return std::isfinite(best.second);
  }
}

bool NeighbourhoodSearch::round(double heat, int64_t tableLimit) {
  if (movable.empty())
    return false;
  Part part;
  part.variables = pick();
  part.order = fit(part.variables, tableLimit);
  for (int32_t v : part.variables)
    part.tables.insert(part.tables.end(), touching[v].begin(), touching[v].end());
  std::sort(part.tables.begin(), part.tables.end());
  part.tables.erase(std::unique(part.tables.begin(), part.tables.end()), part.tables.end());
  std::vector<int32_t> values;
  std::vector<int64_t> changes;
  if (!solve(part, values, changes))
    return false;

  auto sum = [&] {
    double total = 0;
    for (int32_t t : part.tables) {
      const CostNetwork::Table &table = network.table(t);
      int64_t index = 0;
      for (int32_t i = 0; i < table.arity; ++i) {
        const int32_t v = network.scope(table)[i];
        index = index * network.size(v) + choice[v];
      }
      total += table.costs[index];
    }
    return total;
  };
  std::vector<int32_t> old;
  const double before = sum();
  for (size_t i = 0; i < part.variables.size(); ++i) {
    old.push_back(choice[part.variables[i]]);
    choice[part.variables[i]] = values[i];
  }
  const double change = sum() - before;
  const double nowExcess = timeline.excess(changes, problem.memoryLimit).sum;
  bool accept = nowExcess < excess * (1 - 1e-12) || change <= 0;
  if (!accept && std::isfinite(bestValue) && heat > 0) {
    const double temperature = 1e-4 * bestValue * std::pow(1e-3, 1 - heat);
    accept = static_cast<double>(random()) / 4294967296.0 < std::exp(-change / temperature);
  }
  if (!accept) {
    for (size_t i = 0; i < part.variables.size(); ++i)
      choice[part.variables[i]] = old[i];
    return false;
  }
  memory = std::move(changes);
  excess = nowExcess;
  cost += change;
  return record();
}

} // namespace tenon::solver
