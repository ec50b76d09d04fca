// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Executor.h"

#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/Resolve.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

namespace tenon::runtime {

using plan::DataType;

double monotonicSeconds() { return std::chrono::duration<double>(std::chrono::steady_clock::monotonicSeconds().time_since_epoch()).count(); }

Expected<std::unique_ptr<Executor>> Executor::create(const plan::Plan &plan, Device &device, Communicator &world,
                                                     const ExecutorOptions &options) {
  if (world.size() != plan::worldSize(plan))
    return Status(Code::Usage, "the plan is for " + std::to_string(plan::worldSize(plan)) + " ranks, found " + std::to_string(world.size()));
  std::unique_ptr<Executor> executor(new Executor(plan, device, world, options));
  executor->coordinates_ = plan::coordinates(plan.mesh, world.rank());
  if (Status status = executor->splitGroups(); !status)
    return status;
  return executor;
}

Executor::~Executor() {
  kernels_.clear();
  capture_.reset();
  for (std::byte *memory : weights_)
    device_.release(memory);
  device_.release(arena_);
}

Status Executor::splitGroups() {
  std::set<plan::Axes> named;
  for (const plan::Entry &entry : plan_.entries)
    for (const plan::Op &op : entry.ops)
      if (const auto *collective = std::get_if<plan::Collective>(&op.body))
        named.insert(collective->axes);
  for (const plan::Axes &axes : named) {
    // Members differ on the axes only: the others make the color, the axes in their order the key.
    int color = 0, key = 0;
    for (size_t axis = 0; axis < plan_.mesh.size(); ++axis)
      if (std::find(axes.begin(), axes.end(), static_cast<int32_t>(axis)) == axes.end())
        color = static_cast<int>(color * plan_.mesh[axis].size + coordinates_[axis]);
    std::string name;
    for (int32_t axis : axes) {
      key = static_cast<int>(key * plan_.mesh[axis].size + coordinates_[axis]);
      name += (name.empty() ? "" : ",") + plan_.mesh[axis].name;
    }
    Expected<std::unique_ptr<Communicator>> group = world_.split(color, key);
    if (!group)
      return group.status();
    (*group)->setName(name);
    groups_[axes] = std::move(*group);
  }
  return {};
}

Status Executor::loadWeights(const WeightSource &source, const std::function<void(int64_t, int64_t)> &report) {
  int64_t total = 0;
  for (const plan::Weight &weight : plan_.weights)
    total += weight.elements * plan::byteWidth(weight.type);
  for (const plan::Weight &weight : plan_.weights) {
    const int64_t bytes = weight.elements * plan::byteWidth(weight.type);
    Expected<std::byte *> memory = device_.allocate(std::max<int64_t>(bytes, 1));
    if (!memory)
      return Status(memory.status().code(), "weight '" + weight.name + "': " + memory.status().message());
    weights_.push_back(*memory);
    std::vector<std::byte> host(static_cast<size_t>(bytes));
    if (Status status = loadWeight(weight, plan_.mesh, coordinates_, source, host.data(), copiedBytes_); !status)
      return status;
    if (Status status = device_.copyIn(*memory, host.data(), bytes); !status)
      return status;
    weightBytes_ += bytes;
    if (report)
      report(weightBytes_, total);
  }
  return {};
}

Status Executor::prepare(int index) {
  int64_t bytes = 0;
  for (const plan::Entry &entry : plan_.entries)
    bytes = std::max(bytes, entry.arenaBytes);
  if (!arena_) {
    Expected<std::byte *> memory = device_.allocate(std::max<int64_t>(bytes, 64));
    if (!memory)
      return Status(memory.status().code(), "arena: " + memory.status().message());
    arena_ = *memory;
    arenaBytes_ = bytes;
  }
  entryIndex_ = index;
  resolved_ = plan::resolve(plan_, plan_.entries[index], coordinates_);
  progress_.entry = index;
  binding_ = {};
  for (const plan::Buffer &buffer : resolved_.buffers) {
    binding_.buffers.push_back(buffer.kind == plan::Buffer::Kind::Weight ? weights_[buffer.weight] : arena_ + buffer.offset);
    binding_.types.push_back(buffer.type);
  }
  for (auto &[axes, group] : groups_)
    binding_.groups[axes] = group.get();
  const size_t count = resolved_.ops.size();
  kernels_.clear();
  capture_.reset();
  collectiveTimes_.assign(count, {});
  opSeconds_.assign(count, 0);
  opBegan_.assign(count, 0);
  workspaceBytes_ = 0;
  for (size_t i = 0; i < count; ++i) {
    binding_.time = std::holds_alternative<plan::Collective>(resolved_.ops[i].body) ? &collectiveTimes_[i] : nullptr;
    Expected<std::unique_ptr<Kernel>> kernel = device_.prepare(resolved_.ops[i], binding_);
    if (!kernel)
      return Status(kernel.status().code(), "op " + std::to_string(i) + " (" + plan::opName(resolved_.ops[i]) + " at " +
                                                resolved_.ops[i].location + "): " + kernel.status().message());
    workspaceBytes_ += (*kernel)->workspaceBytes();
    kernels_.push_back(std::move(*kernel));
  }
  device_.setObserver([this](int op, bool begin) { return observe(op, begin); });
  return {};
}

Status Executor::observe(int op, bool begin) {
  const double time = monotonicSeconds();
  if (begin) {
    progress_.op = op;
    progress_.since = time;
    opBegan_[op] = time;
    if (const auto *collective = std::get_if<plan::Collective>(&resolved_.ops[op].body)) {
      uint64_t sequence = progress_.sequence.fetch_add(1) + 1;
      groups_[collective->axes]->setSequence(sequence);
    }
  } else {
    opSeconds_[op] = time - opBegan_[op];
  }
  if (options_.inject)
    if (Status status = options_.inject(op, begin); !status)
      return status;
  if (!begin && options_.checkFinite)
    return checkWrites(op);
  return {};
}

Expected<HostTensor> Executor::read(const plan::Operand &operand) const {
  const plan::Buffer &buffer = resolved_.buffers[operand.buffer];
  HostTensor tensor = HostTensor::zeros(buffer.type, operand.sizes);
  const int64_t width = plan::byteWidth(buffer.type);
  plan::Span reach = plan::span(operand);
  if (reach.empty)
    return tensor;
  std::vector<std::byte> bytes(static_cast<size_t>((reach.last + 1 - reach.first) * width));
  if (Status status = device_.copyOut(bytes.data(), binding_.buffers[operand.buffer] + reach.first * width, static_cast<int64_t>(bytes.size()));
      !status)
    return status;
  std::vector<int64_t> digits(operand.sizes.size(), 0);
  int64_t at = operand.offset.base - reach.first;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    std::copy_n(bytes.begin() + at * width, width, tensor.bytes.begin() + i * width);
    for (size_t d = digits.size(); d-- > 0;) {
      at += operand.strides[d];
      if (++digits[d] < operand.sizes[d])
        break;
      at -= operand.strides[d] * operand.sizes[d];
      digits[d] = 0;
    }
  }
  return tensor;
}

Status Executor::checkWrites(int index) {
  const plan::Op &op = resolved_.ops[index];
  // A fill may write an infinity on purpose: the identity of a maximum.
  if (std::holds_alternative<plan::Fill>(op.body))
    return {};
  for (const plan::Access &access : plan::accesses(op)) {
    if (!access.write)
      continue;
    DataType type = resolved_.buffers[access.operand->buffer].type;
    if (type != DataType::F32 && type != DataType::BF16 && type != DataType::F16)
      continue;
    Expected<HostTensor> tensor = read(*access.operand);
    if (!tensor)
      return tensor.status();
    for (int64_t i = 0; i < tensor->elements(); ++i)
      if (!std::isfinite(tensor->at(i)))
        return Status(Code::Differs, "rank " + std::to_string(world_.rank()) + ": op " + std::to_string(index) + " (" + plan::opName(op) +
                                         " at " + op.location + ") wrote " + (std::isnan(tensor->at(i)) ? "NaN" : "an infinity") +
                                         " at element " + std::to_string(i) + " of " + describe(*tensor));
  }
  return {};
}

void Executor::enqueueAll() {
  for (size_t i = 0; i < kernels_.size(); ++i) {
    device_.setOpIndex(static_cast<int>(i));
    kernels_[i]->enqueue(resolved_.ops[i].stream);
  }
}

Status Executor::step() {
  if (options_.poison) {
    // Everything that is not an input becomes NaN: what an op reads must have been written in this step.
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> poison(static_cast<size_t>(arenaBytes_ / 4), nan);
    std::vector<std::vector<std::byte>> kept;
    for (const plan::IO &input : resolved_.inputs) {
      const plan::Buffer &buffer = resolved_.buffers[input.buffer];
      kept.emplace_back(static_cast<size_t>(buffer.elements * plan::byteWidth(buffer.type)));
      if (Status status = device_.copyOut(kept.back().data(), binding_.buffers[input.buffer], static_cast<int64_t>(kept.back().size())); !status)
        return status;
    }
    if (Status status = device_.copyIn(arena_, poison.data(), static_cast<int64_t>(poison.size() * 4)); !status)
      return status;
    for (size_t i = 0; i < kept.size(); ++i)
      if (Status status = device_.copyIn(binding_.buffers[resolved_.inputs[i].buffer], kept[i].data(), static_cast<int64_t>(kept[i].size()));
          !status)
        return status;
  }
  progress_.step.fetch_add(1);
  const double start = monotonicSeconds();
  if (options_.capture && !capture_) {
    device_.beginCapture();
    enqueueAll();
    Expected<std::unique_ptr<Capture>> captured = device_.endCapture();
    if (!captured)
      return captured.status();
    capture_ = std::move(*captured);
  }
  if (capture_)
    capture_->replay();
  else
    enqueueAll();
  Status status = device_.synchronize();
  times_ = {};
  times_.total = monotonicSeconds() - start;
  for (size_t i = 0; i < collectiveTimes_.size(); ++i)
    if (std::holds_alternative<plan::Collective>(resolved_.ops[i].body)) {
      times_.wait += collectiveTimes_[i].ready - collectiveTimes_[i].entered;
      times_.communication += collectiveTimes_[i].left - collectiveTimes_[i].ready;
    }
  progress_.op = -1;
  return status;
}

} // namespace tenon::runtime
