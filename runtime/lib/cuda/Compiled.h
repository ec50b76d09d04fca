// SPDX-License-Identifier: Apache-2.0
// Compiled: kernels made from source when they are prepared. Nvrtc.cpp compiles for the GPU at hand
// and keeps the result on disk by source, compiler version and compute capability; NoNvrtc.cpp, in
// builds without NVRTC, compiles nothing. What is not compiled can be interpreted, so a caller may
// go on without.
#pragma once

#include "Work.h"

#include <map>
#include <memory>
#include <string>

namespace tenon::runtime::cuda {

/// One kernel of one parameter, ready to launch.
class CompiledKernel {
public:
  virtual ~CompiledKernel() = default;
  /// `parameter` is copied.
  virtual cudaError_t launch(dim3 grid, dim3 block, const void *parameter,
                             cudaStream_t stream) const = 0;
};

/// The kernels of one device.
class CompiledKernels {
public:
  virtual ~CompiledKernels() = default;
  /// The kernel `tenonKernel` of a source that may include "ElementwiseKernel.h". Null without
  /// failure when this build cannot compile; fails with Code::Device and the compiler's words.
  virtual Expected<const CompiledKernel *> get(const std::string &source, Context &context) = 0;
};

std::shared_ptr<CompiledKernels> makeCompiledKernels();

} // namespace tenon::runtime::cuda
