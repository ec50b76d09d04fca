// SPDX-License-Identifier: Apache-2.0
// Text form of a problem: {"nodes": [{"name", "costs"}], "edges": [{"nodes": [a, b], "costs"}],
// "groups": [..], "uses": [{"node", "interval": [begin, end], "bytes"}], "memory_limit"}; infinity
// is written as null, and no limit as no key.

#include "tenon/Solver/ShardingProblem.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace tenon::solver {

using nlohmann::json;

static json fromCosts(const std::vector<double> &costs) {
  json list = json::array();
  for (double cost : costs)
    list.push_back(std::isinf(cost) ? json(nullptr) : json(cost));
  return list;
}

static std::vector<double> toCosts(const json &list) {
  std::vector<double> costs;
  for (const json &cost : list.get_ref<const json::array_t &>())
    costs.push_back(cost.is_null() ? kInfinity : cost.get<double>());
  return costs;
}

/// Integers only: 1.5 and 1e300 would convert silently.
static int64_t toSize(const json &value, int64_t most = kNoLimit - 1) {
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= uint64_t(most)
                                               : value.is_number_integer();
  const auto wide = fits ? value.get<int64_t>() : -1;
  if (wide < 0 || wide > most)
    throw json::type_error::create(302, "expected a non-negative integer, found " + value.dump(),
                                   &value);
  return wide;
}

static int32_t toIndex(const json &value) {
  return static_cast<int32_t>(toSize(value, std::numeric_limits<int32_t>::max()));
}

static std::vector<int32_t> toIndices(const json &list) {
  std::vector<int32_t> indices;
  for (const json &value : list.get_ref<const json::array_t &>())
    indices.push_back(toIndex(value));
  return indices;
}

std::string toJson(const ShardingProblem &problem) {
  json root{{"nodes", json::array()}, {"edges", json::array()}, {"groups", json::array()}};
  for (const Node &node : problem.nodes)
    root["nodes"].push_back({{"name", node.name}, {"costs", fromCosts(node.costs)}});
  for (const Edge &edge : problem.edges)
    root["edges"].push_back(
        {{"nodes", {edge.first, edge.second}}, {"costs", fromCosts(edge.costs)}});
  for (const Group &group : problem.groups) {
    json users = json::array();
    for (const Group::User &user : group.users)
      users.push_back({{"node", user.node}, {"target", user.target}});
    root["groups"].push_back({{"producer", group.producer},
                              {"form", group.form},
                              {"users", users},
                              {"forms", group.forms},
                              {"targets", group.targets},
                              {"price", fromCosts(group.price)}});
  }
  for (const MemoryUse &use : problem.uses)
    root["uses"].push_back(
        {{"node", use.node}, {"interval", {use.begin, use.end}}, {"bytes", use.bytes}});
  if (problem.memoryLimit != kNoLimit)
    root["memory_limit"] = problem.memoryLimit;
  return root.dump();
}

bool fromJson(const std::string &text, ShardingProblem &problem, std::string &error) {
  problem = {};
  try {
    json root = json::parse(text);
    for (const json &node : root.at("nodes"))
      problem.nodes.push_back({node.value("name", std::string()), toCosts(node.at("costs"))});
    for (const json &edge : root.value("edges", json::array()))
      problem.edges.push_back({toIndex(edge.at("nodes").at(0)), toIndex(edge.at("nodes").at(1)),
                               toCosts(edge.at("costs"))});
    for (const json &item : root.value("groups", json::array())) {
      Group group;
      group.producer = toIndex(item.at("producer"));
      group.form = toIndices(item.at("form"));
      for (const json &user : item.at("users"))
        group.users.push_back({toIndex(user.at("node")), toIndices(user.at("target"))});
      group.forms = toIndex(item.at("forms"));
      group.targets = toIndex(item.at("targets"));
      group.price = toCosts(item.at("price"));
      problem.groups.push_back(std::move(group));
    }
    for (const json &item : root.value("uses", json::array())) {
      MemoryUse use{toIndex(item.at("node")),
                    toIndex(item.at("interval").at(0)),
                    toIndex(item.at("interval").at(1)),
                    {}};
      for (const json &bytes : item.at("bytes").get_ref<const json::array_t &>())
        use.bytes.push_back(toSize(bytes));
      problem.uses.push_back(std::move(use));
    }
    if (root.contains("memory_limit"))
      problem.memoryLimit = toSize(root["memory_limit"]);
  } catch (const json::exception &exception) {
    error = exception.what();
    return false;
  }
  error = check(problem);
  return error.empty();
}

} // namespace tenon::solver
