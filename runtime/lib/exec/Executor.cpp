// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Executor.h"

#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace tenon::runtime {

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t arenaBytes(const plan::Plan &plan) {
  int64_t bytes = 0;
  for (const plan::Entry &entry : plan.entries)
    bytes = std::max(bytes, entry.arenaBytes);
  return bytes;
}

Executor::Executor(const Environment &environment, size_t entry, ExecutorOptions options)
    : environment_(environment),
      entry_(plan::resolve(environment.plan, environment.plan.entries[entry],
                           environment.coordinates)),
      options_(std::move(options)) {}

Executor::~Executor() { environment_.device.setObserver(nullptr, Observation::Progress); }

Expected<std::unique_ptr<Executor>> Executor::create(const Environment &environment, size_t entry,
                                                     ExecutorOptions options) {
  std::unique_ptr<Executor> executor(new Executor(environment, entry, std::move(options)));
  if (Status status = executor->prepare(); !status)
    return status;
  return executor;
}

std::string Executor::where(int op) const {
  return "rank " + std::to_string(environment_.rank) + ": " + entry_.name + ", step " +
         std::to_string(steps_) + ", op " + std::to_string(op) + ": ";
}

static std::string label(const plan::Op &op) {
  return plan::opName(op) + (op.location.empty() ? "" : " at " + op.location) + ": ";
}

Status Executor::prepare() {
  std::vector<bool> skipped(entry_.ops.size(), false);
  if (Status status = options_.faults.changeOps(entry_, skipped); !status)
    return status;
  for (const plan::Buffer &buffer : entry_.buffers) {
    binding_.types.push_back(buffer.type);
    binding_.buffers.push_back(buffer.kind == plan::Buffer::Kind::Weight
                                   ? environment_.weights.memory[size_t(buffer.weight)].data()
                                   : environment_.arena.data() + buffer.offset);
  }
  for (const auto &[axes, group] : environment_.groups.all())
    binding_.groups[axes] = group.get();
  const size_t count = entry_.ops.size();
  times_.resize(count);
  ordinal_.resize(count, 0);
  group_.resize(count, nullptr);
  uses_.resize(entry_.buffers.size(), 0);
  keeps_.resize(entry_.buffers.size(), false);
  for (const plan::IO &output : entry_.outputs)
    keeps_[size_t(output.buffer)] = true;
  for (size_t i = 0; i < count; ++i) {
    const plan::Op &op = entry_.ops[i];
    for (const plan::Access &access : plan::accesses(op))
      ++uses_[size_t(access.operand->buffer)];
    binding_.time = nullptr;
    if (const auto *collective = std::get_if<plan::Collective>(&op.body)) {
      ordinal_[i] = ++collectives_;
      group_[i] = binding_.groups[collective->axes];
      binding_.time = &times_[i].collective;
    }
    if (skipped[i]) {
      kernels_.emplace_back();
      continue;
    }
    Expected<std::unique_ptr<Kernel>> kernel = environment_.device.prepare(op, binding_);
    if (!kernel) {
      std::string message =
          entry_.name + ", op " + std::to_string(i) + ": " + kernel.status().message();
      if (kernel.status().code() == Code::Memory)
        message += "; " + largestBuffers(environment_.plan);
      return Status(kernel.status().code(), std::move(message));
    }
    kernels_.push_back(std::move(*kernel));
    if (options_.state)
      options_.state->touch();
  }
  return Status();
}

void Executor::enqueueAll() {
  for (size_t i = 0; i < kernels_.size(); ++i)
    if (kernels_[i]) {
      environment_.device.setOpIndex(int(i));
      kernels_[i]->enqueue(entry_.ops[i].stream);
    }
}

Status Executor::run() {
  if (capture_)
    capture_->replay();
  else
    enqueueAll();
  return environment_.device.synchronize();
}

// What looks at memory, or acts, between two ops.
bool Executor::watchesEveryOp() const {
  return options_.poison || options_.checkFinite || options_.afterOp ||
         options_.faults.needsEveryOp();
}

Expected<std::string> Executor::capture() {
  if (options_.state)
    options_.state->enterPhase("capture");
  // Nobody records while another still runs: a collective of one would wait for nothing.
  if (Status status = environment_.mesh.barrier(); !status)
    return status;
  Status mine = environment_.device.beginCapture();
  std::unique_ptr<Capture> capture;
  if (mine) {
    enqueueAll();
    Expected<std::unique_ptr<Capture>> ended = environment_.device.endCapture();
    mine = ended.status();
    if (ended)
      capture = std::move(*ended);
  }
  Expected<std::vector<std::string>> all =
      environment_.mesh.gatherStrings(mine.ok() ? "" : "x" + mine.message());
  if (!all)
    return all.status();
  for (size_t rank = 0; rank < all->size(); ++rank)
    if (!(*all)[rank].empty())
      return "rank " + std::to_string(rank) + ": " + (*all)[rank].substr(1);
  capture_ = std::move(capture);
  return std::string();
}

Status Executor::step(const std::vector<const HostArray *> &inputs) {
  if (options_.state) {
    options_.state->entry = entry_.name.c_str();
    options_.state->step = steps_;
  }
  failedOp_ = -1;
  left_ = uses_;
  born_.assign(entry_.buffers.size(), false);
  environment_.device.setObserver([this](int op, bool begin) { return observe(op, begin); },
                                  watchesEveryOp() ? Observation::Stepwise : Observation::Progress);
  if (options_.poison)
    if (Status status = poisonArena(); !status)
      return status;
  stepBegin_ = seconds();
  if (options_.state && !entry_.ops.empty())
    options_.state->enterOp(0, plan::opName(entry_.ops[0]), entry_.ops[0].location.c_str());
  Status status = options_.faults.atStep(steps_);
  for (size_t i = 0; i < entry_.inputs.size() && status; ++i) {
    int32_t buffer = entry_.inputs[i].buffer;
    born_[size_t(buffer)] = true;
    status = environment_.device.copyIn(binding_.buffers[size_t(buffer)], inputs[i]->bytes.data(),
                                        int64_t(inputs[i]->bytes.size()));
  }
  if (status)
    status = run();
  stepEnd_ = seconds();
  if (status) {
    environment_.device.readTimes([this](int op, double begin, double end) {
      OpTime &time = times_[size_t(op)];
      time.begin = begin;
      time.end = end;
      // A device that times itself sees waiting and moving as one.
      if (group_[size_t(op)])
        time.collective = {begin, begin, end};
    });
    ++steps_;
    if (options_.state)
      options_.state->enterPhase("between steps");
    return status;
  }
  bool onlyPeer = status.message().ends_with(peerFailed);
  bool first = environment_.mesh.cancel(status.code());
  // A disagreement has told the others before it came up to here.
  if (onlyPeer || (!first && status.code() != Code::Disagree))
    return Status(status.code(), peerFailed);
  return Status(status.code(), where(failedOp_) + status.message());
}

Status Executor::observe(int op, bool begin) {
  failedOp_ = op;
  Status status = begin ? atBegin(op) : atEnd(op);
  if (status)
    return status;
  return Status(status.code(), label(entry_.ops[size_t(op)]) + status.message());
}

Status Executor::atBegin(int op) {
  const plan::Op &instruction = entry_.ops[size_t(op)];
  const uint64_t ordinal = ordinal_[size_t(op)];
  if (ordinal) {
    uint64_t number = uint64_t(steps_) * collectives_ + ordinal;
    group_[size_t(op)]->setSequence(number);
    if (options_.state)
      options_.state->sequence = number;
  }
  if (options_.state)
    options_.state->enterOp(op, plan::opName(instruction), instruction.location.c_str());
  if (options_.poison)
    for (const plan::Access &access : plan::accesses(instruction))
      if (size_t buffer = size_t(access.operand->buffer); !born_[buffer]) {
        born_[buffer] = true;
        if (Status status = poison(access.operand->buffer); !status)
          return status;
      }
  if (Status status = options_.faults.atOp(op, steps_); !status)
    return status;
  times_[size_t(op)].begin = seconds();
  return Status();
}

Status Executor::atEnd(int op) {
  times_[size_t(op)].end = seconds();
  if (options_.checkFinite)
    if (Status status = checkFinite(op); !status)
      return status;
  if (options_.afterOp)
    if (Status status = options_.afterOp(op); !status)
      return status;
  if (options_.poison)
    for (const plan::Access &access : plan::accesses(entry_.ops[size_t(op)]))
      if (size_t buffer = size_t(access.operand->buffer); --left_[buffer] == 0 && !keeps_[buffer])
        if (Status status = poison(access.operand->buffer); !status)
          return status;
  return Status();
}

// All bits set: NaN in every float type, -1 in every integer.
Status Executor::poison(int32_t id) {
  const plan::Buffer &buffer = entry_.buffers[size_t(id)];
  if (buffer.kind == plan::Buffer::Kind::Weight)
    return Status();
  std::vector<std::byte> ones(size_t(buffer.elements * plan::byteWidth(buffer.type)),
                              std::byte(0xff));
  return environment_.device.copyIn(binding_.buffers[size_t(id)], ones.data(),
                                    int64_t(ones.size()));
}

Status Executor::poisonArena() {
  std::vector<std::byte> ones(size_t(environment_.arena.bytes()), std::byte(0xff));
  return environment_.device.copyIn(environment_.arena.data(), ones.data(), int64_t(ones.size()));
}

Expected<HostArray> Executor::operandValue(const plan::Operand &operand) {
  HostArray value;
  value.type = entry_.buffers[size_t(operand.buffer)].type;
  value.shape = operand.sizes;
  const int64_t width = plan::byteWidth(value.type), count = plan::elements(operand);
  value.bytes.resize(size_t(count * width));
  plan::Span span = plan::span(operand);
  if (span.empty)
    return value;
  std::vector<std::byte> raw(size_t((span.last - span.first + 1) * width));
  if (Status status = environment_.device.copyOut(
          raw.data(), binding_.buffers[size_t(operand.buffer)] + span.first * width,
          int64_t(raw.size()));
      !status)
    return status;
  if (plan::isContiguous(operand)) {
    value.bytes = std::move(raw);
    return value;
  }
  std::vector<int64_t> index(operand.sizes.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t from = operand.offset.base - span.first;
    for (size_t d = 0; d < index.size(); ++d)
      from += index[d] * operand.strides[d];
    std::memcpy(value.bytes.data() + i * width, raw.data() + from * width, size_t(width));
    for (size_t d = index.size(); d > 0; --d) {
      if (++index[d - 1] < operand.sizes[d - 1])
        break;
      index[d - 1] = 0;
    }
  }
  return value;
}

// Infinities have their place in masks and in padding; after a sum they are a mistake.
static bool allowsInfinity(const plan::Op &op) {
  if (const auto *reduce = std::get_if<plan::Reduce>(&op.body))
    return reduce->kind != plan::ReduceKind::Sum;
  if (const auto *collective = std::get_if<plan::Collective>(&op.body)) {
    const bool sums = collective->kind == plan::CollectiveKind::AllReduce ||
                      collective->kind == plan::CollectiveKind::ReduceScatter;
    return !sums || collective->reduce != plan::ReduceKind::Sum;
  }
  return !std::holds_alternative<plan::MatMul>(op.body) &&
         !std::holds_alternative<plan::Attention>(op.body) &&
         !std::holds_alternative<plan::Norm>(op.body) &&
         !std::holds_alternative<plan::Softmax>(op.body);
}

Status Executor::checkFinite(int op) {
  const plan::Op &instruction = entry_.ops[size_t(op)];
  for (const plan::Access &access : plan::accesses(instruction)) {
    plan::DataType type = binding_.types[size_t(access.operand->buffer)];
    if (!access.write || !plan::isFloat(type))
      continue;
    Expected<HostArray> value = operandValue(*access.operand);
    if (!value)
      return value.status();
    const int64_t width = plan::byteWidth(type);
    for (int64_t i = 0; i < value->elements(); ++i) {
      double element = elementAsDouble(type, value->bytes.data() + i * width);
      if (std::isfinite(element) || (std::isinf(element) && allowsInfinity(instruction)))
        continue;
      return Status(Code::Differs, std::string("the first value that is not finite: ") +
                                       access.role + " element " + std::to_string(i) + " of " +
                                       shapeOf(value->shape) + " is " +
                                       (std::isnan(element) ? "NaN" : "infinite"));
    }
  }
  return Status();
}

Expected<HostArray> Executor::outputBlock(size_t output) {
  const plan::IO &io = entry_.outputs[output];
  const plan::Buffer &buffer = entry_.buffers[size_t(io.buffer)];
  HostArray value;
  value.type = buffer.type;
  value.shape = {buffer.elements};
  value.bytes.resize(size_t(buffer.elements * plan::byteWidth(buffer.type)));
  if (Status status = environment_.device.copyOut(
          value.bytes.data(), binding_.buffers[size_t(io.buffer)], int64_t(value.bytes.size()));
      !status)
    return status;
  return value;
}

int64_t Executor::workspaceBytes() const {
  int64_t bytes = 0;
  for (const std::unique_ptr<Kernel> &kernel : kernels_)
    if (kernel)
      bytes += kernel->workspaceBytes();
  return bytes;
}

} // namespace tenon::runtime
