// SPDX-License-Identifier: Apache-2.0
// The greedy order: always the variable whose joint table is smallest. Sizes are compared as
// logarithms, which do not overflow; a variable's weight is recomputed whenever its neighbours
// change.

#include "CostNetwork.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

namespace tenon::solver {

EliminationOrder CostNetwork::order(int32_t kept) const {
  return greedy(std::numeric_limits<double>::infinity(), kept);
}

std::optional<EliminationOrder> CostNetwork::orderWithin(int64_t entries) const {
  EliminationOrder order = greedy(std::log2(static_cast<double>(entries)) + 1e-9, -1);
  if (order.variables.size() < sizes.size())
    return std::nullopt;
  return order;
}

/// Ends early, before the first joint table of more entries than 2^limit.
EliminationOrder CostNetwork::greedy(double limit, int32_t kept) const {
  const size_t count = sizes.size();
  std::vector<std::vector<int32_t>> adjacent(count);
  for (const Table &table : tables)
    for (int32_t i = 0; i < table.arity; ++i)
      for (int32_t j = 0; j < table.arity; ++j)
        if (i != j)
          adjacent[scope(table)[i]].push_back(scope(table)[j]);
  std::vector<double> logs(count);
  for (size_t v = 0; v < count; ++v) {
    std::sort(adjacent[v].begin(), adjacent[v].end());
    adjacent[v].erase(std::unique(adjacent[v].begin(), adjacent[v].end()), adjacent[v].end());
    logs[v] = std::log2(static_cast<double>(sizes[v]));
  }
  auto weigh = [&](int32_t variable) {
    double sum = logs[variable];
    for (int32_t other : adjacent[variable])
      sum += logs[other];
    return sum;
  };
  using Item = std::pair<double, int32_t>;
  std::vector<double> current(count);
  std::vector<Item> items;
  items.reserve(count * 4);
  for (size_t v = 0; v < count; ++v)
    items.push_back({current[v] = weigh(static_cast<int32_t>(v)), static_cast<int32_t>(v)});
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue(std::greater<>(),
                                                                     std::move(items));

  EliminationOrder result;
  result.variables.reserve(count);
  std::vector<int32_t> merged;
  double largest = count > 0 ? 0 : -1;
  while (!queue.empty()) {
    auto [weight, variable] = queue.top();
    queue.pop();
    // A variable that is done weighs nothing any more; an entry that is out of date is skipped.
    if (weight != current[variable] || variable == kept)
      continue;
    current[variable] = -1;
    if (weight > limit)
      break;
    largest = std::max(largest, weight);
    const std::vector<int32_t> around = std::move(adjacent[variable]);
    result.variables.push_back(variable);
    result.neighbours.insert(result.neighbours.end(), around.begin(), around.end());
    result.neighboursEnd.push_back(static_cast<int64_t>(result.neighbours.size()));
    for (int32_t other : around) {
      merged.clear();
      std::set_union(adjacent[other].begin(), adjacent[other].end(), around.begin(), around.end(),
                     std::back_inserter(merged));
      std::erase_if(merged,
                    [&, variable = variable](int32_t v) { return v == other || v == variable; });
      adjacent[other].swap(merged);
      if (double updated = weigh(other); updated != current[other])
        queue.push({current[other] = updated, other});
    }
  }
  result.largest = largest < 0      ? 0
                   : largest > 1000 ? std::numeric_limits<double>::infinity()
                                    : std::round(std::exp2(largest));
  return result;
}

} // namespace tenon::solver
