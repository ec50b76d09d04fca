// SPDX-License-Identifier: Apache-2.0
// OutputAssembly: puts the ranks' blocks of an output together. Blocks nest, so each rank's piece
// goes to its own start with its own length and the padding behind it is cut; where ranks hold
// copies (axes that the output is not cut over) those at coordinate 0 speak.
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/exec/HostArray.h"

namespace tenon::runtime {

/// Collective over the mesh when the output is cut; returns the global value on every rank. `mine`
/// is this rank's block, padded.
Expected<HostArray> assembleOutput(const plan::Plan &plan, const plan::IO &output,
                                   const HostArray &mine, Communicator &mesh);

/// The local part: blocks of all ranks, one after the other.
HostArray joinBlocks(const plan::Plan &plan, const plan::IO &output, const std::byte *blocks);

/// Bytes that assembleOutput moves per rank.
int64_t assemblyBytes(const plan::Plan &plan, const plan::IO &output);

/// Block shape of an output on every rank.
std::vector<int64_t> blockShape(const plan::Plan &plan, const plan::IO &output);

/// How two global values differ: |a - b| > atol + rtol * |b| somewhere, NaN equals NaN only.
struct Comparison {
  bool equal = true;
  double maxError = 0;
  std::vector<int64_t> index; ///< Of the largest excess over the tolerance, or the largest error.
  double found = 0, expected = 0;
};
Comparison compareValues(const HostArray &found, const HostArray &expected, double rtol,
                         double atol);

} // namespace tenon::runtime
