// SPDX-License-Identifier: Apache-2.0
// MatMulLayout: a matmul as a matrix library sees it. Dimensions are sorted by their labels into
// batch, rows, columns and contracted; each group is merged where the strides allow; the largest
// loop of each is for the library, what is left for loops around it. It decides nothing about
// types, epilogues or memory.
//
// Example: a [s,k] x b [k,g,d] -> c [s,g,d], all row-major with b stored as [g,d,k]: rows s,
// columns g and d merged (64 * 384 and 384 in b, 64 and 1 in c), contracted k.
#pragma once

#include "Region.h"

#include <string>
#include <vector>

namespace tenon::runtime {

struct MatMulLayout {
  enum Slot { A, B, C, Bias, Residual, kSlots };
  enum Group { Batch, Rows, Columns, Contracted, kGroups };

  /// `regions` by slot, without data where absent. Fails with Code::Plan when labels and sizes do
  /// not fit together.
  static Expected<MatMulLayout> make(const plan::MatMul &op, std::vector<Region> regions);

  std::vector<Region> regions;
  std::string labels[3];
  /// The library computes the transposed result: its columns have no step of 1 in c, its rows have.
  bool swapped = false;
  /// Main loops, one dimension each, with the strides of all slots; size 1 where a group is empty.
  LoopNest batch, rows, columns, sum;
  /// What is left: kept and contracted dimensions.
  LoopNest loops, sums;

  /// The operand that holds the rows and the one that holds the columns, as the library sees them.
  Slot left() const { return swapped ? B : A; }
  Slot right() const { return swapped ? A : B; }

  /// Whether a library takes operand A or B as it is: one step is 1 and the lines do not overlap.
  bool isPlain(Slot slot) const;
  /// The layout of a dense copy of A or B, without data: batch, then kept, then contracted
  /// dimensions.
  Region denseOf(Slot slot) const;
  /// Puts another region in the place of an operand and arranges the loops anew.
  void replace(Slot slot, Region region);

private:
  Status checkLabels() const;
  int64_t stride(Slot slot, char label) const;
  int64_t size(char label) const;
  Group groupOf(char label) const;
  void arrange();
  void sortIntoGroups(LoopNest (&groups)[kGroups]) const;
};

} // namespace tenon::runtime
