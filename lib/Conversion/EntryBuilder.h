// SPDX-License-Identifier: Apache-2.0
// EntryBuilder: makes a plan entry instruction by instruction, and answers what a region of a
// buffer looks like after a reshape, a transpose, a slice or a broadcast. Knows nothing of tensors
// or IR.
//
// Example: x is [2, 8, 768] of a contiguous buffer. reshape to [2, 8, 12, 64], transpose to [2, 12,
// 8, 64], and slice of head 3 are regions with strides [6144, 64, 768, 1] and offset 192; no
// instruction is made. A reshape of the transposed value to [2, 12, 512] has no strides that say
// it: the builder makes one copy.
#pragma once

#include "tenon/Sharding/Mesh.h"
#include "tenon/runtime/plan/Plan.h"

#include <optional>

namespace tenon {

class EntryBuilder {
public:
  using Sizes = std::vector<int64_t>;

  explicit EntryBuilder(plan::Entry &entry) : entry(entry) {}

  /// What instructions made from here on are called in reports.
  void setLocation(std::string location) { this->location = std::move(location); }

  /// A new arena buffer, whole and contiguous, as a region of these sizes.
  plan::Operand newBuffer(plan::DataType type, const Sizes &sizes);
  /// The buffer of a weight as a region; one buffer per weight.
  plan::Operand weight(int32_t number, plan::DataType type, int64_t elements, const Sizes &sizes);
  plan::DataType type(const plan::Operand &region) const {
    return entry.buffers[region.buffer].type;
  }
  const plan::Buffer &buffer(const plan::Operand &region) const {
    return entry.buffers[region.buffer];
  }

  /// Appends an instruction.
  void add(plan::OpBody body);
  /// Copies a region into a new contiguous buffer, of another type if given.
  plan::Operand copy(const plan::Operand &x, std::optional<plan::DataType> type = {});
  void copyInto(const plan::Operand &x, const plan::Operand &out) { add(plan::Copy{x, out}); }
  void fill(const plan::Operand &out, double value);

  /// x itself when it is dense and row-major, else a copy.
  plan::Operand contiguous(const plan::Operand &x);
  /// x itself when its last dimension is dense, broadcast or of size 1, else a copy.
  plan::Operand denseRows(const plan::Operand &x);
  /// x itself when it is a whole arena buffer, else a copy: what an output needs.
  plan::Operand wholeBuffer(const plan::Operand &x);
  /// x of another type: a copy, or x itself.
  plan::Operand cast(const plan::Operand &x, plan::DataType to);

  plan::Operand reshape(const plan::Operand &x, const Sizes &to);
  static plan::Operand transpose(const plan::Operand &x, const std::vector<int64_t> &permutation);
  /// Repeats dimensions of size 1 and missing leading ones.
  static plan::Operand broadcast(const plan::Operand &x, const Sizes &to);
  static plan::Operand slice(const plan::Operand &x, const Sizes &offsets, const Sizes &sizes,
                             const Sizes &strides);
  /// One of `pieces` equal pieces of a dimension: that of this rank's coordinate on `axes`. Copies
  /// first when the region's offset depends on the rank already.
  plan::Operand piece(const plan::Operand &x, int dim, int64_t pieces, const plan::Axes &axes);
  /// Grows a dimension with zeros at its end.
  plan::Operand pad(const plan::Operand &x, int dim, int64_t size);

private:
  plan::Entry &entry;
  std::string location;
  std::vector<int32_t> weightBuffers; ///< By number of the weight; -1 for none.
};

} // namespace tenon
