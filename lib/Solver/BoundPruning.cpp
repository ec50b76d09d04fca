// SPDX-License-Identifier: Apache-2.0
// A table's costs stay as they are; what has been moved to its variables is kept beside it, one
// message per variable, and subtracted when the table is read. Infinity, and whatever no better
// solution can contain, is capped, which only lowers the bound.

#include "BoundPruning.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace tenon::solver {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;

class Messages {
public:
  /// Costs above `cap` count as `cap`.
  Messages(const CostNetwork &network, double cap)
      : network(network), cap(cap), own(network.variableCount()),
        tablesOf(network.variableCount()) {
    for (int32_t v = 0; v < network.variableCount(); ++v)
      own[v].assign(network.size(v), 0.0);
    for (int32_t t = 0; t < network.tableCount(); ++t) {
      const CostNetwork::Table &table = network.table(t);
      const int32_t *scope = network.scope(table);
      if (table.arity == 1) {
        for (int32_t s = 0; s < network.size(scope[0]); ++s)
          own[scope[0]][s] = std::min(cap, own[scope[0]][s] + std::min(cap, table.costs[s]));
        continue;
      }
      if (table.arity == 0) {
        constant += table.costs[0];
        continue;
      }
      Factor factor{t, {}, {}, 0};
      for (int32_t i = 0; i < table.arity; ++i) {
        tablesOf[scope[i]].push_back({static_cast<int32_t>(factors.size()), i});
        factor.messages.emplace_back(network.size(scope[i]), 0.0);
      }
      factor.first = *std::min_element(scope, scope + table.arity);
      factor.last = *std::max_element(scope, scope + table.arity);
      factors.push_back(std::move(factor));
    }
  }

  /// One pass over the variables; shifts towards those that come later in it.
  void pass(bool forward) {
    const int32_t count = network.variableCount();
    for (int32_t i = 0; i < count; ++i) {
      const int32_t v = forward ? i : count - 1 - i;
      std::vector<double> &sum = scratch;
      sum = own[v];
      int ahead = 0, behind = 0;
      for (const Place &place : tablesOf[v]) {
        Factor &factor = factors[place.factor];
        const std::vector<double> least = marginals(factor, place.position);
        std::vector<double> &message = factor.messages[place.position];
        for (size_t s = 0; s < message.size(); ++s) {
          message[s] += least[s];
          sum[s] += message[s];
        }
        ahead += (forward ? factor.last : -factor.first) > (forward ? v : -v);
        behind += (forward ? factor.first : -factor.last) < (forward ? v : -v);
      }
      const double share = 1.0 / std::max(1, std::max(ahead, behind));
      for (const Place &place : tablesOf[v]) {
        Factor &factor = factors[place.factor];
        if ((forward ? factor.last : -factor.first) <= (forward ? v : -v))
          continue;
        std::vector<double> &message = factor.messages[place.position];
        for (size_t s = 0; s < message.size(); ++s)
          message[s] -= share * sum[s];
      }
    }
  }

  /// A solution: one variable after the other takes what is least given those before it.
  std::vector<int32_t> decode() {
    std::vector<int32_t> values(network.variableCount(), -1);
    for (int32_t v = 0; v < network.variableCount(); ++v) {
      scratch = own[v];
      for (const Place &place : tablesOf[v]) {
        const Factor &factor = factors[place.factor];
        const CostNetwork::Table &table = network.table(factor.table);
        const int32_t *scope = network.scope(table);
        int64_t offset = 0, stride = 1, step = 0;
        bool known = true;
        for (int32_t i = table.arity; i-- > 0; stride *= network.size(scope[i])) {
          if (i == place.position)
            step = stride;
          else if (values[scope[i]] < 0)
            known = false;
          else
            offset += stride * values[scope[i]];
        }
        for (size_t s = 0; s < scratch.size(); ++s)
          scratch[s] += known ? std::min(cap, table.costs[offset + static_cast<int64_t>(s) * step])
                              : factor.messages[place.position][s];
      }
      values[v] =
          static_cast<int32_t>(std::min_element(scratch.begin(), scratch.end()) - scratch.begin());
    }
    return values;
  }

  /// Sum of all minima.
  double bound() {
    double total = constant;
    for (int32_t v = 0; v < network.variableCount(); ++v) {
      sumOf(v, scratch);
      total += *std::min_element(scratch.begin(), scratch.end());
    }
    for (Factor &factor : factors) {
      const std::vector<double> least = marginals(factor, 0);
      factor.minimum = *std::min_element(least.begin(), least.end());
      total += factor.minimum;
    }
    return total;
  }

  /// Caps the values whose bound exceeds `upper`; after bound().
  int64_t remove(double bound, double upper, std::vector<std::vector<char>> &may) {
    int64_t removed = 0;
    for (int32_t v = 0; v < network.variableCount(); ++v) {
      sumOf(v, scratch);
      const double least = *std::min_element(scratch.begin(), scratch.end());
      std::vector<double> value(scratch.size());
      for (size_t s = 0; s < value.size(); ++s)
        value[s] = bound - least + scratch[s];
      for (const Place &place : tablesOf[v]) {
        const Factor &factor = factors[place.factor];
        const std::vector<double> parts = marginals(factor, place.position);
        for (size_t s = 0; s < value.size(); ++s)
          value[s] += parts[s] - factor.minimum;
      }
      for (size_t s = 0; s < value.size(); ++s)
        if (may[v][s] && value[s] > upper) {
          may[v][s] = false;
          own[v][s] = cap;
          ++removed;
        }
    }
    return removed;
  }

  /// More than any solution of finite cost has.
  static double capOf(const CostNetwork &network) {
    double sum = 1e-300;
    for (int32_t t = 0; t < network.tableCount(); ++t) {
      const CostNetwork::Table &table = network.table(t);
      int64_t entries = 1;
      for (int32_t i = 0; i < table.arity; ++i)
        entries *= network.size(network.scope(table)[i]);
      double most = 0;
      for (int64_t e = 0; e < entries; ++e)
        if (std::isfinite(table.costs[e]))
          most = std::max(most, table.costs[e]);
      sum += most;
    }
    return 2 * sum;
  }

private:
  struct Factor {
    int32_t table;
    std::vector<std::vector<double>> messages; ///< Moved from the table to its variables.
    std::vector<int32_t> unused;
    double minimum = 0;
    int32_t first = 0, last = 0; ///< Variables.
  };
  struct Place {
    int32_t factor, position;
  };

  void sumOf(int32_t v, std::vector<double> &sum) const {
    sum = own[v];
    for (const Place &place : tablesOf[v])
      for (size_t s = 0; s < sum.size(); ++s)
        sum[s] += factors[place.factor].messages[place.position][s];
  }

  /// Least of what is left in the table per value of one of its variables.
  std::vector<double> marginals(const Factor &factor, int32_t position) const {
    const CostNetwork::Table &table = network.table(factor.table);
    const int32_t *scope = network.scope(table);
    const int32_t arity = table.arity, inner = arity - 1;
    std::vector<double> least(network.size(scope[position]), kInfinite);
    const int64_t width = network.size(scope[inner]);
    const std::vector<double> &last = factor.messages[inner];
    std::vector<int32_t> digits(inner, 0);
    const double *costs = table.costs;
    for (;;) {
      double moved = 0;
      for (int32_t i = 0; i < inner; ++i)
        moved += factor.messages[i][digits[i]];
      if (position == inner) {
        for (int64_t s = 0; s < width; ++s)
          least[s] = std::min(least[s], std::min(cap, costs[s]) - moved - last[s]);
      } else {
        double lowest = kInfinite;
        for (int64_t s = 0; s < width; ++s)
          lowest = std::min(lowest, std::min(cap, costs[s]) - last[s]);
        least[digits[position]] = std::min(least[digits[position]], lowest - moved);
      }
      costs += width;
      int32_t i = inner;
      while (i-- > 0) {
        if (++digits[i] < network.size(scope[i]))
          break;
        digits[i] = 0;
      }
      if (i < 0)
        return least;
    }
  }

  const CostNetwork &network;
  double cap, constant = 0;
  std::vector<std::vector<double>> own; ///< Costs of single variables.
  std::vector<std::vector<Place>> tablesOf;
  std::vector<Factor> factors;
  std::vector<double> scratch;
};

} // namespace

Pruning pruneByBound(const CostNetwork &network, int passes, double enough,
                     const std::function<double(const std::vector<int32_t> &)> &offer) {
  Pruning result;
  int64_t values = 0;
  for (int32_t v = 0; v < network.variableCount(); ++v) {
    result.may.emplace_back(network.size(v), 1);
    values += network.size(v);
  }
  const double cap = Messages::capOf(network);
  std::optional<Messages> messages(std::in_place, network, cap);
  double upper = kInfinite;
  double best = -kInfinite;
  int idle = 0;
  for (int pass = 0; pass < passes; ++pass) {
    bool progress = false;
    // After each direction, costs have gathered at the other end.
    for (bool forward : {true, false}) {
      messages->pass(forward);
      const double bound = messages->bound(), before = upper;
      if (!forward)
        upper = offer(messages->decode());
      if (pass == 0)
        continue;
      const bool grows = bound > best + 1e-4 * std::abs(bound);
      best = std::max(best, bound);
      // Sums in another order than the objective's.
      if (best > upper * (1 - kRounding))
        break;
      const int64_t removed = messages->remove(bound, upper * (1 + kRounding), result.may);
      result.removed += removed;
      progress |= removed > 0 || grows || upper < before;
    }
    if (pass == 0 && 4 * upper < cap) // Smaller numbers, smaller roundings: begin again.
      messages.emplace(network, 4 * upper);
    idle = progress ? 0 : idle + 1;
    if (best > upper * (1 - kRounding) || idle == 4 ||
        static_cast<double>(result.removed) > enough * static_cast<double>(values))
      break;
  }
  result.bound = std::min(best, upper);
  return result;
}

} // namespace tenon::solver
