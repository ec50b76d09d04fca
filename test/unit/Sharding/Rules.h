// SPDX-License-Identifier: Apache-2.0
// Rules of a few ops, as tests need them.
#pragma once

#include "tenon/Sharding/FactorSharding.h"

namespace tenon::sharding::test {

/// [s,k] x [k,n] -> [s,n]; factors s, n, k; linear in either operand.
inline Rule matmulRule(int64_t s, int64_t n, int64_t k) {
  Rule rule;
  rule.factors = {{"s", s}, {"n", n}, {"k", k, FactorKind::Reduction}};
  rule.operands = {{{0}, {2}}, {{2}, {1}}};
  rule.results = {{{0}, {1}}};
  rule.linearity = Linearity::Product;
  rule.linearOperands = {0, 1};
  return rule;
}

/// Two operands and one result of the same shape; factors d0, d1, ..
inline Rule elementwiseRule(const std::vector<int64_t> &shape, Linearity linearity,
                            std::vector<int> linearOperands) {
  Rule rule;
  ValueFactors value;
  for (size_t i = 0; i < shape.size(); ++i) {
    rule.factors.push_back({"d" + std::to_string(i), shape[i]});
    value.push_back({static_cast<int>(i)});
  }
  rule.operands = {value, value};
  rule.results = {value};
  rule.linearity = linearity;
  rule.linearOperands = std::move(linearOperands);
  return rule;
}

/// q [b,s,g,r,d], k [b,t,g,d], v [b,t,g,e] -> [b,s,g,r,e].
inline Rule attentionRule(int64_t b, int64_t s, int64_t t, int64_t g, int64_t r, int64_t d) {
  Rule rule;
  rule.factors = {{"b", b},
                  {"s", s, FactorKind::Parallel, Reduction::Sum, true},
                  {"g", g},
                  {"r", r},
                  {"t", t, FactorKind::Whole},
                  {"d", d, FactorKind::Whole},
                  {"e", d, FactorKind::Whole}};
  rule.operands = {{{0}, {1}, {2}, {3}, {5}}, {{0}, {4}, {2}, {5}}, {{0}, {4}, {2}, {6}}};
  rule.results = {{{0}, {1}, {2}, {3}, {6}}};
  return rule;
}

inline Strategy onFactors(const Rule &rule, std::vector<AxisList> axes) {
  Strategy strategy;
  strategy.factorAxes = std::move(axes);
  strategy.factorAxes.resize(rule.factors.size());
  return strategy;
}

} // namespace tenon::sharding::test
