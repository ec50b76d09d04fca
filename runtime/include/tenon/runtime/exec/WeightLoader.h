// SPDX-License-Identifier: Apache-2.0
// WeightLoader: fills a rank's weights: of every part's view its nested block, everything else
// zero. Each weight is staged in host memory by slices of whole rows and copied to the device once,
// so that a device may copy one slice while the next is read. Stored floats are
// converted when the plan holds another float type; any other difference is refused.
#pragma once

#include "tenon/runtime/exec/Checkpoint.h"
#include "tenon/runtime/exec/DeviceMemory.h"

#include <functional>
#include <optional>
#include <vector>

namespace tenon::runtime {

struct LoadOptions {
  /// Seed for keys that no file holds; without it they are an error.
  std::optional<uint64_t> randomSeed;
  /// Threads that make random values.
  int threads = 1;
  /// Most bytes of a weight that are staged at once, if it can be cut.
  int64_t sliceBytes = int64_t(32) << 20;
  /// Called after each piece with the bytes done so far and in all.
  std::function<void(int64_t done, int64_t all)> progress;
};

struct LoadedWeights {
  std::vector<DeviceMemory> memory; ///< One per plan::Weight.
  int64_t plannedBytes = 0;         ///< As the plan says.
  int64_t heldBytes = 0;            ///< As allocated; equal to planned, or the load fails.
  int64_t copiedBytes = 0;          ///< Written from files (or random numbers), in the held type.
  int64_t paddingBytes = 0;         ///< Held and belonging to no element of this rank.
  int64_t randomWeights = 0;
};

/// Loads all weights for these mesh coordinates. Needs a plan that `verify` accepted. Every key is
/// checked (there, shape, dtype) before the first byte is copied. Fails with Code::Plan, naming key
/// and file, or Code::Memory.
Expected<LoadedWeights> loadWeights(const plan::Plan &plan, const std::vector<int64_t> &coordinates,
                                    const Checkpoint &checkpoint, Device &device,
                                    const LoadOptions &options);

/// Bytes of all weights of one rank.
int64_t plannedWeightBytes(const plan::Plan &plan);

} // namespace tenon::runtime
