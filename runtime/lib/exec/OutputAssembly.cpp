// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/OutputAssembly.h"

#include "tenon/runtime/plan/Blocks.h"
#include "tenon/runtime/plan/Resolve.h"

#include <cmath>
#include <cstring>
#include <set>

namespace tenon::runtime {
namespace {

std::vector<int64_t> axisSizes(const plan::Plan &plan, const plan::Axes &axes) {
  std::vector<int64_t> sizes;
  for (int32_t axis : axes)
    sizes.push_back(plan.mesh[size_t(axis)].size);
  return sizes;
}

bool isCut(const plan::IO &output) {
  for (const plan::Axes &axes : output.dimAxes)
    if (!axes.empty())
      return true;
  return false;
}

int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Copies a box row by row: `lengths` of a block of shape `from` to `starts` of a tensor of shape
/// `to`.
void placeBlock(const std::byte *block, const std::vector<int64_t> &from,
                const std::vector<int64_t> &lengths, const std::vector<int64_t> &starts,
                std::byte *tensor, const std::vector<int64_t> &to, int64_t width) {
  const size_t rank = to.size();
  if (product(lengths) == 0)
    return;
  std::vector<int64_t> index(rank, 0);
  const int64_t run = rank ? lengths[rank - 1] : 1;
  for (;;) {
    int64_t source = 0, target = 0;
    for (size_t d = 0; d < rank; ++d) {
      source = source * from[d] + index[d];
      target = target * to[d] + starts[d] + index[d];
    }
    std::memcpy(tensor + target * width, block + source * width, size_t(run * width));
    // The last dimension is the run.
    size_t d = rank > 0 ? rank - 1 : 0;
    for (; d > 0; --d) {
      if (++index[d - 1] < lengths[d - 1])
        break;
      index[d - 1] = 0;
    }
    if (d == 0)
      return;
  }
}

} // namespace

std::vector<int64_t> blockShape(const plan::Plan &plan, const plan::IO &output) {
  std::vector<int64_t> shape;
  for (size_t d = 0; d < output.shape.size(); ++d)
    shape.push_back(plan::blockSize(output.shape[d], axisSizes(plan, output.dimAxes[d])));
  return shape;
}

HostArray joinBlocks(const plan::Plan &plan, const plan::IO &output, const std::byte *blocks) {
  HostArray result{output.type, output.shape, {}};
  const int64_t width = plan::byteWidth(output.type);
  result.bytes.resize(size_t(result.elements() * width));
  const std::vector<int64_t> from = blockShape(plan, output);
  const int64_t blockBytes = product(from) * width;
  std::set<int32_t> cut;
  for (const plan::Axes &axes : output.dimAxes)
    cut.insert(axes.begin(), axes.end());
  for (int64_t rank = 0; rank < plan::worldSize(plan); ++rank) {
    std::vector<int64_t> coordinates = plan::coordinates(plan.mesh, rank);
    bool speaks = true;
    for (size_t axis = 0; axis < plan.mesh.size(); ++axis)
      speaks = speaks && (coordinates[axis] == 0 || cut.count(int32_t(axis)));
    if (!speaks)
      continue;
    std::vector<int64_t> starts, lengths;
    for (size_t d = 0; d < output.shape.size(); ++d) {
      std::vector<int64_t> at;
      for (int32_t axis : output.dimAxes[d])
        at.push_back(coordinates[size_t(axis)]);
      plan::Block block = plan::block(output.shape[d], axisSizes(plan, output.dimAxes[d]), at);
      starts.push_back(block.start);
      lengths.push_back(block.length);
    }
    placeBlock(blocks + rank * blockBytes, from, lengths, starts, result.bytes.data(), output.shape,
               width);
  }
  return result;
}

int64_t assemblyBytes(const plan::Plan &plan, const plan::IO &output) {
  if (!isCut(output))
    return 0;
  return product(blockShape(plan, output)) * plan::byteWidth(output.type) *
         (plan::worldSize(plan) - 1);
}

Expected<HostArray> assembleOutput(const plan::Plan &plan, const plan::IO &output,
                                   const HostArray &mine, Communicator &mesh) {
  const int64_t count = product(blockShape(plan, output));
  if (mine.elements() < count)
    return Status(Code::Plan, "output '" + output.name + "': expected a block of " +
                                  std::to_string(count) + " elements, found " +
                                  std::to_string(mine.elements()));
  if (!isCut(output)) {
    HostArray result{output.type, output.shape, mine.bytes};
    result.bytes.resize(size_t(count * plan::byteWidth(output.type)));
    return result;
  }
  std::vector<std::byte> all(size_t(count * mesh.size() * plan::byteWidth(output.type)));
  if (Status status = mesh.allGather(mine.bytes.data(), all.data(), count, output.type); !status)
    return status;
  return joinBlocks(plan, output, all.data());
}

Comparison compareValues(const HostArray &found, const HostArray &expected, double rtol,
                         double atol) {
  Comparison result;
  // What exceeds the tolerance counts before what does not; then the size of the excess, or error.
  std::pair<bool, double> worst{false, -1};
  int64_t at = -1;
  const bool integers = !plan::isFloat(found.type) && !plan::isFloat(expected.type);
  const int64_t foundWidth = plan::byteWidth(found.type),
                expectedWidth = plan::byteWidth(expected.type);
  for (int64_t i = 0; i < found.elements(); ++i) {
    double a = elementAsDouble(found.type, found.bytes.data() + i * foundWidth);
    double b = elementAsDouble(expected.type, expected.bytes.data() + i * expectedWidth);
    if (integers) {
      // Beyond 2^53 two integers may be one double.
      const int64_t x = elementAsInteger(found.type, found.bytes.data() + i * foundWidth),
                    y = elementAsInteger(expected.type, expected.bytes.data() + i * expectedWidth);
      if (x == y)
        continue;
      if (a == b)
        a = std::nextafter(b, x > y ? INFINITY : -INFINITY);
    }
    if ((std::isnan(a) && std::isnan(b)) || a == b)
      continue;
    double error = std::abs(a - b), excess = error - (atol + rtol * std::abs(b));
    // A tolerance relative to an infinite value would admit everything.
    if (!std::isfinite(error))
      error = excess = INFINITY;
    if (excess > 0)
      result.equal = false;
    const std::pair<bool, double> rank{excess > 0, excess > 0 ? excess : error};
    if (rank > worst) {
      worst = rank;
      at = i;
    }
    result.maxError = std::max(result.maxError, error);
  }
  if (at < 0)
    at = 0;
  if (found.elements() > 0) {
    result.found = elementAsDouble(found.type, found.bytes.data() + at * foundWidth);
    result.expected = elementAsDouble(expected.type, expected.bytes.data() + at * expectedWidth);
  }
  result.index.resize(found.shape.size());
  for (size_t d = found.shape.size(); d-- > 0 && found.elements() > 0;) {
    result.index[d] = at % found.shape[d];
    at /= found.shape[d];
  }
  return result;
}

} // namespace tenon::runtime
