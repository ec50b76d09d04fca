// SPDX-License-Identifier: Apache-2.0
// NoCpuDevice: stands in for the CPU device in builds without oneDNN, as on a GPU machine.
#include "tenon/runtime/Device.h"

namespace tenon::runtime {

Expected<std::unique_ptr<Device>> makeCpuDevice(const CpuOptions &) {
  return Status(Code::Plan,
                "--device=cpu: this build has no CPU device: it was made without oneDNN");
}

std::string cpuIsa(const CpuOptions &options) { return options.isa.empty() ? "none" : options.isa; }

} // namespace tenon::runtime
