// SPDX-License-Identifier: Apache-2.0
// Conformance: what a test of one op needs. A case makes operands in a layout of its choice, runs
// the op on a device and in the reference, and compares every byte of every buffer: results within
// a tolerance, all else unchanged.
#pragma once

#include "ReferenceKernels.h"
#include "tenon/runtime/Device.h"

#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

namespace tenon::runtime::conformance {

/// A device under test.
struct DeviceKind {
  std::string name;
  std::function<Expected<std::unique_ptr<Device>>(StreamPolicy)> make;
  /// Whether a bf16 matmul must work; where it need not, it must be refused with a remedy.
  bool bf16MatMul = false;
  /// Whether every op of a replayed step is observed, and nothing runs before it must.
  bool onCallingThread = true;
};

/// The devices under test that this machine can run; each test program has its own.
std::vector<DeviceKind> deviceKinds();

inline void PrintTo(const DeviceKind &kind, std::ostream *out) { *out << kind.name; }

/// How an operand lies in its buffer.
struct Layout {
  std::vector<int> order;     ///< Dimensions from slowest to fastest; empty for row-major.
  int64_t gap = 0;            ///< Elements added to each step beyond the fastest dimension.
  std::vector<int> broadcast; ///< Dimensions of stride 0.
  int64_t step = 1;           ///< Stride of the fastest dimension.
  int64_t offset = 0;
};

class Case {
public:
  explicit Case(const DeviceKind &kind, uint32_t seed = 1) : kind_(kind), random_(seed) {}

  /// Makes a buffer of random values and an operand in it: floats in [-2, 2), integers in [-5, 5],
  /// I1 0 or 1.
  plan::Operand operand(plan::DataType type, const std::vector<int64_t> &sizes,
                        const Layout &layout = {});
  /// Overwrites the elements of a dense operand's buffer.
  void assign(const plan::Operand &operand, const std::vector<double> &values);

  /// Prepares; null with a test failure when refused.
  Status prepare(const plan::Op &op);
  /// Runs the op on the device and in the reference and compares. `tolerance` is absolute plus
  /// relative; 0 demands equal bits. Rounding to the result's own type is allowed for on top.
  void check(const plan::OpBody &body, double tolerance);

  reference::Memory memory;

private:
  const DeviceKind &kind_;
  std::mt19937 random_;
};

/// Fixture of one device and one element type.
class OpTest : public testing::TestWithParam<std::tuple<DeviceKind, plan::DataType>> {
protected:
  const DeviceKind &kind() const { return std::get<0>(GetParam()); }
  plan::DataType type() const { return std::get<1>(GetParam()); }
};

std::string opTestName(const testing::TestParamInfo<std::tuple<DeviceKind, plan::DataType>> &info);

#define TENON_INSTANTIATE_FLOATS(Suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(                                                                        \
      Devices, Suite,                                                                              \
      testing::Combine(                                                                            \
          testing::ValuesIn(deviceKinds()),                                                        \
          testing::Values(plan::DataType::F32, plan::DataType::BF16, plan::DataType::F16)),        \
      opTestName)

/// A constant as resolve() leaves it.
inline plan::RankValue constant(int64_t value) {
  plan::RankValue result;
  result.base = value;
  return result;
}

/// A device with the buffers of `memory` on it.
class Bound {
public:
  Bound(Device &device, const reference::Memory &memory);
  ~Bound();
  Bound(const Bound &) = delete;
  /// Copies a buffer in or out.
  void write(int32_t buffer, const reference::Memory &memory);
  void read(reference::Memory &memory) const;

  Binding binding;

private:
  Device &device_;
};

} // namespace tenon::runtime::conformance
