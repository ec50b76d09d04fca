// SPDX-License-Identifier: Apache-2.0
#include "Workbench.h"

#include "tenon/runtime/exec/Agreement.h"
#include "tenon/runtime/exec/RunState.h"
#include "tenon/runtime/exec/StepTimes.h"

#include <algorithm>
#include <cstring>

namespace tenon::tprun {

using plan::DataType;

Workbench::~Workbench() {
  (void)bench_.device.synchronize();
  kernels_.clear();
  producers_.clear();
  for (std::byte *buffer : binding_.buffers)
    bench_.device.release(buffer);
}

void Workbench::keep(const Status &status) {
  if (status_ && !status)
    status_ = status;
}

plan::Operand Workbench::operand(DataType type, std::vector<int64_t> sizes,
                                 std::vector<int64_t> strides) {
  int64_t elements = 1;
  std::vector<int64_t> dense(sizes.size());
  for (size_t d = sizes.size(); d-- > 0; elements *= sizes[d])
    dense[d] = elements;
  const int64_t bytes = elements * plan::byteWidth(type);
  plan::Operand made;
  made.buffer = int32_t(binding_.buffers.size());
  made.sizes = std::move(sizes);
  made.strides = strides.empty() ? dense : std::move(strides);
  Expected<std::byte *> memory = bench_.device.allocate(bytes, runtime::MemoryUse::Arena);
  binding_.types.push_back(type);
  binding_.buffers.push_back(memory ? *memory : nullptr);
  keep(memory ? Status() : memory.status());
  if (!memory)
    return made;
  // Small numbers, not zeros: arithmetic on zeros can be faster, on denormals slower.
  std::vector<std::byte> values(static_cast<size_t>(bytes));
  for (int64_t i = 0; i < elements; ++i) {
    std::byte *at = values.data() + i * plan::byteWidth(type);
    const float value = float((i * 7919) % 1000) / 500 - 1;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (type == DataType::F32)
      std::memcpy(at, &value, 4);
    else if (type == DataType::BF16)
      std::memcpy(at, reinterpret_cast<const std::byte *>(&bits) + 2, 2);
    else if (type == DataType::I1)
      *at = std::byte(i % 8 != 0);
  }
  keep(bench_.device.copyIn(*memory, values.data(), bytes));
  return made;
}

plan::Operand Workbench::indices(int64_t count, int64_t rows) {
  plan::Operand made = operand(DataType::I32, {count});
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[size_t(i)] = int32_t((i * 2654435761) % rows);
  if (status_)
    keep(bench_.device.copyIn(binding_.buffers[size_t(made.buffer)], values.data(), count * 4));
  return made;
}

std::unique_ptr<runtime::Kernel> Workbench::prepare(plan::OpBody body) {
  if (!status_)
    return nullptr;
  plan::Op op;
  op.body = std::move(body);
  for (const auto &[axes, group] : bench_.groups)
    binding_.groups[axes] = group.get();
  Expected<std::unique_ptr<runtime::Kernel>> kernel = bench_.device.prepare(op, binding_);
  keep(kernel ? Status() : kernel.status());
  return kernel ? std::move(*kernel) : nullptr;
}

void Workbench::add(plan::OpBody body) { kernels_.push_back(prepare(std::move(body))); }

void Workbench::produce(const plan::Operand &operand) {
  plan::Copy body;
  body.x = this->operand(binding_.types[size_t(operand.buffer)], operand.sizes);
  body.out = operand;
  producers_.push_back(prepare(body));
}

static double now() { return double(runtime::monotonicNanoseconds()) * 1e-9; }

/// The first failure of all ranks: one that leaves alone would leave the others waiting.
static Status settled(const BenchDevice &bench, const Status &mine) {
  if (Status status = runtime::agree(bench.world, mine); !status)
    return status;
  return runtime::agree(bench.world, bench.device.settle(bench.world));
}

Status Workbench::runNext() {
  kernels_[next_++ % kernels_.size()]->enqueue(0);
  return bench_.device.synchronize();
}

/// Seconds of `batch` runs of kernels from this one on, after what comes before them in a step.
Expected<double> Workbench::timeOne(size_t kernel, int batch) {
  if (bench_.between)
    if (Status status = bench_.between(); !status)
      return status;
  for (const std::unique_ptr<runtime::Kernel> &producer : producers_)
    producer->enqueue(0);
  if (Status status = bench_.device.synchronize(); !status)
    return status;
  const double begin = now();
  for (int i = 0; i < batch; ++i)
    kernels_[(kernel + size_t(i)) % kernels_.size()]->enqueue(0);
  if (Status status = bench_.device.synchronize(); !status)
    return status;
  return (now() - begin) / batch;
}

Expected<double> Workbench::time(double budget, int least) {
  if (Status status = settled(bench_, status_); !status)
    return status;
  bench_.state.touch();
  std::vector<double> seconds;
  const double start = now();
  // The first runs touch what later ones find warm.
  for (int run = -2; run < 2000 && (run < least || now() - start < budget); ++run) {
    Expected<double> spent = timeOne(size_t(run + 2) * size_t(bench_.batch), bench_.batch);
    if (!spent)
      return spent;
    if (run >= 0)
      seconds.push_back(*spent);
  }
  return runtime::medianOf(seconds);
}

Expected<double> Workbench::timeCollective(plan::Collective body, int runs) {
  runtime::CollectiveTime time;
  binding_.time = &time;
  add(std::move(body));
  if (Status status = settled(bench_, status_); !status)
    return status;
  std::vector<double> seconds;
  for (int run = -2; run < runs; ++run) {
    bench_.state.touch();
    if (Status status = bench_.world.barrier(); !status)
      return status;
    Expected<double> spent = timeOne(0, 1);
    if (!spent)
      return spent;
    // Devices that do not write the times have no wait to tell apart.
    if (run >= 0)
      seconds.push_back(time.left > time.ready ? time.left - time.ready : *spent);
  }
  return runtime::medianOf(seconds);
}

} // namespace tenon::tprun
