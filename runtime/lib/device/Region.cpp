// SPDX-License-Identifier: Apache-2.0
// Binding and loop nests.
#include "Region.h"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace tenon::runtime {

int64_t Region::elements() const {
  int64_t n = 1;
  for (int64_t size : sizes)
    n *= size;
  return n;
}

bool Region::isContiguous() const {
  int64_t expected = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    if (sizes[d] != 1 && strides[d] != expected)
      return false;
    expected *= sizes[d];
  }
  return true;
}

Expected<Region> bind(const plan::Operand &operand, const Binding &binding) {
  if (operand.buffer < 0 || size_t(operand.buffer) >= binding.buffers.size())
    return Status(Code::Plan, "operand names buffer " + std::to_string(operand.buffer) + " of " +
                                  std::to_string(binding.buffers.size()));
  if (operand.sizes.size() != operand.strides.size())
    return Status(Code::Plan, "operand has " + std::to_string(operand.sizes.size()) +
                                  " sizes and " + std::to_string(operand.strides.size()) +
                                  " strides");
  if (operand.sizes.size() > size_t(NestCursor::kMaxDepth))
    return Status(Code::Plan, "operand has " + std::to_string(operand.sizes.size()) +
                                  " dimensions, expected at most " +
                                  std::to_string(NestCursor::kMaxDepth));
  for (int64_t size : operand.sizes)
    if (size < 0)
      return Status(Code::Plan, "operand has a dimension of " + std::to_string(size));
  Region region;
  region.type = binding.types[operand.buffer];
  region.data = binding.buffers[operand.buffer] + operand.offset.base * region.width();
  region.sizes = operand.sizes;
  region.strides = operand.strides;
  return region;
}

int64_t LoopNest::iterations() const {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

void LoopNest::push(int64_t size, std::vector<int64_t> steps) {
  assert(int(steps.size()) == operands);
  sizes.push_back(size);
  strides.push_back(std::move(steps));
}

LoopNest LoopNest::popInner() {
  LoopNest inner;
  inner.operands = operands;
  if (sizes.empty()) {
    inner.push(1, std::vector<int64_t>(operands, 0));
    return inner;
  }
  inner.push(sizes.back(), std::move(strides.back()));
  sizes.pop_back();
  strides.pop_back();
  return inner;
}

void LoopNest::collapse() {
  LoopNest merged;
  merged.operands = operands;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 1)
      continue;
    bool joins = !merged.sizes.empty();
    for (int j = 0; joins && j < operands; ++j)
      joins = merged.strides.back()[j] == strides[d][j] * sizes[d];
    if (joins) {
      merged.sizes.back() *= sizes[d];
      merged.strides.back() = strides[d];
    } else {
      merged.push(sizes[d], strides[d]);
    }
  }
  *this = std::move(merged);
}

void LoopNest::sortBy(int j) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(strides[a][j]) > std::abs(strides[b][j]);
  });
  LoopNest sorted;
  sorted.operands = operands;
  for (size_t d : order)
    sorted.push(sizes[d], strides[d]);
  *this = std::move(sorted);
}

LoopNest nestOf(std::span<const Region *const> regions, int64_t first, int64_t last) {
  LoopNest nest;
  nest.operands = int(regions.size());
  for (int64_t d = first; d < last; ++d) {
    std::vector<int64_t> steps;
    for (const Region *region : regions)
      steps.push_back(region->strides[d]);
    nest.push(regions[0]->sizes[d], std::move(steps));
  }
  return nest;
}

NestCursor::NestCursor(const LoopNest &nest, int64_t start) : nest_(nest) {
  // A loop of length 0 has no iteration to stand on; the caller makes no step.
  for (int64_t d = nest.depth(); d-- > 0;) {
    if (nest.sizes[d] == 0)
      return;
    index_[d] = start % nest.sizes[d];
    start /= nest.sizes[d];
    for (int j = 0; j < nest.operands; ++j)
      offset_[j] += index_[d] * nest.strides[d][j];
  }
}

void NestCursor::next() {
  for (int64_t d = nest_.depth(); d-- > 0;) {
    const std::vector<int64_t> &step = nest_.strides[d];
    if (++index_[d] < nest_.sizes[d]) {
      for (int j = 0; j < nest_.operands; ++j)
        offset_[j] += step[j];
      return;
    }
    for (int j = 0; j < nest_.operands; ++j)
      offset_[j] -= (nest_.sizes[d] - 1) * step[j];
    index_[d] = 0;
  }
}

} // namespace tenon::runtime
