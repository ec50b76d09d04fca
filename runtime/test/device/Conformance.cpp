// SPDX-License-Identifier: Apache-2.0
// The harness of the conformance suite.
#include "Conformance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tenon::runtime::conformance {

using plan::DataType;

std::string opTestName(const testing::TestParamInfo<std::tuple<DeviceKind, DataType>> &info) {
  return std::get<0>(info.param).name + "_" + plan::name(std::get<1>(info.param));
}

plan::Operand Case::operand(DataType type, const std::vector<int64_t> &sizes,
                            const Layout &layout) {
  plan::Operand made;
  made.sizes = sizes;
  made.strides.assign(sizes.size(), 0);
  std::vector<int> order = layout.order;
  if (order.empty()) {
    order.resize(sizes.size());
    std::iota(order.begin(), order.end(), 0);
  }
  int64_t step = layout.step, last = 0;
  for (size_t i = order.size(); i-- > 0;) {
    int d = order[i];
    if (std::count(layout.broadcast.begin(), layout.broadcast.end(), d))
      continue;
    made.strides[d] = step;
    last += std::max<int64_t>(sizes[d] - 1, 0) * step;
    step = step * std::max<int64_t>(sizes[d], 1) + layout.gap;
  }
  made.offset = constant(layout.offset);
  // Three more elements than the operand reaches, to see writes that go too far.
  made.buffer = memory.add(type, layout.offset + last + 4);
  for (int64_t i = 0; i < memory.elements(made.buffer); ++i) {
    double value = std::uniform_real_distribution<double>(-2, 2)(random_);
    if (type == DataType::I32 || type == DataType::I64)
      value = std::uniform_int_distribution<int>(-5, 5)(random_);
    if (type == DataType::I1)
      value = value < 0;
    memory.set(made.buffer, i, value);
  }
  return made;
}

void Case::assign(const plan::Operand &operand, const std::vector<double> &values) {
  for (size_t i = 0; i < values.size(); ++i)
    memory.set(operand.buffer, operand.offset.base + int64_t(i), values[i]);
}

static double roundingOf(DataType type) {
  switch (type) {
  case DataType::F32:
    return 0;
  case DataType::BF16:
    return 1.0 / 128;
  case DataType::F16:
    return 1.0 / 1024;
  default:
    return 0;
  }
}

static bool agree(double expected, double found, double tolerance, DataType type) {
  if (std::isnan(expected) || std::isnan(found))
    return std::isnan(expected) && std::isnan(found);
  if (expected == found)
    return true;
  double relative = tolerance == 0 ? 0 : tolerance + roundingOf(type);
  return std::fabs(expected - found) <= tolerance + relative * std::fabs(expected);
}

Status Case::prepare(const plan::Op &op) {
  Expected<std::unique_ptr<Device>> device = kind_.make(StreamPolicy::Inline);
  if (!device)
    return device.status();
  Bound bound(**device, memory);
  Expected<std::unique_ptr<Kernel>> kernel = (*device)->prepare(op, bound.binding);
  return kernel ? Status() : kernel.status();
}

void Case::check(const plan::OpBody &body, double tolerance) {
  plan::Op op;
  op.body = body;
  op.location = "test.layer";
  Expected<std::unique_ptr<Device>> device = kind_.make(StreamPolicy::Inline);
  ASSERT_TRUE(device) << device.status().message();
  reference::Memory expected = memory, found = memory;
  reference::run(op, expected);
  {
    Bound bound(**device, memory);
    Expected<std::unique_ptr<Kernel>> kernel = (*device)->prepare(op, bound.binding);
    ASSERT_TRUE(kernel) << kernel.status().message();
    (*kernel)->enqueue(0);
    Status status = (*device)->synchronize();
    ASSERT_TRUE(status) << status.message();
    bound.read(found);
  }
  int wrong = 0;
  for (size_t buffer = 0; buffer < memory.buffers.size(); ++buffer) {
    bool written = expected.buffers[buffer] != memory.buffers[buffer] || tolerance == 0;
    for (int64_t i = 0; i < memory.elements(int32_t(buffer)); ++i) {
      double want = expected.get(int32_t(buffer), i), have = found.get(int32_t(buffer), i);
      double before = memory.get(int32_t(buffer), i);
      bool untouched = want == before && !written;
      if (!agree(want, have, untouched ? 0 : tolerance, memory.types[buffer]) && ++wrong <= 5)
        ADD_FAILURE() << "buffer " << buffer << " element " << i << ": expected " << want
                      << ", found " << have << ", before " << before;
    }
  }
  EXPECT_EQ(wrong, 0);
}

Bound::Bound(Device &device, const reference::Memory &memory) : device_(device) {
  binding.types = memory.types;
  for (const std::vector<std::byte> &bytes : memory.buffers) {
    Expected<std::byte *> allocated = device.allocate(int64_t(bytes.size()));
    EXPECT_TRUE(allocated);
    binding.buffers.push_back(*allocated);
    EXPECT_TRUE(device.copyIn(*allocated, bytes.data(), int64_t(bytes.size())));
  }
}

Bound::~Bound() {
  for (std::byte *buffer : binding.buffers)
    device_.release(buffer);
}

void Bound::write(int32_t buffer, const reference::Memory &memory) {
  const std::vector<std::byte> &bytes = memory.buffers[buffer];
  EXPECT_TRUE(device_.copyIn(binding.buffers[buffer], bytes.data(), int64_t(bytes.size())));
}

void Bound::read(reference::Memory &memory) const {
  for (size_t i = 0; i < memory.buffers.size(); ++i)
    EXPECT_TRUE(device_.copyOut(memory.buffers[i].data(), binding.buffers[i],
                                int64_t(memory.buffers[i].size())));
}

} // namespace tenon::runtime::conformance
