// SPDX-License-Identifier: Apache-2.0
// The CUDA device over the emulation, for the conformance suite: streams in turn, and each starved.
#include "../device/Conformance.h"
#include "tenon/runtime/CudaDevice.h"

#include <cstdlib>

extern "C" tenon::runtime::Cuda *tenonMakeCuda();

namespace tenon::runtime::conformance {

std::vector<DeviceKind> deviceKinds() {
  DeviceKind kind;
  kind.name = "cuda_emulated";
  kind.bf16MatMul = true;
  kind.onCallingThread = false;
  kind.make = [](StreamPolicy policy) -> Expected<std::unique_ptr<Device>> {
    // Read when a thread's streams are made.
    if (policy == StreamPolicy::Inline)
      unsetenv("TENON_EMULATION_STARVE");
    else
      setenv("TENON_EMULATION_STARVE", policy == StreamPolicy::Starve0 ? "0" : "1", 1);
    static std::unique_ptr<Cuda> library(tenonMakeCuda());
    return library->makeDevice(CudaOptions());
  };
  return {kind};
}

} // namespace tenon::runtime::conformance
