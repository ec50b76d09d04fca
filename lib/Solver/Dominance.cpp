// SPDX-License-Identifier: Apache-2.0
// The test adds up, term by term, the most that b can cost above a: sufficient, not necessary. In a
// group, a user's old target may still be demanded by others, so changing targets is charged in
// full.

#include "Dominance.h"

#include "LocalSearch.h"

#include <algorithm>

namespace tenon::solver {

namespace {

class Pruner {
public:
  explicit Pruner(const ShardingProblem &problem)
      : problem(problem), incidence(problem), live(problem.nodes.size()),
        samples(problem.nodes.size()) {
    for (size_t i = 0; i < problem.nodes.size(); ++i) {
      for (double cost : problem.nodes[i].costs)
        live[i].push_back(cost != kInfinity);
      sample(static_cast<int32_t>(i));
    }
  }

  KeptStrategies run() {
    // What a node may lose depends on what its neighbours over edges still have.
    std::vector<char> due(live.size(), true);
    for (bool again = true; again;) {
      again = false;
      for (int32_t node = 0; node < static_cast<int32_t>(live.size()); ++node) {
        if (!due[node])
          continue;
        due[node] = false;
        if (!pruneNode(node))
          continue;
        again = true;
        for (int32_t e : incidence.edges[node])
          due[problem.edges[e].first == node ? problem.edges[e].second : problem.edges[e].first] =
              true;
      }
    }
    KeptStrategies kept(live.size());
    for (size_t i = 0; i < live.size(); ++i)
      for (size_t s = 0; s < live[i].size(); ++s)
        if (live[i][s])
          kept[i].push_back(static_cast<int32_t>(s));
    return kept;
  }

private:
  bool pruneNode(int32_t node) {
    bool removed = false;
    const int32_t count = static_cast<int32_t>(live[node].size());
    for (int32_t a = 0; a < count; ++a)
      for (int32_t b = 0; b < count && live[node][a]; ++b)
        // Of two equals the first stays.
        if (b != a && live[node][b] && sampled(node, a, b) <= 0 && excess(node, a, b) <= 0 &&
            (b < a || excess(node, b, a) > 0)) {
          live[node][a] = false;
          removed = true;
        }
    if (removed)
      sample(node);
    return removed;
  }

  /// Keeps a few of the node's live strategies: the first, the middle one and the last.
  void sample(int32_t node) {
    std::vector<int32_t> left;
    for (size_t s = 0; s < live[node].size(); ++s)
      if (live[node][s])
        left.push_back(static_cast<int32_t>(s));
    samples[node].clear();
    if (!left.empty())
      samples[node] = {left.front(), left[left.size() / 2], left.back()};
  }

  /// A lower bound of excess(), from the neighbours' samples: most pairs need no more.
  double sampled(int32_t node, int32_t a, int32_t b) const {
    double total = problem.nodes[node].costs[b] - problem.nodes[node].costs[a];
    for (int32_t e : incidence.edges[node]) {
      const Edge &edge = problem.edges[e];
      const bool isFirst = edge.first == node;
      const int64_t width = static_cast<int64_t>(problem.nodes[edge.second].costs.size());
      double most = -kInfinity;
      for (int32_t o : samples[isFirst ? edge.second : edge.first])
        most = std::max(most,
                        isFirst ? difference(edge.costs[a * width + o], edge.costs[b * width + o])
                                : difference(edge.costs[o * width + a], edge.costs[o * width + b]));
      if (most == -kInfinity)
        return most;
      total += most;
    }
    return total;
  }

  /// The most by which a term with b exceeds the same term with a.
  static double difference(double withA, double withB) {
    return withA == kInfinity ? -kInfinity : withB - withA;
  }

  double excess(int32_t node, int32_t a, int32_t b) const {
    double total = problem.nodes[node].costs[b] - problem.nodes[node].costs[a];
    for (int32_t e : incidence.edges[node]) {
      const Edge &edge = problem.edges[e];
      const bool isFirst = edge.first == node;
      const int32_t other = isFirst ? edge.second : edge.first;
      const int64_t width = static_cast<int64_t>(problem.nodes[edge.second].costs.size());
      double most = -kInfinity;
      for (int64_t o = 0; o < static_cast<int64_t>(live[other].size()); ++o)
        if (live[other][o])
          most = std::max(
              most, isFirst ? difference(edge.costs[a * width + o], edge.costs[b * width + o])
                            : difference(edge.costs[o * width + a], edge.costs[o * width + b]));
      // Forbidden with everything: a is of no use here, but leave that to the other terms.
      total += most == -kInfinity ? 0 : most;
      if (total == kInfinity)
        return total;
    }
    for (int32_t g : incidence.groups[node]) {
      const Group &group = problem.groups[g];
      if (group.producer == node) {
        for (int32_t t = 0; t < group.targets; ++t)
          total += std::max(
              0.0,
              difference(group.price[static_cast<int64_t>(group.form[a]) * group.targets + t],
                         group.price[static_cast<int64_t>(group.form[b]) * group.targets + t]));
        continue;
      }
      for (const Group::User &user : group.users)
        if (user.node == node && user.target[a] != user.target[b]) {
          double most = 0;
          for (int32_t f = 0; f < group.forms; ++f)
            most = std::max(most,
                            group.price[static_cast<int64_t>(f) * group.targets + user.target[b]]);
          total += most;
        }
    }
    return total;
  }

  const ShardingProblem &problem;
  Incidence incidence;
  std::vector<std::vector<char>> live;
  std::vector<std::vector<int32_t>> samples; ///< A few live strategies per node.
};

} // namespace

KeptStrategies undominated(const ShardingProblem &problem) { return Pruner(problem).run(); }

ShardingProblem restrictedTo(const ShardingProblem &problem, const KeptStrategies &kept) {
  auto pick = [&](const auto &list, int32_t node) {
    std::decay_t<decltype(list)> picked;
    for (int32_t s : kept[node])
      picked.push_back(list[s]);
    return picked;
  };
  ShardingProblem result;
  for (size_t i = 0; i < problem.nodes.size(); ++i)
    result.nodes.push_back(
        {problem.nodes[i].name, pick(problem.nodes[i].costs, static_cast<int32_t>(i))});
  for (const Edge &edge : problem.edges) {
    Edge less{edge.first, edge.second, {}};
    for (int32_t a : kept[edge.first])
      for (int32_t b : kept[edge.second])
        less.costs.push_back(edge.costs[a * problem.nodes[edge.second].costs.size() + b]);
    result.edges.push_back(std::move(less));
  }
  for (const Group &group : problem.groups) {
    Group less{group.producer, pick(group.form, group.producer), {}, group.forms, group.targets,
               group.price};
    for (const Group::User &user : group.users)
      less.users.push_back({user.node, pick(user.target, user.node)});
    result.groups.push_back(std::move(less));
  }
  for (const MemoryUse &use : problem.uses)
    result.uses.push_back({use.node, use.begin, use.end, pick(use.bytes, use.node)});
  result.memoryLimit = problem.memoryLimit;
  return result;
}

} // namespace tenon::solver
