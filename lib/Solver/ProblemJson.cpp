// SPDX-License-Identifier: Apache-2.0
// Text form of a problem: {"nodes": [{"name", "costs"}], "edges": [{"nodes": [a, b], "costs"}], "groups": [..]};
// infinity is written as null.

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
  for (const json &cost : list)
    costs.push_back(cost.is_null() ? kInfinity : cost.get<double>());
  return costs;
}

std::string toJson(const ShardingProblem &problem) {
  json root{{"nodes", json::array()}, {"edges", json::array()}, {"groups", json::array()}};
  for (const Node &node : problem.nodes)
    root["nodes"].push_back({{"name", node.name}, {"costs", fromCosts(node.costs)}});
  for (const Edge &edge : problem.edges)
    root["edges"].push_back({{"nodes", {edge.first, edge.second}}, {"costs", fromCosts(edge.costs)}});
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
  return root.dump();
}

bool fromJson(const std::string &text, ShardingProblem &problem, std::string &error) {
  problem = {};
  try {
    json root = json::parse(text);
    for (const json &node : root.at("nodes"))
      problem.nodes.push_back({node.value("name", std::string()), toCosts(node.at("costs"))});
    for (const json &edge : root.value("edges", json::array()))
      problem.edges.push_back({edge.at("nodes").at(0).get<int32_t>(), edge.at("nodes").at(1).get<int32_t>(), toCosts(edge.at("costs"))});
    for (const json &item : root.value("groups", json::array())) {
      Group group;
      group.producer = item.at("producer").get<int32_t>();
      group.form = item.at("form").get<std::vector<int32_t>>();
      for (const json &user : item.at("users"))
        group.users.push_back({user.at("node").get<int32_t>(), user.at("target").get<std::vector<int32_t>>()});
      group.forms = item.at("forms").get<int32_t>();
      group.targets = item.at("targets").get<int32_t>();
      group.price = toCosts(item.at("price"));
      problem.groups.push_back(std::move(group));
    }
  } catch (const json::exception &exception) {
    error = exception.what();
    return false;
  }
  error = check(problem);
  return error.empty();
}

} // namespace tenon::solver
