// SPDX-License-Identifier: Apache-2.0
// Local search needs only the terms around one node, so a round is linear in the size of the
// problem.

#include "LocalSearch.h"

#include <algorithm>

namespace tenon::solver {

Incidence::Incidence(const ShardingProblem &problem)
    : edges(problem.nodes.size()), groups(problem.nodes.size()) {
  for (size_t i = 0; i < problem.edges.size(); ++i)
    for (int32_t node : {problem.edges[i].first, problem.edges[i].second})
      edges[node].push_back(static_cast<int32_t>(i));
  for (size_t i = 0; i < problem.groups.size(); ++i) {
    groups[problem.groups[i].producer].push_back(static_cast<int32_t>(i));
    for (const Group::User &user : problem.groups[i].users)
      groups[user.node].push_back(static_cast<int32_t>(i));
  }
}

std::vector<int32_t> Incidence::neighbours(const ShardingProblem &problem, int32_t node) const {
  std::vector<int32_t> result;
  for (int32_t e : edges[node])
    result.push_back(problem.edges[e].first == node ? problem.edges[e].second
                                                    : problem.edges[e].first);
  for (int32_t g : groups[node]) {
    result.push_back(problem.groups[g].producer);
    for (const Group::User &user : problem.groups[g].users)
      result.push_back(user.node);
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  std::erase(result, node);
  return result;
}

void improve(const ShardingProblem &problem, const Incidence &incidence,
             std::vector<int32_t> &choice) {
  std::vector<int32_t> targets;
  auto around = [&](int32_t node) {
    Score score;
    score.add(problem.nodes[node].costs[choice[node]]);
    for (int32_t e : incidence.edges[node]) {
      const Edge &edge = problem.edges[e];
      score.add(edge.costs[choice[edge.first] * problem.nodes[edge.second].costs.size() +
                           choice[edge.second]]);
    }
    for (int32_t g : incidence.groups[node]) {
      const Group &group = problem.groups[g];
      targets.clear();
      for (const Group::User &user : group.users)
        targets.push_back(user.target[choice[user.node]]);
      std::sort(targets.begin(), targets.end());
      targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
      for (int32_t target : targets)
        score.add(
            group.price[static_cast<int64_t>(group.form[choice[group.producer]]) * group.targets +
                        target]);
    }
    return score;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (int32_t node = 0; node < static_cast<int32_t>(choice.size()); ++node) {
      Score best = around(node);
      int32_t kept = choice[node];
      for (int32_t s = 0; s < static_cast<int32_t>(problem.nodes[node].costs.size()); ++s) {
        choice[node] = s;
        if (Score score = around(node); score < best) {
          best = score;
          kept = s;
          changed = true;
        }
      }
      choice[node] = kept;
    }
  }
}

} // namespace tenon::solver
