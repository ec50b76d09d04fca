// SPDX-License-Identifier: Apache-2.0
// check() and evaluate(): straight from the definition, sharing nothing with the solvers.

#include "tenon/Solver/ShardingProblem.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace tenon::solver {

static bool isCost(double cost) { return !std::isnan(cost) && cost >= 0; }

std::string check(const ShardingProblem &problem) {
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  auto inRange = [&](int32_t node) { return node >= 0 && node < nodes; };
  auto strategies = [&](int32_t node) { return problem.nodes[node].costs.size(); };
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    bool finite = false;
    for (double cost : problem.nodes[i].costs) {
      if (!isCost(cost))
        return "node " + std::to_string(i) + " has a negative or undefined cost";
      finite |= std::isfinite(cost);
    }
    if (!finite)
      return "node " + std::to_string(i) + " ('" + problem.nodes[i].name +
             "') has no strategy with a finite cost";
  }
  for (size_t i = 0; i < problem.edges.size(); ++i) {
    const Edge &edge = problem.edges[i];
    const std::string which = "edge " + std::to_string(i);
    if (!inRange(edge.first) || !inRange(edge.second) || edge.first >= edge.second)
      return which + " joins nodes " + std::to_string(edge.first) + " and " +
             std::to_string(edge.second);
    if (edge.costs.size() != strategies(edge.first) * strategies(edge.second))
      return which + " has " + std::to_string(edge.costs.size()) + " costs, expected " +
             std::to_string(strategies(edge.first) * strategies(edge.second));
    for (double cost : edge.costs)
      if (!isCost(cost))
        return which + " has a negative or undefined cost";
  }
  for (size_t i = 0; i < problem.groups.size(); ++i) {
    const Group &group = problem.groups[i];
    const std::string which = "group " + std::to_string(i);
    if (group.forms < 0 || group.targets < 0)
      return which + " has a negative number of forms or targets";
    if (!inRange(group.producer) || group.form.size() != strategies(group.producer))
      return which + " has a producer out of range, or not one form per strategy";
    std::set<int32_t> members{group.producer};
    for (int32_t form : group.form)
      if (form < 0 || form >= group.forms)
        return which + " has a form out of range";
    for (const Group::User &user : group.users) {
      if (!inRange(user.node) || user.target.size() != strategies(user.node))
        return which + " has a user out of range, or not one target per strategy";
      if (!members.insert(user.node).second)
        return which + " names node " + std::to_string(user.node) + " twice";
      for (int32_t target : user.target)
        if (target < 0 || target >= group.targets)
          return which + " has a target out of range";
    }
    if (group.price.size() != static_cast<size_t>(group.forms) * static_cast<size_t>(group.targets))
      return which + " has " + std::to_string(group.price.size()) +
             " prices, expected forms x targets";
    for (double cost : group.price)
      if (!isCost(cost))
        return which + " has a negative or undefined price";
  }
  for (size_t i = 0; i < problem.uses.size(); ++i) {
    const MemoryUse &use = problem.uses[i];
    const std::string which = "memory use " + std::to_string(i);
    if (!inRange(use.node) || use.bytes.size() != strategies(use.node))
      return which + " has a node out of range, or not one size per strategy";
    if (use.begin < 0 || use.end < use.begin)
      return which + " lives from " + std::to_string(use.begin) + " to " + std::to_string(use.end);
    for (int64_t bytes : use.bytes)
      if (bytes < 0 || bytes > int64_t(1) << 50)
        return which + " has " + std::to_string(bytes) + " bytes";
  }
  if (problem.memoryLimit < 0)
    return "the memory limit is " + std::to_string(problem.memoryLimit) + " bytes";
  return {};
}

int64_t peakMemory(const ShardingProblem &problem, const std::vector<int32_t> &choice) {
  std::map<int32_t, int64_t> changes;
  for (const MemoryUse &use : problem.uses)
    if (use.begin < use.end) {
      changes[use.begin] += use.bytes[choice[use.node]];
      changes[use.end] -= use.bytes[choice[use.node]];
    }
  int64_t held = 0, peak = 0;
  for (const auto &[time, change] : changes)
    peak = std::max(peak, held += change);
  return peak;
}

double costOf(const ShardingProblem &problem, const std::vector<int32_t> &choice) {
  if (choice.size() != problem.nodes.size())
    return kInfinity;
  double total = 0;
  for (size_t i = 0; i < choice.size(); ++i) {
    if (choice[i] < 0 || choice[i] >= static_cast<int32_t>(problem.nodes[i].costs.size()))
      return kInfinity;
    total += problem.nodes[i].costs[choice[i]];
  }
  for (const Edge &edge : problem.edges)
    total += edge.costs[choice[edge.first] * problem.nodes[edge.second].costs.size() +
                        choice[edge.second]];
  for (const Group &group : problem.groups) {
    std::set<int32_t> targets;
    for (const Group::User &user : group.users)
      targets.insert(user.target[choice[user.node]]);
    for (int32_t target : targets)
      total += group.price[group.form[choice[group.producer]] * group.targets + target];
  }
  return total;
}

double evaluate(const ShardingProblem &problem, const std::vector<int32_t> &choice) {
  const double total = costOf(problem, choice);
  const bool fits = total == kInfinity || problem.memoryLimit == kNoLimit ||
                    peakMemory(problem, choice) <= problem.memoryLimit;
  return fits ? total : kInfinity;
}

} // namespace tenon::solver
