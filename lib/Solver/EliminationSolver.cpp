// SPDX-License-Identifier: Apache-2.0
// Variable elimination (Bertele and Brioschi 1972; Dechter 1999, bucket elimination). A variable's bucket is
// all tables that mention it; minimising over it leaves one table over its neighbours. Backwards, each variable takes the value that
// is best given those eliminated after it. Where a table would exceed the limit the bucket is split (mini-buckets),
// the result of the forward pass is a lower bound, and local search improves the choice.
//
// Groups are tables over target classes: a helper variable per member holds the form (or target) that its strategy
// makes, so that a table has forms x targets^users entries, not strategies^(users + 1).

#include "tenon/Solver/ShardingProblem.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>

namespace tenon::solver {

namespace {

/// Costs over a list of variables, the last one fastest.
struct Table {
  std::vector<int32_t> variables;
  std::vector<double> costs;
};

class Elimination {
public:
  Elimination(const ShardingProblem &problem, int64_t limit) : limit(limit) {
    for (const Node &node : problem.nodes)
      addVariable(static_cast<int32_t>(node.costs.size()));
    for (size_t i = 0; i < problem.nodes.size(); ++i)
      addTable({{static_cast<int32_t>(i)}, problem.nodes[i].costs});
    std::map<std::pair<int32_t, int32_t>, size_t> merged;
    for (const Edge &edge : problem.edges) {
      auto [it, isNew] = merged.try_emplace({edge.first, edge.second}, tables.size());
      if (isNew)
        addTable({{edge.first, edge.second}, edge.costs});
      else
        for (size_t i = 0; i < edge.costs.size(); ++i)
          tables[it->second].costs[i] += edge.costs[i];
    }
    for (const Group &group : problem.groups)
      addGroup(group);
  }

  /// Runs the forward pass; returns a lower bound on the objective.
  double eliminateAll();
  /// Chooses values backwards.
  std::vector<int32_t> choose() const;

  bool exact = true;
  int64_t largestTable = 0;

private:
  int32_t addVariable(int32_t size) {
    sizes.push_back(size);
    touching.emplace_back();
    return static_cast<int32_t>(sizes.size()) - 1;
  }
  void addTable(Table table) {
    for (int32_t variable : table.variables)
      touching[variable].push_back(static_cast<int32_t>(tables.size()));
    tables.push_back(std::move(table));
    alive.push_back(true);
  }
  int32_t addClass(int32_t node, const std::vector<int32_t> &classOf, std::vector<int32_t> &values);
  void addGroup(const Group &group);
  /// Variables that share a live table with this one.
  std::vector<int32_t> neighbours(int32_t variable) const;
  double tableSize(const std::vector<int32_t> &variables) const {
    double size = 1;
    for (int32_t variable : variables)
      size *= sizes[variable];
    return size;
  }
  void eliminate(int32_t variable);
  Table minimise(int32_t variable, const std::vector<int32_t> &bucket) const;

  int64_t limit;
  std::vector<int32_t> sizes;
  std::vector<std::vector<int32_t>> touching; ///< Tables per variable, dead ones included until compaction.
  std::vector<Table> tables;
  std::vector<bool> alive;
  std::vector<int32_t> order;                 ///< Elimination order.
  std::vector<std::vector<int32_t>> buckets;  ///< Tables in the bucket, per position in `order`.
  std::vector<bool> gone;
  double constant = 0;
};

/// A variable that holds the class of a node's strategy; the node itself where classes and strategies coincide. `values`
/// lists the classes that occur.
int32_t Elimination::addClass(int32_t node, const std::vector<int32_t> &classOf, std::vector<int32_t> &values) {
  values = classOf;
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.size() == classOf.size()) {
    values = classOf;
    return node;
  }
  int32_t helper = addVariable(static_cast<int32_t>(values.size()));
  Table link{{node, helper}, {}};
  for (int32_t c : classOf)
    for (int32_t value : values)
      link.costs.push_back(c == value ? 0 : kInfinity);
  addTable(std::move(link));
  return helper;
}

void Elimination::addGroup(const Group &group) {
  Table table;
  std::vector<std::vector<int32_t>> values(group.users.size() + 1);
  table.variables.push_back(addClass(group.producer, group.form, values[0]));
  for (size_t u = 0; u < group.users.size(); ++u)
    table.variables.push_back(addClass(group.users[u].node, group.users[u].target, values[u + 1]));
  std::vector<size_t> digits(values.size(), 0);
  std::vector<int32_t> targets;
  for (;;) {
    targets.clear();
    for (size_t u = 1; u < values.size(); ++u)
      targets.push_back(values[u][digits[u]]);
    std::sort(targets.begin(), targets.end());
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    double cost = 0;
    for (int32_t target : targets)
      cost += group.price[values[0][digits[0]] * group.targets + target];
    table.costs.push_back(cost);
    size_t i = digits.size();
    while (i > 0 && ++digits[i - 1] == values[i - 1].size())
      digits[--i] = 0;
    if (i == 0)
      break;
  }
  addTable(std::move(table));
}

std::vector<int32_t> Elimination::neighbours(int32_t variable) const {
  std::vector<int32_t> result;
  for (int32_t t : touching[variable])
    if (alive[t])
      for (int32_t other : tables[t].variables)
        if (other != variable)
          result.push_back(other);
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

/// Sums the bucket's tables and minimises over the variable.
Table Elimination::minimise(int32_t variable, const std::vector<int32_t> &bucket) const {
  Table result;
  for (int32_t t : bucket)
    for (int32_t other : tables[t].variables)
      if (other != variable)
        result.variables.push_back(other);
  std::sort(result.variables.begin(), result.variables.end());
  result.variables.erase(std::unique(result.variables.begin(), result.variables.end()), result.variables.end());
  const size_t width = result.variables.size();
  const int32_t own = sizes[variable];

  // Stride of every result variable, and of the eliminated one, in every table of the bucket.
  struct Cursor {
    const double *costs;
    int64_t ownStride, index;
    std::vector<int64_t> strides;
  };
  std::vector<Cursor> cursors;
  for (int32_t t : bucket) {
    Cursor cursor{tables[t].costs.data(), 0, 0, std::vector<int64_t>(width, 0)};
    int64_t stride = 1;
    for (size_t i = tables[t].variables.size(); i-- > 0;) {
      int32_t v = tables[t].variables[i];
      if (v == variable)
        cursor.ownStride = stride;
      else
        cursor.strides[std::lower_bound(result.variables.begin(), result.variables.end(), v) - result.variables.begin()] = stride;
      stride *= sizes[v];
    }
    cursors.push_back(std::move(cursor));
  }
  result.costs.resize(static_cast<size_t>(tableSize(result.variables)));
  std::vector<int32_t> digits(width, 0);
  std::vector<double> sums(own);
  for (double &cell : result.costs) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (const Cursor &cursor : cursors) {
      const double *costs = cursor.costs + cursor.index;
      for (int32_t s = 0; s < own; ++s)
        sums[s] += costs[s * cursor.ownStride];
    }
    cell = *std::min_element(sums.begin(), sums.end());
    for (size_t i = width; i-- > 0;) {
      if (++digits[i] < sizes[result.variables[i]]) {
        for (Cursor &cursor : cursors)
          cursor.index += cursor.strides[i];
        break;
      }
      digits[i] = 0;
      for (Cursor &cursor : cursors)
        cursor.index -= cursor.strides[i] * (sizes[result.variables[i]] - 1);
    }
  }
  return result;
}

void Elimination::eliminate(int32_t variable) {
  std::vector<int32_t> bucket;
  for (int32_t t : touching[variable])
    if (alive[t])
      bucket.push_back(t);
  order.push_back(variable);
  buckets.push_back(bucket);
  for (int32_t t : bucket)
    alive[t] = false;
  // Mini-buckets: first fit, largest tables first, each within the limit.
  std::vector<std::vector<int32_t>> parts;
  std::vector<std::vector<int32_t>> scopes;
  std::stable_sort(bucket.begin(), bucket.end(),
                   [&](int32_t a, int32_t b) { return tables[a].costs.size() > tables[b].costs.size(); });
  for (int32_t t : bucket) {
    bool placed = false;
    for (size_t p = 0; p < parts.size() && !placed; ++p) {
      std::vector<int32_t> scope;
      std::vector<int32_t> sorted = tables[t].variables;
      std::sort(sorted.begin(), sorted.end());
      std::set_union(scopes[p].begin(), scopes[p].end(), sorted.begin(), sorted.end(), std::back_inserter(scope));
      if (tableSize(scope) <= static_cast<double>(limit)) {
        parts[p].push_back(t);
        scopes[p] = std::move(scope);
        placed = true;
      }
    }
    if (!placed) {
      parts.push_back({t});
      scopes.push_back(tables[t].variables);
      std::sort(scopes.back().begin(), scopes.back().end());
    }
  }
  exact &= parts.size() <= 1;
  for (size_t p = 0; p < parts.size(); ++p) {
    largestTable = std::max(largestTable, static_cast<int64_t>(tableSize(scopes[p])));
    Table message = minimise(variable, parts[p]);
    if (message.variables.empty())
      constant += message.costs.front();
    else
      addTable(std::move(message));
  }
}

double Elimination::eliminateAll() {
  const auto count = static_cast<int32_t>(sizes.size());
  gone.assign(count, false);
  auto priority = [&](int32_t variable) { return tableSize(neighbours(variable)) * sizes[variable]; };
  using Item = std::pair<double, int32_t>;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue;
  std::vector<double> current(count);
  for (int32_t v = 0; v < count; ++v)
    queue.push({current[v] = priority(v), v});
  while (!queue.empty()) {
    auto [cost, variable] = queue.top();
    queue.pop();
    if (gone[variable] || cost != current[variable])
      continue;
    std::vector<int32_t> affected = neighbours(variable);
    gone[variable] = true;
    eliminate(variable);
    for (int32_t other : affected) {
      std::erase_if(touching[other], [&](int32_t t) { return !alive[t]; });
      if (double updated = priority(other); updated != current[other])
        queue.push({current[other] = updated, other});
    }
  }
  return constant;
}

std::vector<int32_t> Elimination::choose() const {
  std::vector<int32_t> choice(sizes.size(), -1);
  for (size_t position = order.size(); position-- > 0;) {
    const int32_t variable = order[position];
    std::vector<double> sums(sizes[variable], 0.0);
    for (int32_t t : buckets[position]) {
      int64_t index = 0, ownStride = 0, stride = 1;
      for (size_t i = tables[t].variables.size(); i-- > 0;) {
        int32_t v = tables[t].variables[i];
        if (v == variable)
          ownStride = stride;
        else
          index += stride * choice[v];
        stride *= sizes[v];
      }
      for (int32_t s = 0; s < sizes[variable]; ++s)
        sums[s] += tables[t].costs[index + s * ownStride];
    }
    choice[variable] = static_cast<int32_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
  }
  return choice;
}

/// One node at a time takes its best value until none improves (iterated conditional modes).
void improve(const ShardingProblem &problem, std::vector<int32_t> &choice) {
  double best = evaluate(problem, choice);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < choice.size(); ++i) {
      int32_t kept = choice[i];
      for (int32_t s = 0; s < static_cast<int32_t>(problem.nodes[i].costs.size()); ++s) {
        choice[i] = s;
        if (double cost = evaluate(problem, choice); cost < best) {
          best = cost;
          kept = s;
          changed = true;
        }
      }
      choice[i] = kept;
    }
  }
}

} // namespace

Solution solveByElimination(const ShardingProblem &problem, int64_t tableLimit) {
  Elimination elimination(problem, tableLimit);
  Solution solution;
  solution.bound = elimination.eliminateAll();
  solution.exact = elimination.exact;
  solution.largestTable = elimination.largestTable;
  solution.choice = elimination.choose();
  solution.choice.resize(problem.nodes.size());
  if (!solution.exact && problem.nodes.size() < 2000)
    improve(problem, solution.choice);
  solution.objective = evaluate(problem, solution.choice);
  solution.feasible = std::isfinite(solution.objective);
  // The same sum in another order: a rounding apart is equality.
  if (solution.exact && solution.feasible)
    solution.bound = std::min(solution.objective, std::abs(solution.bound - solution.objective) <= 1e-9 * solution.objective
                                                      ? solution.objective
                                                      : solution.bound);
  return solution;
}

} // namespace tenon::solver
