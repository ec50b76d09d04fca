// SPDX-License-Identifier: Apache-2.0
#include "Binder.h"

namespace tenon::runtime {

Region Binder::operator()(const plan::Operand &operand) {
  Expected<Region> region = bind(operand, binding_);
  if (region)
    return *region;
  if (status_.ok())
    status_ = region.status();
  return Region();
}

Region Binder::optional(const std::vector<plan::Operand> &operands) {
  require(operands.size() <= 1, "expected at most one optional operand");
  return operands.empty() ? Region() : (*this)(operands[0]);
}

void Binder::same(const Region &a, const Region &b, const char *what) {
  require(a.sizes == b.sizes, std::string(what) + ": expected equal sizes, found " +
                                  shapeText(a.sizes) + " and " + shapeText(b.sizes));
}

void Binder::require(bool condition, const std::string &message) {
  if (status_.ok() && !condition)
    status_ = Status(Code::Plan, message);
}

std::string shapeText(const std::vector<int64_t> &sizes) {
  std::string text;
  for (int64_t size : sizes)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

} // namespace tenon::runtime
