// SPDX-License-Identifier: Apache-2.0
// Region: an operand with its address, and LoopNest: the loops that walk several operands together.
//
// Example: out [2,3,4] strides (12,4,1), x [2,3,4] strides (24,4,1): dimensions 1 and 2 merge,
// because both operands step from one to the next by size times stride, dimension 0 stays: sizes
// {2,12}.
#pragma once

#include "tenon/runtime/Device.h"
#include "tenon/runtime/plan/Limits.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace tenon::runtime {

/// An operand bound to memory. Strides are in elements.
struct Region {
  std::byte *data = nullptr;
  plan::DataType type = plan::DataType::F32;
  std::vector<int64_t> sizes, strides;

  int64_t rank() const { return int64_t(sizes.size()); }
  int64_t width() const { return plan::byteWidth(type); }
  int64_t elements() const;
  bool empty() const { return elements() == 0; }
  bool isContiguous() const;
  std::byte *at(int64_t offset) const { return data + offset * width(); }
};

/// Binds a resolved operand. Fails with Code::Plan when it names no buffer or contradicts itself.
Expected<Region> bind(const plan::Operand &operand, const Binding &binding);

/// Loops over `sizes`; operand j moves by strides[d][j] per step of loop d.
struct LoopNest {
  std::vector<int64_t> sizes;
  std::vector<std::vector<int64_t>> strides;
  int operands = 0;

  int64_t depth() const { return int64_t(sizes.size()); }
  int64_t iterations() const;
  /// Adds a loop inside the others.
  void push(int64_t size, std::vector<int64_t> steps);
  /// Takes the innermost loop off and returns it as a nest of depth one; size 1 and steps 0 when
  /// there is none.
  LoopNest popInner();
  /// Drops loops of size 1 and merges neighbours where all operands allow.
  void collapse();
  /// Orders loops by falling stride of operand `j`, stable.
  void sortBy(int j);
};

/// A nest over dimensions [first, last) of regions of equal sizes.
LoopNest nestOf(std::span<const Region *const> regions, int64_t first, int64_t last);

/// Walks a nest iteration by iteration without dividing; offsets of up to `kMaxOperands` operands.
class NestCursor {
public:
  NestCursor(const LoopNest &nest, int64_t start);
  int64_t operator[](int operand) const { return offset_[operand]; }
  void next();

  static constexpr int kMaxDepth = int(plan::limits::dimensions);
  static constexpr int kMaxOperands = int(plan::limits::exprInputs) + 1;

private:
  const LoopNest &nest_;
  std::array<int64_t, kMaxDepth> index_{};
  std::array<int64_t, kMaxOperands> offset_{};
};

} // namespace tenon::runtime
