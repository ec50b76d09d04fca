// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/OpWork.h"

#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <cstdlib>
#include <map>

namespace tenon::runtime {
namespace {

using plan::DataType;

/// Overlapping strides reach fewer elements than the sizes say.
double distinctElements(const plan::Operand &operand) {
  double count = 1, reach = 1;
  for (size_t d = 0; d < operand.sizes.size(); ++d) {
    if (operand.sizes[d] <= 0)
      return 0;
    if (operand.strides[d] == 0)
      continue;
    count *= double(operand.sizes[d]);
    reach += double(operand.sizes[d] - 1) * double(std::abs(operand.strides[d]));
  }
  return std::min(count, reach);
}

/// The part of an operand that the op touches, where that is less than all of it.
plan::Operand touched(const plan::OpBody &body, const plan::Operand &operand) {
  plan::Operand part = operand;
  auto lookUp = [&](const plan::Operand &indices) {
    part.sizes[0] = std::min(part.sizes[0], int64_t(distinctElements(indices)));
  };
  if (const auto *gather = std::get_if<plan::GatherRows>(&body)) {
    if (&operand == &gather->table)
      lookUp(gather->ids);
  } else if (const auto *rope = std::get_if<plan::Rope>(&body)) {
    if (&operand == &rope->cos || &operand == &rope->sin)
      lookUp(rope->positions);
  } else if (const auto *take = std::get_if<plan::Take>(&body)) {
    if (&operand == &take->x)
      part.sizes[size_t(take->dim)] = std::min<int64_t>(part.sizes[size_t(take->dim)], 1);
  } else if (const auto *fill = std::get_if<plan::Fill>(&body)) {
    if (fill->dim >= 0) {
      int64_t &size = part.sizes[size_t(fill->dim)];
      size -= std::clamp<int64_t>(fill->from.base, 0, size);
    }
  }
  return part;
}

double flopsOf(const plan::MatMul &matmul) {
  std::map<char, int64_t> sizes;
  auto add = [&](const plan::Operand &operand, const std::string &labels) {
    for (size_t d = 0; d < labels.size(); ++d)
      sizes[labels[d]] = operand.sizes[d];
  };
  add(matmul.a, matmul.aDims);
  add(matmul.b, matmul.bDims);
  add(matmul.c, matmul.cDims);
  double flops = 2;
  for (const auto &[label, size] : sizes)
    flops *= double(size);
  return flops;
}

double flopsOf(const plan::Attention &attention) {
  const int64_t queries = attention.q.sizes[1], keys = attention.k.sizes[1];
  // q k^T over d, then its product with v over e.
  double flops = 2.0 * double(attention.q.sizes[4] + attention.v.sizes[3]) * double(keys);
  for (size_t d = 0; d < 4; ++d)
    flops *= double(attention.q.sizes[d]);
  return attention.causal && queries == keys ? flops / 2 : flops;
}

} // namespace

OpWork workOf(const plan::Entry &entry, const plan::Op &op) {
  OpWork work;
  if (const auto *matmul = std::get_if<plan::MatMul>(&op.body))
    work.flops = flopsOf(*matmul);
  else if (const auto *attention = std::get_if<plan::Attention>(&op.body))
    work.flops = flopsOf(*attention);
  std::vector<plan::Operand> read;
  for (const plan::Access &access : plan::accesses(op)) {
    plan::Operand part = touched(op.body, *access.operand);
    const DataType type = entry.buffers[size_t(part.buffer)].type;
    if (!access.write && std::find(read.begin(), read.end(), part) != read.end())
      continue;
    work.bytes += distinctElements(part) * double(plan::byteWidth(type));
    if (!access.write)
      read.push_back(std::move(part));
  }
  return work;
}

double boundSeconds(const OpWork &work, DataType type, const DeviceLimits &limits, bool tf32) {
  const double peak = type == DataType::BF16 || type == DataType::F16 ? limits.flopsBf16
                      : tf32                                          ? limits.flopsTf32
                                                                      : limits.flopsF32;
  if ((work.flops > 0 && peak <= 0) || (work.bytes > 0 && limits.bytesPerSecond <= 0))
    return 0;
  return std::max(work.flops > 0 ? work.flops / peak : 0,
                  work.bytes > 0 ? work.bytes / limits.bytesPerSecond : 0);
}

double boundSeconds(const plan::Entry &entry, const plan::Op &op, const DeviceLimits &limits,
                    bool tf32) {
  // The type matters only where there are flops.
  DataType type = DataType::F32;
  if (const auto *matmul = std::get_if<plan::MatMul>(&op.body)) {
    type = entry.buffers[size_t(matmul->a.buffer)].type;
  } else {
    tf32 = false;
    if (const auto *attention = std::get_if<plan::Attention>(&op.body))
      type = entry.buffers[size_t(attention->q.buffer)].type;
  }
  return boundSeconds(workOf(entry, op), type, limits, tf32);
}

} // namespace tenon::runtime
