// SPDX-License-Identifier: Apache-2.0
// Legality of strategies, and the shardings that follow from them.

#include "tenon/Sharding/FactorSharding.h"

#include "tenon/runtime/plan/Blocks.h"

#include <algorithm>

namespace tenon::sharding {

namespace {

/// Where a factor appears.
bool contains(const ValueFactors &value, int factor) {
  return std::any_of(value.begin(), value.end(), [&](const DimFactors &dim) {
    return std::find(dim.begin(), dim.end(), factor) != dim.end();
  });
}

std::string checkValue(const Rule &rule, const ValueFactors &value,
                       const std::vector<int64_t> &shape, bool operand, const std::string &which) {
  if (value.size() != shape.size())
    return which + " has " + std::to_string(shape.size()) + " dimensions, its rule has " +
           std::to_string(value.size());
  std::vector<char> seen(rule.factors.size(), 0);
  for (size_t i = 0; i < value.size(); ++i) {
    int64_t product = 1;
    for (int factor : value[i]) {
      if (factor < 0 || factor >= static_cast<int>(rule.factors.size()))
        return which + " names factor " + std::to_string(factor) + ", which does not exist";
      if (seen[factor]++)
        return which + " names factor '" + rule.factors[factor].name + "' twice";
      product *= rule.factors[factor].size;
    }
    if (product != shape[i] && !(operand && value[i].empty()))
      return which + " dimension " + std::to_string(i) + " has size " + std::to_string(shape[i]) +
             ", its factors make " + std::to_string(product);
  }
  return {};
}

/// True when on every coordinate the elements owned through the factors equal those of the flat
/// dimension cut over the concatenated axes. A box of intervals is one interval of the linear index
/// iff after the first factor that is not a single element all factors are whole.
bool ownershipAgrees(const Rule &rule, const Strategy &strategy, const DimFactors &dim,
                     const Mesh &mesh) {
  AxisList axes;
  int64_t n = 1;
  for (int factor : dim) {
    axes.insert(axes.end(), strategy.factorAxes[factor].begin(), strategy.factorAxes[factor].end());
    n *= rule.factors[factor].size;
  }
  if (axes.empty())
    return true;
  std::vector<int64_t> sizes = mesh.sizes(axes), coordinates(axes.size(), 0);
  for (;;) {
    plan::Block flat = plan::block(n, sizes, coordinates);
    int64_t start = 0, length = 1;
    bool interval = true, empty = false, extended = false;
    size_t at = 0;
    for (int factor : dim) {
      const AxisList &own = strategy.factorAxes[factor];
      int64_t size = rule.factors[factor].size;
      plan::Block part = plan::block(
          size, mesh.sizes(own), {coordinates.begin() + at, coordinates.begin() + at + own.size()});
      at += own.size();
      empty |= part.length == 0;
      if (extended && part.length != size)
        interval = false;
      extended |= part.length != 1;
      start = start * size + part.start;
      length *= part.length;
    }
    if (empty ? flat.length != 0 : (!interval || flat.start != start || flat.length != length))
      return false;
    // Blocks must have the same size too: local shapes follow from either side.
    int64_t block = 1;
    for (int factor : dim)
      block *= plan::blockSize(rule.factors[factor].size, mesh.sizes(strategy.factorAxes[factor]));
    if (block != flat.size)
      return false;
    size_t i = axes.size();
    while (i-- > 0) {
      if (++coordinates[i] < sizes[i])
        break;
      coordinates[i] = 0;
      if (i == 0)
        return true;
    }
  }
}

Sharding derive(const Strategy &strategy, const ValueFactors &value) {
  Sharding sharding = Sharding::replicated(static_cast<int64_t>(value.size()));
  for (size_t i = 0; i < value.size(); ++i)
    for (int factor : value[i])
      sharding.dims[i].insert(sharding.dims[i].end(), strategy.factorAxes[factor].begin(),
                              strategy.factorAxes[factor].end());
  return sharding;
}

} // namespace

std::string check(const Rule &rule, const std::vector<std::vector<int64_t>> &operandShapes,
                  const std::vector<std::vector<int64_t>> &resultShapes) {
  if (rule.operands.size() != operandShapes.size() || rule.results.size() != resultShapes.size())
    return "rule has " + std::to_string(rule.operands.size()) + " operands and " +
           std::to_string(rule.results.size()) + " results";
  for (size_t i = 0; i < operandShapes.size(); ++i)
    if (std::string why = checkValue(rule, rule.operands[i], operandShapes[i], true,
                                     "operand " + std::to_string(i));
        !why.empty())
      return why;
  for (size_t i = 0; i < resultShapes.size(); ++i)
    if (std::string why = checkValue(rule, rule.results[i], resultShapes[i], false,
                                     "result " + std::to_string(i));
        !why.empty())
      return why;
  for (int operand : rule.linearOperands)
    if (operand < 0 || operand >= static_cast<int>(rule.operands.size()))
      return "linear operand " + std::to_string(operand) + " does not exist";
  return {};
}

std::string illegal(const Rule &rule, const Strategy &strategy, const Mesh &mesh) {
  if (strategy.factorAxes.size() != rule.factors.size())
    return "expected axes for " + std::to_string(rule.factors.size()) + " factors";
  std::vector<int> used(mesh.axes.size(), 0);
  auto use = [&](const AxisList &axes) -> std::string {
    for (int axis : axes) {
      if (axis < 0 || axis >= static_cast<int>(used.size()))
        return "axis " + std::to_string(axis) + " is not on the mesh";
      if (used[axis]++)
        return "axis '" + mesh.axes[axis].name + "' is used twice";
    }
    return {};
  };
  if (std::string why = use(strategy.partial); !why.empty())
    return why;
  for (size_t f = 0; f < rule.factors.size(); ++f) {
    const Factor &factor = rule.factors[f];
    if (std::string why = use(strategy.factorAxes[f]); !why.empty())
      return why;
    if (strategy.factorAxes[f].empty())
      continue;
    if (factor.kind == FactorKind::Whole)
      return "factor '" + factor.name + "' is never sharded";
    if (mesh.size(strategy.factorAxes[f]) > factor.size)
      return "factor '" + factor.name + "' of size " + std::to_string(factor.size) +
             " is smaller than its axes (" + std::to_string(mesh.size(strategy.factorAxes[f])) +
             ")";
  }
  if (!strategy.partial.empty()) {
    bool named = std::find(rule.linearOperands.begin(), rule.linearOperands.end(),
                           strategy.partialOperand) != rule.linearOperands.end();
    if (rule.linearity == Linearity::None || rule.linearOperands.empty())
      return "the op is not linear, so no partial value passes through it";
    if (rule.linearity == Linearity::Product && !named)
      return "exactly one linear operand of a product carries a partial value";
    if (rule.linearity == Linearity::Sum && strategy.partialOperand != -1)
      return "all operands of a sum carry a partial value";
  } else if (strategy.partialOperand != -1) {
    return "an operand is named partial over no axis";
  }
  // One value is partial by one kind of reduction only.
  std::optional<Reduction> kind;
  if (!strategy.partial.empty())
    kind = Reduction::Sum;
  for (size_t f = 0; f < rule.factors.size(); ++f) {
    const Factor &factor = rule.factors[f];
    if (strategy.factorAxes[f].empty() ||
        (factor.kind != FactorKind::Reduction && factor.kind != FactorKind::Lookup))
      continue;
    const Reduction own = factor.kind == FactorKind::Lookup ? Reduction::Sum : factor.combiner;
    if (kind.value_or(own) != own)
      return "a value cannot be partial by two kinds of reduction";
    kind = own;
  }
  for (const std::vector<ValueFactors> *values : {&rule.operands, &rule.results})
    for (const ValueFactors &value : *values)
      for (const DimFactors &dim : value)
        if (dim.size() > 1 && !ownershipAgrees(rule, strategy, dim, mesh))
          return "the elements owned through the factors of a compound dimension are not those of "
                 "its block";
  return {};
}

Sharding operandSharding(const Rule &rule, const Strategy &strategy, int operand) {
  Sharding sharding = derive(strategy, rule.operands[operand]);
  bool linear = std::find(rule.linearOperands.begin(), rule.linearOperands.end(), operand) !=
                rule.linearOperands.end();
  if ((rule.linearity == Linearity::Sum && linear) ||
      (rule.linearity == Linearity::Product && strategy.partialOperand == operand)) {
    sharding.partial = strategy.partial;
    std::sort(sharding.partial.begin(), sharding.partial.end());
  }
  return sharding;
}

Sharding resultSharding(const Rule &rule, const Strategy &strategy, int result) {
  Sharding sharding = derive(strategy, rule.results[result]);
  sharding.partial = strategy.partial;
  for (size_t f = 0; f < rule.factors.size(); ++f) {
    const Factor &factor = rule.factors[f];
    if ((factor.kind != FactorKind::Reduction && factor.kind != FactorKind::Lookup) ||
        contains(rule.results[result], static_cast<int>(f)))
      continue;
    const AxisList &axes = strategy.factorAxes[f];
    sharding.partial.insert(sharding.partial.end(), axes.begin(), axes.end());
    if (!axes.empty() && factor.kind == FactorKind::Reduction)
      sharding.reduction = factor.combiner;
  }
  std::sort(sharding.partial.begin(), sharding.partial.end());
  return sharding;
}

std::string toString(const Strategy &strategy, const Rule &rule, const Mesh &mesh) {
  std::string text;
  auto add = [&](const std::string &name, const AxisList &axes) {
    if (axes.empty())
      return;
    text += (text.empty() ? "" : " ") + name + "=[";
    for (size_t i = 0; i < axes.size(); ++i)
      text += (i ? "," : "") + mesh.axes[axes[i]].name;
    text += "]";
  };
  for (size_t f = 0; f < rule.factors.size(); ++f)
    add(rule.factors[f].name, strategy.factorAxes[f]);
  add("partial", strategy.partial);
  if (strategy.partialOperand >= 0)
    text += " of operand " + std::to_string(strategy.partialOperand);
  return text;
}

} // namespace tenon::sharding
