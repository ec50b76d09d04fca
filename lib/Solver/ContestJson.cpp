// SPDX-License-Identifier: Apache-2.0
// Problems of the contest on intra-operator parallelism in terms of ours: edges with their ends in
// order, costs within a node added to the node's, intervals as they are.

#include "tenon/Solver/ShardingProblem.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace tenon::solver {

using nlohmann::json;

static constexpr double kForbidden = 1e17;

static std::vector<double> costsOf(const json &list) {
  std::vector<double> costs;
  for (const json &item : list.get_ref<const json::array_t &>()) {
    const double cost = item.get<double>();
    costs.push_back(cost >= kForbidden ? kInfinity : cost);
  }
  return costs;
}

template <typename Integer> static Integer integer(const json &value) {
  if (!value.is_number_integer())
    throw json::type_error::create(302, "expected an integer, found " + value.dump(), &value);
  const auto wide = value.get<int64_t>();
  if (wide < 0 || wide > static_cast<int64_t>(std::numeric_limits<Integer>::max()))
    throw json::type_error::create(302, "out of range: " + value.dump(), &value);
  return static_cast<Integer>(wide);
}

static void addEdge(ShardingProblem &problem, int32_t a, int32_t b, std::vector<double> costs) {
  const size_t na = problem.nodes.at(a).costs.size(), nb = problem.nodes.at(b).costs.size();
  if (costs.size() != na * nb)
    throw std::out_of_range("edge " + std::to_string(a) + ", " + std::to_string(b) + " has " +
                            std::to_string(costs.size()) + " costs, expected " +
                            std::to_string(na * nb));
  if (a == b) {
    for (size_t s = 0; s < na; ++s)
      problem.nodes[a].costs[s] += costs[s * na + s];
    return;
  }
  if (a > b) {
    std::vector<double> turned;
    for (size_t j = 0; j < nb; ++j)
      for (size_t i = 0; i < na; ++i)
        turned.push_back(costs[i * nb + j]);
    costs = std::move(turned);
    std::swap(a, b);
  }
  problem.edges.push_back({a, b, std::move(costs)});
}

bool fromContestJson(const std::string &text, ShardingProblem &problem, std::string &error) {
  problem = {};
  try {
    const json file = json::parse(text);
    const json &root = file.contains("problem") ? file["problem"] : file;
    const json &nodes = root.at("nodes"), &edges = root.at("edges");
    const auto count = static_cast<int32_t>(nodes.at("costs").size());
    for (const char *key : {"intervals", "usages"})
      if (nodes.at(key).size() != static_cast<size_t>(count))
        throw std::out_of_range(std::string("nodes have ") + std::to_string(count) + " costs and " +
                                std::to_string(nodes.at(key).size()) + " " + key);
    for (int32_t i = 0; i < count; ++i) {
      problem.nodes.push_back({std::to_string(i), costsOf(nodes["costs"][i])});
      const json &interval = nodes["intervals"][i];
      MemoryUse use{i, integer<int32_t>(interval.at(0)), integer<int32_t>(interval.at(1)), {}};
      for (const json &bytes : nodes["usages"][i])
        use.bytes.push_back(integer<int64_t>(bytes));
      // An empty interval is written with its end before its begin, too.
      if (use.begin < use.end)
        problem.uses.push_back(std::move(use));
    }
    if (edges.at("nodes").size() != edges.at("costs").size())
      throw std::out_of_range("edges have " + std::to_string(edges["nodes"].size()) +
                              " pairs of nodes and " + std::to_string(edges["costs"].size()) +
                              " costs");
    for (size_t e = 0; e < edges["nodes"].size(); ++e)
      addEdge(problem, integer<int32_t>(edges["nodes"][e].at(0)),
              integer<int32_t>(edges["nodes"][e].at(1)), costsOf(edges["costs"][e]));
    if (root.contains("usage_limit"))
      problem.memoryLimit = integer<int64_t>(root["usage_limit"]);
  } catch (const std::exception &exception) {
    error = exception.what();
    return false;
  }
  error = check(problem);
  return error.empty();
}

} // namespace tenon::solver
