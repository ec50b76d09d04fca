// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of a step: checked on the host, global on the outside.
#include "tenon/runtime/exec/Executor.h"

#include "tenon/runtime/plan/Blocks.h"
#include "tenon/runtime/plan/Resolve.h"

#include <cstring>

namespace tenon::runtime {

using plan::DataType;

namespace {

bool isInteger(DataType type) { return type == DataType::I32 || type == DataType::I64; }

std::string typeText(DataType type, const std::vector<int64_t> &shape) {
  HostTensor shown;
  shown.type = type;
  shown.shape = shape;
  return describe(shown);
}

/// Checks one input against its declaration and converts i32 <-> i64 where needed.
Expected<HostTensor> accept(const plan::IO &io, const HostTensor &given) {
  auto fail = [&](const std::string &why) { return Status(Code::Usage, "input '" + io.name + "': " + why); };
  const bool convertible = isInteger(io.type) && isInteger(given.type);
  if (given.shape != io.shape || (given.type != io.type && !convertible))
    return fail("expected " + typeText(io.type, io.shape) + ", found " + describe(given));
  HostTensor result = given;
  if (given.type != io.type) {
    result = HostTensor::zeros(io.type, given.shape);
    for (int64_t i = 0; i < given.elements(); ++i) {
      if (io.type == DataType::I64) {
        int32_t narrow;
        std::memcpy(&narrow, given.bytes.data() + i * 4, 4);
        int64_t wide = narrow;
        std::memcpy(result.bytes.data() + i * 8, &wide, 8);
        continue;
      }
      int64_t wide;
      std::memcpy(&wide, given.bytes.data() + i * 8, 8);
      if (wide < INT32_MIN || wide > INT32_MAX)
        return fail("value " + std::to_string(wide) + " at element " + std::to_string(i) + " does not fit i32");
      int32_t narrow = static_cast<int32_t>(wide);
      std::memcpy(result.bytes.data() + i * 4, &narrow, 4);
    }
  }
  if (io.low < io.high)
    for (int64_t i = 0; i < result.elements(); ++i)
      if (double value = result.at(i); value < static_cast<double>(io.low) || value >= static_cast<double>(io.high))
        return fail("value " + std::to_string(static_cast<int64_t>(value)) + " at element " + std::to_string(i) + " is outside [" +
                    std::to_string(io.low) + ", " + std::to_string(io.high) + ")");
  if (io.maskRows && !io.shape.empty() && io.shape.back() > 0)
    for (int64_t row = 0; row < result.elements() / io.shape.back(); ++row) {
      bool any = false;
      for (int64_t i = 0; i < io.shape.back(); ++i)
        any |= result.at(row * io.shape.back() + i) != 0;
      if (!any)
        return fail("row " + std::to_string(row) + " of the mask holds no 1");
    }
  return result;
}

} // namespace

Status Executor::setInputs(const Tensors &inputs) {
  for (const auto &[name, tensor] : inputs) {
    bool known = false;
    std::string names;
    for (const plan::IO &io : resolved_.inputs) {
      known |= io.name == name;
      names += (names.empty() ? "" : ", ") + io.name;
    }
    if (!known)
      return Status(Code::Usage, "entry '" + resolved_.name + "' has no input '" + name + "'; it has " + names);
  }
  for (const plan::IO &io : resolved_.inputs) {
    auto given = inputs.find(io.name);
    if (given == inputs.end())
      return Status(Code::Usage, "input '" + io.name + "' (" + typeText(io.type, io.shape) + ") is missing");
    Expected<HostTensor> tensor = accept(io, given->second);
    if (!tensor)
      return tensor.status();
    if (Status status = device_.copyIn(binding_.buffers[io.buffer], tensor->bytes.data(), static_cast<int64_t>(tensor->bytes.size())); !status)
      return status;
  }
  return {};
}

namespace {

/// Writes the owned part of a rank's block to its place in the global tensor.
void place(const std::byte *block, HostTensor &global, const std::vector<plan::Block> &blocks) {
  const int64_t width = plan::byteWidth(global.type);
  const size_t rank = blocks.size();
  if (rank == 0) {
    std::memcpy(global.bytes.data(), block, static_cast<size_t>(width));
    return;
  }
  for (const plan::Block &part : blocks)
    if (part.length == 0)
      return;
  std::vector<int64_t> digits(rank, 0);
  const size_t run = static_cast<size_t>(blocks.back().length * width);
  for (;;) {
    int64_t from = 0, to = 0;
    for (size_t d = 0; d < rank; ++d) {
      from = from * blocks[d].size + digits[d];
      to = to * global.shape[d] + blocks[d].start + digits[d];
    }
    std::memcpy(global.bytes.data() + to * width, block + from * width, run);
    size_t d = rank - 1;
    while (d-- > 0) {
      if (++digits[d] < blocks[d].length)
        break;
      digits[d] = 0;
    }
    if (d == static_cast<size_t>(-1))
      return;
  }
}

} // namespace

Expected<Tensors> Executor::outputs() {
  Tensors result;
  const int64_t ranks = world_.size();
  for (const plan::IO &io : resolved_.outputs) {
    const plan::Buffer &buffer = resolved_.buffers[io.buffer];
    const int64_t bytes = buffer.elements * plan::byteWidth(buffer.type);
    std::vector<std::byte> mine(static_cast<size_t>(bytes));
    if (Status status = device_.copyOut(mine.data(), binding_.buffers[io.buffer], bytes); !status)
      return status;
    bool sharded = false;
    for (const plan::Axes &axes : io.dimAxes)
      sharded |= !axes.empty();
    std::vector<std::byte> all = sharded ? std::vector<std::byte>(static_cast<size_t>(bytes * ranks)) : mine;
    if (sharded)
      if (Status status = world_.allGather(mine.data(), all.data(), bytes, DataType::I1); !status)
        return status;
    if (world_.rank() != 0)
      continue;
    HostTensor global = HostTensor::zeros(io.type, io.shape);
    for (int64_t rank = 0; rank < (sharded ? ranks : 1); ++rank) {
      std::vector<int64_t> coordinates = plan::coordinates(plan_.mesh, rank);
      std::vector<plan::Block> blocks;
      for (size_t d = 0; d < io.shape.size(); ++d) {
        std::vector<int64_t> sizes, at;
        for (int32_t axis : io.dimAxes[d]) {
          sizes.push_back(plan_.mesh[axis].size);
          at.push_back(coordinates[axis]);
        }
        blocks.push_back(plan::block(io.shape[d], sizes, at));
      }
      place(all.data() + rank * bytes, global, blocks);
    }
    result[io.name] = std::move(global);
  }
  return result;
}

} // namespace tenon::runtime
