// SPDX-License-Identifier: Apache-2.0
// Access: op names, and the element span of an operand.
#include "tenon/runtime/plan/Access.h"

#include <cassert>
#include <cstddef>

namespace tenon::plan {

std::vector<Access> accesses(const Op &op) {
  std::vector<Access> result;
  forEachOperand(op.body, [&](const Operand &operand, bool write, const char *role, int index) {
    result.push_back({&operand, write, role, index});
  });
  return result;
}

namespace {
struct NameOf {
  const char *operator()(const MatMul &) const { return "matmul"; }
  const char *operator()(const Attention &) const { return "attention"; }
  const char *operator()(const GatherRows &) const { return "gather_rows"; }
  const char *operator()(const Take &) const { return "take"; }
  const char *operator()(const Norm &) const { return "norm"; }
  const char *operator()(const Rope &) const { return "rope"; }
  const char *operator()(const Elementwise &) const { return "elementwise"; }
  const char *operator()(const Reduce &) const { return "reduce"; }
  const char *operator()(const Softmax &) const { return "softmax"; }
  const char *operator()(const Copy &) const { return "copy"; }
  const char *operator()(const Fill &) const { return "fill"; }
  const char *operator()(const Record &) const { return "record"; }
  const char *operator()(const Wait &) const { return "wait"; }
  const char *operator()(const Collective &op) const {
    switch (op.kind) {
    case CollectiveKind::AllReduce:
      return "all_reduce";
    case CollectiveKind::AllGather:
      return "all_gather";
    case CollectiveKind::ReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::AllToAll:
      return "all_to_all";
    case CollectiveKind::Broadcast:
      return "broadcast";
    }
    return "collective";
  }
};
} // namespace

const char *opName(const Op &op) { return std::visit(NameOf{}, op.body); }

Span span(const Operand &operand) {
  assert(operand.offset.kind == RankValue::Kind::Constant && "resolve the operand first");
  Span result{operand.offset.base, operand.offset.base, false};
  for (size_t i = 0; i < operand.sizes.size(); ++i) {
    if (operand.sizes[i] == 0)
      return {0, -1, true};
    int64_t reach = (operand.sizes[i] - 1) * operand.strides[i];
    (reach < 0 ? result.first : result.last) += reach;
  }
  return result;
}

int64_t elements(const Operand &operand) {
  int64_t count = 1;
  for (int64_t size : operand.sizes)
    count *= size;
  return count;
}

bool isContiguous(const Operand &operand) {
  int64_t expected = 1;
  bool dense = true;
  for (size_t i = operand.sizes.size(); i-- > 0;) {
    if (operand.sizes[i] == 0)
      return true;
    if (operand.sizes[i] != 1 && operand.strides[i] != expected)
      dense = false;
    expected *= operand.sizes[i];
  }
  return dense;
}

} // namespace tenon::plan
