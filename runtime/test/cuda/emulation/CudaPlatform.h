// SPDX-License-Identifier: Apache-2.0
// CudaPlatform: what runtime/lib/cuda/platform/CudaPlatform.h gives kernels, on the host. A launch
// copies the arguments and puts a call for every thread on the stream; nothing runs before the
// stream is queried or synchronized.
#pragma once

// Headers that kernels and host code share hold their device code for a CUDA compiler or for this.
#ifndef TENON_CUDA_EMULATED
#define TENON_CUDA_EMULATED 1
#endif

#include "tenon/runtime/comm/HalfFloat.h"

#include <cuda_runtime.h>
#include <functional>
#include <tuple>
#include <utility>

namespace tenon::emulation {

/// Puts a launch on a stream; `thread` is called once per thread of each block.
cudaError_t launchGrid(const void *kernel, dim3 grid, dim3 block, size_t sharedBytes,
                       cudaStream_t stream, std::function<void()> thread);

} // namespace tenon::emulation

namespace tenon::runtime::cuda {

/// The block's dynamic shared memory, as many bytes as the launch asked for, aligned to 16.
template <typename T> T *sharedMemory() {
  return reinterpret_cast<T *>(tenon::emulation::dynamicShared);
}

/// Exact.
inline float halfToFloat(unsigned short bits) { return tenon::runtime::f16ToF32(bits); }

/// Rounds to the nearest, ties to even.
inline unsigned short floatToHalf(float value) { return tenon::runtime::f32ToF16(value); }

/// Enqueues a kernel.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes,
                   cudaStream_t stream, Arguments &&...arguments) {
  static_assert((size_t(0) + ... + sizeof(Parameters)) <= 32764, "too many bytes of parameters");
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return tenon::emulation::launchGrid(
      reinterpret_cast<const void *>(kernel), grid, block, sharedBytes, stream,
      [kernel, values = std::move(values)] { std::apply(kernel, values); });
}

/// Lets a kernel take up to `bytes` of dynamic shared memory: more than 48 KiB need it.
template <typename... Parameters>
cudaError_t allowSharedMemory(void (*kernel)(Parameters...), size_t bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                              cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}

} // namespace tenon::runtime::cuda
