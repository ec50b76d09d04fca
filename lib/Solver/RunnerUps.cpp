// SPDX-License-Identifier: Apache-2.0
// What the next best strategy of each node would cost: one small network per node, of the node and
// its neighbours, with everything else held at the solution. Eliminating the neighbours leaves the
// least cost per strategy. Layers repeat, so the networks do: each arrangement of equal tables is
// computed once.

#include "CostNetwork.h"
#include "LocalSearch.h"
#include "ProblemNetwork.h"

#include <algorithm>
#include <map>

namespace tenon::solver {

namespace {

constexpr int64_t kLocalTableLimit = 1 << 20;
/// Users of larger groups do not count each other as neighbours.
constexpr size_t kLargeGroup = 16;

class LocalNetworks {
public:
  LocalNetworks(const ShardingProblem &problem, const std::vector<int32_t> &choice)
      : problem(problem), incidence(problem), network(buildNetwork(problem)), choice(choice),
        touching(network.variableCount()), local(network.variableCount(), -1) {
    TableMemo memo;
    std::vector<int32_t> dimensions;
    for (int32_t t = 0; t < network.tableCount(); ++t) {
      dimensions.clear();
      int64_t entries = 1;
      for (int32_t i = 0; i < network.table(t).arity; ++i) {
        const int32_t v = network.scope(network.table(t))[i];
        touching[v].push_back(t);
        dimensions.push_back(network.size(v));
        entries *= network.size(v);
      }
      contents.push_back(memo.number(dimensions, network.table(t).costs, entries));
    }
  }

  /// Least cost of the terms around a node, per strategy, while its neighbours choose freely.
  const std::vector<double> &costs(int32_t node);

private:
  void collect(int32_t node);
  std::vector<int32_t> arrangement(int32_t kept) const;
  std::vector<double> solve(int32_t kept);

  const ShardingProblem &problem;
  Incidence incidence;
  CostNetwork network;
  const std::vector<int32_t> &choice;
  std::vector<std::vector<int32_t>> touching;
  std::vector<int32_t> local; ///< Number in the small network, -1 for what is held.
  std::vector<int32_t> members, tables;
  std::vector<int32_t> contents; ///< Number per table; equal content, equal number.
  std::map<std::vector<int32_t>, std::vector<double>> known; ///< By arrangement.
};

/// The free variables: node, neighbours, and helpers that share a table with them.
void LocalNetworks::collect(int32_t node) {
  members = {node};
  for (int32_t e : incidence.edges[node])
    members.push_back(problem.edges[e].first == node ? problem.edges[e].second
                                                     : problem.edges[e].first);
  for (int32_t g : incidence.groups[node]) {
    const Group &group = problem.groups[g];
    members.push_back(group.producer);
    if (group.producer == node || group.users.size() <= kLargeGroup)
      for (const Group::User &user : group.users)
        members.push_back(user.node);
  }
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  const size_t free = members.size();
  for (size_t i = 0; i < free; ++i)
    for (int32_t t : touching[members[i]])
      for (int32_t k = 0; k < network.table(t).arity; ++k)
        if (int32_t v = network.scope(network.table(t))[k]; v >= nodes)
          members.push_back(v);
  std::sort(members.begin(), members.end());
  members.erase(std::unique(members.begin(), members.end()), members.end());
  tables.clear();
  for (int32_t v : members)
    tables.insert(tables.end(), touching[v].begin(), touching[v].end());
  std::sort(tables.begin(), tables.end());
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
}

/// What the result depends on, in words: which node is kept, the sizes of the free variables, and
/// per table its content and, per variable, its number here or the value it is held at (as -1 - v).
std::vector<int32_t> LocalNetworks::arrangement(int32_t kept) const {
  std::vector<int32_t> words{kept, static_cast<int32_t>(members.size())};
  for (int32_t v : members)
    words.push_back(network.size(v));
  for (int32_t t : tables) {
    words.push_back(contents[t]);
    for (int32_t i = 0; i < network.table(t).arity; ++i) {
      const int32_t v = network.scope(network.table(t))[i];
      words.push_back(local[v] >= 0 ? local[v] : -1 - choice[v]);
    }
  }
  return words;
}

std::vector<double> LocalNetworks::solve(int32_t kept) {
  CostNetwork small;
  for (int32_t v : members)
    small.addVariable(network.size(v));
  for (int32_t t : tables)
    small.addSlice(network, t, local, choice);
  const EliminationOrder order = small.order(kept);
  std::vector<char> split;
  if (order.largest <= static_cast<double>(kLocalTableLimit))
    small.eliminate(order);
  else
    small.eliminateWithin(order, kLocalTableLimit, split);
  return small.remaining(kept);
}

const std::vector<double> &LocalNetworks::costs(int32_t node) {
  collect(node);
  for (size_t i = 0; i < members.size(); ++i)
    local[members[i]] = static_cast<int32_t>(i);
  const int32_t kept = local[node];
  auto [at, isNew] = known.try_emplace(arrangement(kept));
  if (isNew)
    at->second = solve(kept);
  for (int32_t v : members)
    local[v] = -1;
  return at->second;
}

} // namespace

std::vector<RunnerUp> runnerUps(const ShardingProblem &problem, const Solution &solution) {
  std::vector<RunnerUp> result(problem.nodes.size());
  if (!solution.feasible || solution.choice.size() != problem.nodes.size())
    return result;
  LocalNetworks networks(problem, solution.choice);
  for (int32_t node = 0; node < static_cast<int32_t>(problem.nodes.size()); ++node) {
    const int32_t chosen = solution.choice[node];
    if (problem.nodes[node].costs.size() < 2)
      continue;
    const std::vector<double> &costs = networks.costs(node);
    for (int32_t s = 0; s < static_cast<int32_t>(costs.size()); ++s)
      if (s != chosen && costs[s] - costs[chosen] < result[node].increase)
        result[node] = {s, costs[s] - costs[chosen]};
    result[node].increase = std::max(0.0, result[node].increase);
  }
  return result;
}

} // namespace tenon::solver
