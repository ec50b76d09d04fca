// SPDX-License-Identifier: Apache-2.0
// CudaPlatform: the few things that a kernel of this library takes from CUDA beyond the language:
// launching, dynamic shared memory, half floats. The tests put a header of the same name before
// this one, which runs the same kernels on the host (runtime/test/cuda/emulation). NVRTC reads it
// too.
#pragma once

#ifndef __CUDACC_RTC__
#include <cuda_runtime.h>
#include <tuple>
#include <utility>
#endif

namespace tenon::runtime::cuda {

/// The block's dynamic shared memory, as many bytes as the launch asked for, aligned to 16.
template <typename T> __device__ inline T *sharedMemory() {
  extern __shared__ __align__(16) unsigned char tenonSharedMemory[];
  return reinterpret_cast<T *>(tenonSharedMemory);
}

/// Exact.
__device__ inline float halfToFloat(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

/// Rounds to the nearest, ties to even.
__device__ inline unsigned short floatToHalf(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

#ifndef __CUDACC_RTC__
/// Enqueues a kernel. Kernels are launched nowhere else, and never with <<<>>>.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes,
                   cudaStream_t stream, Arguments &&...arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return std::apply(
      [&](auto &...value) {
        void *pointers[] = {static_cast<void *>(&value)...};
        return cudaLaunchKernel(reinterpret_cast<const void *>(kernel), grid, block, pointers,
                                sharedBytes, stream);
      },
      values);
}

/// Lets a kernel take up to `bytes` of dynamic shared memory: more than 48 KiB need it.
template <typename... Parameters>
cudaError_t allowSharedMemory(void (*kernel)(Parameters...), size_t bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                              cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}
#endif

} // namespace tenon::runtime::cuda
