// SPDX-License-Identifier: Apache-2.0
// CudaRanges: names for stretches of host time that profilers show above the kernels.
#pragma once

#include <nvtx3/nvToolsExt.h>

namespace tenon::runtime::cuda {

/// Named from here to the end of its scope.
class Range {
public:
  explicit Range(const char *name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
  Range(const Range &) = delete;
};

} // namespace tenon::runtime::cuda
