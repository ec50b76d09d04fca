// SPDX-License-Identifier: Apache-2.0
// Nodes and edges are tables as they stand; parallel edges are added up; equal groups share their
// tables.

#include "ProblemNetwork.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace tenon::solver {

namespace {

uint64_t mix(uint64_t hash, uint64_t word) {
  return (hash ^ word) * 0x9E3779B97F4A7C15ull ^ (hash >> 29);
}

/// Fills a group's table over (producer, user 0, user 1, ..): depth first over users, counting
/// demands.
class GroupTable {
public:
  GroupTable(const Group &group, double *out) : group(group), out(out), demands(group.targets, 0) {}

  void fill() {
    for (int32_t form : group.form) {
      prices = group.price.data() + static_cast<int64_t>(form) * group.targets;
      descend(0, 0);
    }
  }

private:
  void descend(size_t user, double cost) {
    if (user == group.users.size()) {
      *out++ = cost;
      return;
    }
    for (int32_t target : group.users[user].target) {
      const double paid = demands[target]++ == 0 ? cost + prices[target] : cost;
      descend(user + 1, paid);
      --demands[target];
    }
  }

  const Group &group;
  double *out;
  std::vector<int32_t> demands;
  const double *prices = nullptr;
};

class Builder {
public:
  Builder(const ShardingProblem &problem, int64_t groupTableLimit, bool relaxed)
      : problem(problem), groupTableLimit(groupTableLimit), relaxed(relaxed) {}

  CostNetwork build() {
    for (const Node &node : problem.nodes) {
      network.addVariable(static_cast<int32_t>(node.costs.size()));
      network.addTable({network.variableCount() - 1}, node.costs.data());
    }
    addEdges();
    for (const Group &group : problem.groups)
      addGroup(group);
    return std::move(network);
  }

private:
  void addEdges();
  void addGroup(const Group &group);
  const double *groupTable(const Group &group, int64_t entries);
  void addHelpers(const Group &group);
  void addShares(const Group &group);

  const ShardingProblem &problem;
  int64_t groupTableLimit;
  bool relaxed;
  CostNetwork network;
  /// Tables of groups seen so far, by hash of their content.
  std::unordered_multimap<uint64_t, std::pair<const Group *, const double *>> known;
};

void Builder::addEdges() {
  // Sort by ends to find parallel edges; the order of first appearance does not matter to a sum.
  std::vector<int32_t> byEnds(problem.edges.size());
  for (size_t i = 0; i < byEnds.size(); ++i)
    byEnds[i] = static_cast<int32_t>(i);
  auto ends = [&](int32_t e) { return std::pair(problem.edges[e].first, problem.edges[e].second); };
  std::stable_sort(byEnds.begin(), byEnds.end(),
                   [&](int32_t a, int32_t b) { return ends(a) < ends(b); });
  for (size_t i = 0; i < byEnds.size(); ++i) {
    const Edge &edge = problem.edges[byEnds[i]];
    if (i > 0 && ends(byEnds[i]) == ends(byEnds[i - 1]))
      network.accumulate(network.tableCount() - 1, static_cast<int64_t>(edge.costs.size()),
                         edge.costs.data());
    else
      network.addTable({edge.first, edge.second}, edge.costs.data());
  }
}

const double *Builder::groupTable(const Group &group, int64_t entries) {
  uint64_t hash = mix(static_cast<uint64_t>(group.targets), group.users.size());
  for (int32_t form : group.form)
    hash = mix(hash, static_cast<uint64_t>(form));
  for (const Group::User &user : group.users)
    for (int32_t target : user.target)
      hash = mix(hash, static_cast<uint64_t>(target));
  for (double price : group.price)
    hash = mix(hash, std::bit_cast<uint64_t>(price));
  auto equal = [&](const Group &other) {
    return other.targets == group.targets && other.form == group.form &&
           other.price == group.price &&
           std::equal(
               other.users.begin(), other.users.end(), group.users.begin(), group.users.end(),
               [](const Group::User &a, const Group::User &b) { return a.target == b.target; });
  };
  auto [begin, end] = known.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (equal(*it->second.first))
      return it->second.second;
  double *costs = network.allocate(entries);
  GroupTable(group, costs).fill();
  known.insert({hash, {&group, costs}});
  return costs;
}

void Builder::addGroup(const Group &group) {
  double entries = static_cast<double>(group.form.size());
  for (const Group::User &user : group.users)
    entries *= static_cast<double>(user.target.size());
  if (entries > static_cast<double>(groupTableLimit)) {
    relaxed ? addShares(group) : addHelpers(group);
    return;
  }
  std::vector<int32_t> scope{group.producer};
  for (const Group::User &user : group.users)
    scope.push_back(user.node);
  network.addTable(scope, groupTable(group, static_cast<int64_t>(entries)));
}

void Builder::addShares(const Group &group) {
  for (const Group::User &user : group.users) {
    double *costs = network.allocate(static_cast<int64_t>(group.form.size() * user.target.size()));
    network.addTable({group.producer, user.node}, costs);
    for (int32_t form : group.form)
      for (int32_t target : user.target)
        *costs++ = group.price[static_cast<int64_t>(form) * group.targets + target] /
                   static_cast<double>(group.users.size());
  }
}

void Builder::addHelpers(const Group &group) {
  const int32_t forms = static_cast<int32_t>(group.form.size());
  for (int32_t target = 0; target < group.targets; ++target) {
    auto price = [&](int32_t strategy) {
      return group.price[static_cast<int64_t>(group.form[strategy]) * group.targets + target];
    };
    bool costs = false;
    for (int32_t s = 0; s < forms; ++s)
      costs |= price(s) > 0;
    std::vector<const Group::User *> users;
    for (const Group::User &user : group.users)
      if (std::find(user.target.begin(), user.target.end(), target) != user.target.end())
        users.push_back(&user);
    if (!costs || users.empty())
      continue;
    if (users.size() == 1) {
      const int64_t own = static_cast<int64_t>(users[0]->target.size());
      double *table = network.allocate(forms * own);
      for (int32_t s = 0; s < forms; ++s)
        for (int64_t u = 0; u < own; ++u)
          table[s * own + u] = users[0]->target[u] == target ? price(s) : 0;
      network.addTable({group.producer, users[0]->node}, table);
      continue;
    }
    const int32_t paid = network.addVariable(2);
    double *table = network.allocate(2 * forms);
    for (int32_t s = 0; s < forms; ++s) {
      table[2 * s] = 0;
      table[2 * s + 1] = price(s);
    }
    network.addTable({group.producer, paid}, table);
    for (const Group::User *user : users) {
      double *demand = network.allocate(2 * static_cast<int64_t>(user->target.size()));
      for (size_t u = 0; u < user->target.size(); ++u) {
        demand[2 * u] = user->target[u] == target ? kInfinity : 0;
        demand[2 * u + 1] = 0;
      }
      network.addTable({user->node, paid}, demand);
    }
  }
}

} // namespace

CostNetwork buildNetwork(const ShardingProblem &problem, int64_t groupTableLimit) {
  return Builder(problem, groupTableLimit, false).build();
}

CostNetwork buildRelaxation(const ShardingProblem &problem, int64_t groupTableLimit) {
  return Builder(problem, groupTableLimit, true).build();
}

} // namespace tenon::solver
