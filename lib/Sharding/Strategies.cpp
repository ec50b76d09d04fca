// SPDX-License-Identifier: Apache-2.0
// Enumeration of legal strategies. Order: an odometer over the mesh axes, the first axis slowest;
// each axis runs through "nothing", then the shardable factors in the rule's order, then partial
// (through each linear operand of a product).

#include "tenon/Sharding/FactorSharding.h"

namespace tenon::sharding {

std::optional<std::vector<Strategy>> enumerateStrategies(const Rule &rule, const Mesh &mesh,
                                                         size_t limit) {
  // Choices of one axis: -1 nothing, 0..n-1 a factor, n + operand partial.
  std::vector<int> choices{-1};
  const int factors = static_cast<int>(rule.factors.size());
  for (int f = 0; f < factors; ++f)
    if (rule.factors[f].kind != FactorKind::Whole && rule.factors[f].size > 1)
      choices.push_back(f);
  if (rule.linearity == Linearity::Sum)
    choices.push_back(factors);
  if (rule.linearity == Linearity::Product)
    for (int operand : rule.linearOperands)
      choices.push_back(factors + 1 + operand);

  // An axis of size 1 shards nothing: there is no choice for it.
  AxisList axes;
  for (size_t axis = 0; axis < mesh.axes.size(); ++axis)
    if (mesh.axes[axis].size > 1)
      axes.push_back(static_cast<int>(axis));
  // Most combinations may be illegal: bound the tries too, generously.
  double combinations = 1;
  for (size_t i = 0; i < axes.size(); ++i)
    combinations *= static_cast<double>(choices.size());
  if (combinations > 64.0 * static_cast<double>(limit))
    return std::nullopt;

  std::vector<Strategy> result;
  std::vector<size_t> digits(axes.size(), 0);
  for (;;) {
    Strategy strategy;
    strategy.factorAxes.resize(factors);
    bool consistent = true;
    for (size_t digit = 0; digit < digits.size(); ++digit) {
      const int choice = choices[digits[digit]], axis = axes[digit];
      if (choice < 0)
        continue;
      if (choice < factors) {
        strategy.factorAxes[choice].push_back(axis);
        continue;
      }
      int operand = choice - factors - 1;
      consistent &= strategy.partial.empty() || strategy.partialOperand == operand;
      strategy.partialOperand = operand;
      strategy.partial.push_back(axis);
    }
    if (consistent && illegal(rule, strategy, mesh).empty()) {
      if (result.size() == limit)
        return std::nullopt;
      result.push_back(std::move(strategy));
    }
    size_t digit = digits.size();
    for (;;) {
      if (digit == 0)
        return result;
      if (++digits[--digit] < choices.size())
        break;
      digits[digit] = 0;
    }
  }
}

} // namespace tenon::sharding
