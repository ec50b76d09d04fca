// SPDX-License-Identifier: Apache-2.0
// A node that everything reads has thousands of edges: it is never merged into another, which would
// move them all.

#include "MergedProblem.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace tenon::solver {

static constexpr size_t kManyEdges = 200;

MergedProblem::MergedProblem(const ShardingProblem &original)
    : nodes(original.nodes.size()), originalNodes(original.nodes.size()) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].costs = original.nodes[i].costs;
    Inside self{static_cast<int32_t>(i), {}};
    for (int32_t s = 0; s < static_cast<int32_t>(nodes[i].costs.size()); ++s)
      self.strategy.push_back(s);
    nodes[i].inside.push_back(std::move(self));
  }
  for (const MemoryUse &use : original.uses)
    if (use.begin < use.end)
      nodes[use.node].uses.push_back(use);
  for (const Group &group : original.groups) {
    nodes[group.producer].grouped = true;
    for (const Group::User &user : group.users)
      nodes[user.node].grouped = true;
  }
  for (const Edge &edge : original.edges)
    addEdge(edge.first, edge.second, edge.costs);
  std::vector<int32_t> all(nodes.size());
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<int32_t>(i);
  makeConsistent(all);
  if (empty)
    return;
  mergeAll();
  makeConsistent(all);
  if (!empty)
    write(original);
}

double MergedProblem::cost(int32_t edge, int32_t node, int64_t own, int64_t other) const {
  const Edge &e = edges[edge];
  return e.first == node ? e.costs[own * size(e.second) + other]
                         : e.costs[other * size(e.second) + own];
}

void MergedProblem::addEdge(int32_t a, int32_t b, const std::vector<double> &costs) {
  auto [it, added] = nodes[a].edges.try_emplace(b, static_cast<int32_t>(edges.size()));
  if (added) {
    nodes[b].edges[a] = it->second;
    edges.push_back({a, b, costs});
    return;
  }
  Edge &edge = edges[it->second];
  const int64_t na = size(a), nb = size(b);
  for (int64_t i = 0; i < na; ++i)
    for (int64_t j = 0; j < nb; ++j)
      edge.costs[edge.first == a ? i * nb + j : j * na + i] += costs[i * nb + j];
}

/// Drops the strategies of a node that are forbidden or that an edge leaves no partner.
bool MergedProblem::restrict(int32_t node) {
  Joined &own = nodes[node];
  std::vector<int32_t> kept;
  for (int32_t s = 0; s < size(node); ++s) {
    bool possible = std::isfinite(own.costs[s]);
    for (auto it = own.edges.begin(); possible && it != own.edges.end(); ++it) {
      possible = false;
      for (int64_t o = 0; o < size(it->first) && !possible; ++o)
        possible = std::isfinite(cost(it->second, node, s, o));
    }
    if (possible)
      kept.push_back(s);
  }
  if (static_cast<int64_t>(kept.size()) == size(node))
    return false;
  auto keep = [&](auto &list) {
    std::decay_t<decltype(list)> fewer;
    for (int32_t s : kept)
      fewer.push_back(list[s]);
    list = std::move(fewer);
  };
  for (auto &[other, index] : own.edges) {
    Edge &edge = edges[index];
    std::vector<double> costs;
    const int64_t before = size(node), others = size(other);
    for (int64_t i = 0; i < (edge.first == node ? static_cast<int64_t>(kept.size()) : others); ++i)
      for (int64_t j = 0; j < (edge.first == node ? others : static_cast<int64_t>(kept.size()));
           ++j)
        costs.push_back(edge.first == node ? edge.costs[kept[i] * others + j]
                                           : edge.costs[i * before + kept[j]]);
    edge.costs = std::move(costs);
  }
  keep(own.costs);
  for (Inside &inside : own.inside)
    keep(inside.strategy);
  for (MemoryUse &use : own.uses)
    keep(use.bytes);
  empty |= kept.empty();
  return true;
}

void MergedProblem::makeConsistent(std::vector<int32_t> list) {
  std::deque<int32_t> queue(list.begin(), list.end());
  std::vector<char> queued(nodes.size(), 1);
  while (!queue.empty() && !empty) {
    const int32_t node = queue.front();
    queue.pop_front();
    queued[node] = false;
    if (!nodes[node].alive || !restrict(node))
      continue;
    for (const auto &[other, edge] : nodes[node].edges)
      if (!queued[other]) {
        queued[other] = true;
        queue.push_back(other);
      }
  }
}

/// True when each strategy of `by` leaves exactly one of `node`.
bool MergedProblem::determines(int32_t edge, int32_t by, int32_t node,
                               std::vector<int32_t> &strategy) const {
  strategy.clear();
  for (int64_t b = 0; b < size(by); ++b) {
    int32_t found = -1;
    for (int32_t s = 0; s < size(node); ++s)
      if (std::isfinite(cost(edge, node, s, b))) {
        if (found >= 0)
          return false;
        found = s;
      }
    if (found < 0)
      return false;
    strategy.push_back(found);
  }
  return true;
}

void MergedProblem::mergeInto(int32_t target, int32_t node, const std::vector<int32_t> &strategy) {
  Joined &to = nodes[target], &from = nodes[node];
  const int32_t between = from.edges.at(target);
  auto follow = [&](auto &list) {
    std::decay_t<decltype(list)> result;
    for (int32_t s : strategy)
      result.push_back(list[s]);
    list = std::move(result);
  };
  for (size_t b = 0; b < strategy.size(); ++b)
    to.costs[b] +=
        from.costs[strategy[b]] + cost(between, node, strategy[b], static_cast<int64_t>(b));
  for (Inside &inside : from.inside) {
    follow(inside.strategy);
    to.inside.push_back(std::move(inside));
  }
  for (MemoryUse &use : from.uses) {
    follow(use.bytes);
    auto same = std::find_if(to.uses.begin(), to.uses.end(), [&](const MemoryUse &other) {
      return other.begin == use.begin && other.end == use.end;
    });
    if (same == to.uses.end()) {
      to.uses.push_back(std::move(use));
      continue;
    }
    for (size_t s = 0; s < use.bytes.size(); ++s)
      same->bytes[s] += use.bytes[s];
  }
  for (const auto &[other, edge] : from.edges)
    nodes[other].edges.erase(node);
  for (const auto &[other, edge] : from.edges) {
    if (other == target)
      continue;
    std::vector<double> costs;
    for (int32_t s : strategy)
      for (int64_t o = 0; o < size(other); ++o)
        costs.push_back(cost(edge, node, s, o));
    addEdge(target, other, costs);
    edges[edge].costs = {};
  }
  edges[between].costs = {};
  from = Joined();
  from.alive = false;
}

void MergedProblem::mergeAll() {
  std::deque<int32_t> queue;
  for (size_t i = 0; i < nodes.size(); ++i)
    queue.push_back(static_cast<int32_t>(i));
  std::vector<int32_t> strategy, around;
  while (!queue.empty()) {
    const int32_t node = queue.front();
    queue.pop_front();
    if (!nodes[node].alive || nodes[node].grouped || nodes[node].edges.size() > kManyEdges)
      continue;
    for (const auto &[other, edge] : nodes[node].edges) {
      if (!determines(edge, other, node, strategy))
        continue;
      around.clear();
      for (const auto &[neighbour, ignored] : nodes[node].edges)
        around.push_back(neighbour);
      mergeInto(other, node, strategy);
      queue.insert(queue.end(), around.begin(), around.end());
      break;
    }
  }
}

void MergedProblem::write(const ShardingProblem &original) {
  std::vector<int32_t> number(nodes.size(), -1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!nodes[i].alive)
      continue;
    number[i] = static_cast<int32_t>(merged.nodes.size());
    merged.nodes.push_back({original.nodes[i].name, nodes[i].costs});
    for (MemoryUse &use : nodes[i].uses) {
      use.node = number[i];
      merged.uses.push_back(std::move(use));
    }
    insideOf.push_back(std::move(nodes[i].inside));
  }
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const auto &[other, index] : nodes[i].edges) {
      if (static_cast<size_t>(other) < i)
        continue;
      Edge edge{number[i], number[other], {}};
      for (int64_t a = 0; a < size(static_cast<int32_t>(i)); ++a)
        for (int64_t b = 0; b < size(other); ++b)
          edge.costs.push_back(cost(index, static_cast<int32_t>(i), a, b));
      merged.edges.push_back(std::move(edge));
    }
  // A node of a group is itself: the first one inside.
  auto follow = [&](int32_t node, const std::vector<int32_t> &list) {
    std::vector<int32_t> result;
    for (int32_t s : insideOf[number[node]].front().strategy)
      result.push_back(list[s]);
    return result;
  };
  for (const Group &group : original.groups) {
    Group own{number[group.producer],
              follow(group.producer, group.form),
              {},
              group.forms,
              group.targets,
              group.price};
    for (const Group::User &user : group.users)
      own.users.push_back({number[user.node], follow(user.node, user.target)});
    merged.groups.push_back(std::move(own));
  }
  merged.memoryLimit = original.memoryLimit;
  nodes.clear();
  edges.clear();
}

std::vector<int32_t> MergedProblem::expand(const std::vector<int32_t> &choice) const {
  std::vector<int32_t> result(originalNodes, 0);
  for (size_t i = 0; i < insideOf.size(); ++i)
    for (const Inside &inside : insideOf[i])
      result[inside.node] = inside.strategy[choice[i]];
  return result;
}

} // namespace tenon::solver
