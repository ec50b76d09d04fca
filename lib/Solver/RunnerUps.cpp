// SPDX-License-Identifier: Apache-2.0
// What the next best strategy of each node would cost: the node is forced, its neighbours take their best values in turn,
// the rest stays. An upper bound on the true increase, exact where neighbours do not interact.

#include "tenon/Solver/ShardingProblem.h"

#include <algorithm>

namespace tenon::solver {

namespace {

/// Costs that touch a node, for quick re-evaluation.
class Incidence {
public:
  Incidence(const ShardingProblem &problem) : problem(problem), edges(problem.nodes.size()), groups(problem.nodes.size()) {
    for (size_t i = 0; i < problem.edges.size(); ++i)
      for (int32_t node : {problem.edges[i].first, problem.edges[i].second})
        edges[node].push_back(static_cast<int32_t>(i));
    for (size_t i = 0; i < problem.groups.size(); ++i) {
      groups[problem.groups[i].producer].push_back(static_cast<int32_t>(i));
      for (const Group::User &user : problem.groups[i].users)
        groups[user.node].push_back(static_cast<int32_t>(i));
    }
  }

  std::vector<int32_t> neighbours(int32_t node) const {
    std::vector<int32_t> result;
    for (int32_t e : edges[node])
      result.push_back(problem.edges[e].first == node ? problem.edges[e].second : problem.edges[e].first);
    for (int32_t g : groups[node]) {
      result.push_back(problem.groups[g].producer);
      for (const Group::User &user : problem.groups[g].users)
        result.push_back(user.node);
    }
    std::erase(result, node);
    std::sort(result.begin(), result.end());
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
  }

  /// Sum of every term that mentions one of these nodes.
  double local(const std::vector<int32_t> &nodes, const std::vector<int32_t> &choice) const {
    std::vector<int32_t> touchedEdges, touchedGroups;
    double total = 0;
    for (int32_t node : nodes) {
      total += problem.nodes[node].costs[choice[node]];
      touchedEdges.insert(touchedEdges.end(), edges[node].begin(), edges[node].end());
      touchedGroups.insert(touchedGroups.end(), groups[node].begin(), groups[node].end());
    }
    auto distinct = [](std::vector<int32_t> &list) {
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
    };
    distinct(touchedEdges);
    distinct(touchedGroups);
    for (int32_t e : touchedEdges) {
      const Edge &edge = problem.edges[e];
      total += edge.costs[choice[edge.first] * problem.nodes[edge.second].costs.size() + choice[edge.second]];
    }
    for (int32_t g : touchedGroups) {
      const Group &group = problem.groups[g];
      std::vector<int32_t> targets;
      for (const Group::User &user : group.users)
        targets.push_back(user.target[choice[user.node]]);
      distinct(targets);
      for (int32_t target : targets)
        total += group.price[group.form[choice[group.producer]] * group.targets + target];
    }
    return total;
  }

private:
  const ShardingProblem &problem;
  std::vector<std::vector<int32_t>> edges, groups;
};

} // namespace

std::vector<RunnerUp> runnerUps(const ShardingProblem &problem, const Solution &solution) {
  Incidence incidence(problem);
  std::vector<RunnerUp> result(problem.nodes.size());
  std::vector<int32_t> choice = solution.choice;
  for (int32_t node = 0; node < static_cast<int32_t>(problem.nodes.size()); ++node) {
    std::vector<int32_t> around = incidence.neighbours(node), scope = around;
    scope.push_back(node);
    const double base = incidence.local(scope, solution.choice);
    for (int32_t s = 0; s < static_cast<int32_t>(problem.nodes[node].costs.size()); ++s) {
      if (s == solution.choice[node])
        continue;
      choice[node] = s;
      // Two sweeps: forwards and backwards, so that a change on one side reaches the other.
      for (int sweep = 0; sweep < 2; ++sweep) {
        for (int32_t other : around) {
          double best = kInfinity;
          int32_t kept = choice[other];
          for (int32_t o = 0; o < static_cast<int32_t>(problem.nodes[other].costs.size()); ++o) {
            choice[other] = o;
            if (double cost = incidence.local(scope, choice); cost < best) {
              best = cost;
              kept = o;
            }
          }
          choice[other] = kept;
        }
        std::reverse(around.begin(), around.end());
      }
      double increase = incidence.local(scope, choice) - base;
      if (increase < result[node].increase)
        result[node] = {s, std::max(0.0, increase)};
      for (int32_t other : scope)
        choice[other] = solution.choice[other];
    }
  }
  return result;
}

} // namespace tenon::solver
