// SPDX-License-Identifier: Apache-2.0
// EntryBuilder: regions and the few instructions that all lowerings share.

#include "EntryBuilder.h"

#include "tenon/runtime/plan/Access.h"

#include <cassert>

using namespace tenon;
using plan::Operand;
using plan::RankValue;
using Sizes = EntryBuilder::Sizes;

static int64_t product(const Sizes &sizes) {
  int64_t count = 1;
  for (int64_t size : sizes)
    count *= size;
  return count;
}

static Sizes contiguousStrides(const Sizes &sizes) {
  Sizes strides(sizes.size());
  int64_t next = 1;
  for (size_t i = sizes.size(); i-- > 0; next *= sizes[i])
    strides[i] = next;
  return strides;
}

Operand EntryBuilder::newBuffer(plan::DataType type, const Sizes &sizes) {
  plan::Buffer buffer;
  buffer.type = type;
  buffer.elements = product(sizes);
  buffer.offset = -1;
  entry.buffers.push_back(buffer);
  return {static_cast<int32_t>(entry.buffers.size()) - 1, {}, sizes, contiguousStrides(sizes)};
}

Operand EntryBuilder::weight(int32_t number, plan::DataType type, int64_t elements,
                             const Sizes &sizes) {
  if (static_cast<size_t>(number) >= weightBuffers.size())
    weightBuffers.resize(number + 1, -1);
  if (weightBuffers[number] < 0) {
    plan::Buffer buffer;
    buffer.kind = plan::Buffer::Kind::Weight;
    buffer.type = type;
    buffer.elements = elements;
    buffer.weight = number;
    weightBuffers[number] = entry.buffers.size();
    entry.buffers.push_back(buffer);
  }
  return {weightBuffers[number], {}, sizes, contiguousStrides(sizes)};
}

void EntryBuilder::add(plan::OpBody body) {
  plan::Op op;
  op.body = std::move(body);
  op.location = location;
  entry.ops.push_back(std::move(op));
}

Operand EntryBuilder::copy(const Operand &x, std::optional<plan::DataType> to) {
  Operand out = newBuffer(to.value_or(type(x)), x.sizes);
  copyInto(x, out);
  return out;
}

void EntryBuilder::fill(const Operand &out, double value) {
  plan::Fill fill;
  fill.out = out;
  fill.value = value;
  add(fill);
}

Operand EntryBuilder::contiguous(const Operand &x) { return plan::isContiguous(x) ? x : copy(x); }

Operand EntryBuilder::denseRows(const Operand &x) {
  bool dense = x.sizes.empty() || x.sizes.back() == 1 || x.strides.back() <= 1;
  return dense ? x : copy(x);
}

Operand EntryBuilder::wholeBuffer(const Operand &x) {
  const plan::Buffer &held = buffer(x);
  bool whole = held.kind == plan::Buffer::Kind::Arena && held.elements == product(x.sizes) &&
               x.offset.kind == RankValue::Kind::Constant && x.offset.base == 0 &&
               plan::isContiguous(x);
  for (const plan::IO &input : entry.inputs)
    whole &= input.buffer != x.buffer;
  return whole ? x : copy(x);
}

Operand EntryBuilder::cast(const Operand &x, plan::DataType to) {
  return type(x) == to ? x : copy(x, to);
}

/// Strides of x under other sizes, when strides can say it: each group of new dimensions splits a
/// run of old ones that lie densely behind each other.
static std::optional<Sizes> reshapedStrides(const Operand &x, const Sizes &to) {
  if (product(to) == 0)
    return contiguousStrides(to);
  Sizes sizes, strides; // Without dimensions of size 1, whose strides mean nothing.
  for (size_t i = 0; i < x.sizes.size(); ++i)
    if (x.sizes[i] != 1) {
      sizes.push_back(x.sizes[i]);
      strides.push_back(x.strides[i]);
    }
  Sizes result(to.size(), 0);
  size_t next = to.size();
  for (size_t i = sizes.size(); i > 0;) {
    size_t end = i--;
    int64_t run = sizes[i];
    // Dimension i - 1 joins the run when it steps over the whole of dimension i.
    while (i > 0 && strides[i - 1] == strides[i] * sizes[i])
      run *= sizes[--i];
    int64_t stride = strides[end - 1], covered = 1;
    while (covered < run) {
      if (next == 0)
        return std::nullopt;
      --next;
      result[next] = stride * covered;
      covered *= to[next];
    }
    if (covered != run)
      return std::nullopt;
  }
  while (next > 0) {
    if (to[--next] != 1)
      return std::nullopt;
    result[next] = next + 1 < to.size() ? result[next + 1] * to[next + 1] : 1;
  }
  return result;
}

Operand EntryBuilder::reshape(const Operand &x, const Sizes &to) {
  assert(product(x.sizes) == product(to) && "a reshape keeps the number of elements");
  if (x.sizes == to)
    return x;
  if (std::optional<Sizes> strides = reshapedStrides(x, to)) {
    Operand result{x.buffer, x.offset, to, std::move(*strides)};
    // One spelling for contiguous regions: strides of dimensions of size 1 follow their neighbours.
    if (plan::isContiguous(result))
      result.strides = contiguousStrides(to);
    return result;
  }
  Operand dense = copy(x);
  return {dense.buffer, dense.offset, to, contiguousStrides(to)};
}

Operand EntryBuilder::transpose(const Operand &x, const std::vector<int64_t> &permutation) {
  Operand result{x.buffer, x.offset, {}, {}};
  for (int64_t from : permutation) {
    result.sizes.push_back(x.sizes[from]);
    result.strides.push_back(x.strides[from]);
  }
  return result;
}

Operand EntryBuilder::broadcast(const Operand &x, const Sizes &to) {
  Operand result{x.buffer, x.offset, to, Sizes(to.size(), 0)};
  size_t missing = to.size() - x.sizes.size();
  for (size_t i = missing; i < to.size(); ++i)
    if (x.sizes[i - missing] == to[i])
      result.strides[i] = x.strides[i - missing];
  return result;
}

Operand EntryBuilder::slice(const Operand &x, const Sizes &offsets, const Sizes &sizes,
                            const Sizes &strides) {
  Operand result{x.buffer, x.offset, sizes, {}};
  for (size_t i = 0; i < sizes.size(); ++i) {
    result.offset.base += offsets[i] * x.strides[i];
    result.strides.push_back(x.strides[i] * strides[i]);
  }
  return result;
}

Operand EntryBuilder::piece(const Operand &x, int dim, int64_t pieces, const plan::Axes &axes) {
  Operand from = x.offset.kind == RankValue::Kind::Constant ? x : copy(x);
  Operand result = from;
  result.sizes[dim] = from.sizes[dim] / pieces;
  // `pieces` is the product of the axes' sizes, so the block of a coordinate starts at its own
  // number.
  result.offset = {RankValue::Kind::Start, from.offset.base, from.strides[dim] * result.sizes[dim],
                   pieces, axes};
  return result;
}

Operand EntryBuilder::pad(const Operand &x, int dim, int64_t size) {
  Sizes sizes = x.sizes, zeros(sizes.size(), 0), ones(sizes.size(), 1);
  sizes[dim] = size;
  Operand out = newBuffer(type(x), sizes);
  copyInto(x, slice(out, zeros, x.sizes, ones));
  Sizes rest = sizes, offsets = zeros;
  offsets[dim] = x.sizes[dim];
  rest[dim] = size - x.sizes[dim];
  fill(slice(out, offsets, rest, ones), 0);
  return out;
}
