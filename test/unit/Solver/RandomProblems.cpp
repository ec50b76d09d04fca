// SPDX-License-Identifier: Apache-2.0
#include "RandomProblems.h"

#include <algorithm>
#include <cmath>

namespace tenon::solver::test {

ShardingProblem randomProblem(const RandomOptions &options, std::mt19937 &random) {
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  auto cost = [&] {
    if (static_cast<double>(random() % 1000) < options.forbidden * 1000)
      return kInfinity;
    return options.integers ? static_cast<double>(below(4))
                            : static_cast<double>(random() % 100000) / 1000.0;
  };
  ShardingProblem problem;
  for (int i = 0; i < options.nodes; ++i) {
    Node node{"n" + std::to_string(i), {}};
    const int count = 1 + below(options.strategies);
    for (int s = 0; s < count; ++s)
      node.costs.push_back(cost());
    // Infinite costs are dense enough; check() wants one finite strategy.
    if (std::none_of(node.costs.begin(), node.costs.end(),
                     [](double c) { return std::isfinite(c); }))
      node.costs.front() = 1;
    problem.nodes.push_back(std::move(node));
  }
  auto join = [&](int a, int b) {
    Edge edge{std::min(a, b), std::max(a, b), {}};
    for (size_t k = 0; k < problem.nodes[a].costs.size() * problem.nodes[b].costs.size(); ++k)
      edge.costs.push_back(cost());
    problem.edges.push_back(std::move(edge));
  };
  const int n = options.nodes;
  switch (options.shape) {
  case Shape::Tree:
    for (int i = 1; i < n; ++i)
      join(below(i), i);
    break;
  case Shape::Grid:
    for (int i = 0; i < n; ++i) {
      if (i % 2 == 1)
        join(i - 1, i);
      if (i >= 2)
        join(i - 2, i);
    }
    break;
  case Shape::Random:
    for (int k = 0; k < n + below(n); ++k)
      if (int a = below(n), b = below(n); a != b)
        join(a, b); // Parallel edges occur.
    break;
  }
  for (int g = 0; g < options.groups && n >= 3; ++g) {
    std::vector<int32_t> members;
    for (int i = 0; i < n; ++i)
      members.push_back(i);
    std::shuffle(members.begin(), members.end(), random);
    members.resize(3 + below(n - 2));
    Group group;
    group.producer = members[0];
    group.forms = 1 + below(3);
    group.targets = 1 + below(4);
    for (size_t s = 0; s < problem.nodes[members[0]].costs.size(); ++s)
      group.form.push_back(below(group.forms));
    for (size_t u = 1; u < members.size(); ++u) {
      Group::User user{members[u], {}};
      for (size_t s = 0; s < problem.nodes[members[u]].costs.size(); ++s)
        user.target.push_back(below(group.targets));
      group.users.push_back(std::move(user));
    }
    for (int k = 0; k < group.forms * group.targets; ++k)
      group.price.push_back(below(3) == 0 ? 0 : cost());
    problem.groups.push_back(std::move(group));
  }
  for (int u = 0; u < options.uses; ++u) {
    const int begin = below(10);
    MemoryUse use{below(n), begin, begin + below(11 - begin), {}};
    for (size_t s = 0; s < problem.nodes[use.node].costs.size(); ++s)
      use.bytes.push_back(below(100));
    problem.uses.push_back(std::move(use));
  }
  return problem;
}

} // namespace tenon::solver::test
