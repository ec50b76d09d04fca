// SPDX-License-Identifier: Apache-2.0
// The CPU devices that the conformance suite runs on: every instruction set of this machine.
#include "../device/Conformance.h"

#include <cstdlib>

namespace tenon::runtime::conformance {

std::vector<DeviceKind> deviceKinds() {
  // The best level first: oneDNN keeps the limit of the first device of the process.
  std::vector<DeviceKind> kinds;
  for (std::string isa : {"avx512", "avx2", "sse2"}) {
    CpuOptions options;
    options.isa = isa;
    if (cpuIsa(options) != isa)
      continue;
    DeviceKind kind;
    kind.name = "cpu_" + isa;
    // A limit on oneDNN from outside takes the instructions away as a lesser processor does.
    kind.bf16MatMul =
        isa == "avx512" && __builtin_cpu_supports("avx512bf16") && !std::getenv("DNNL_MAX_CPU_ISA");
    kind.make = [options](StreamPolicy policy) {
      CpuOptions chosen = options;
      chosen.policy = policy;
      return makeCpuDevice(chosen);
    };
    kinds.push_back(kind);
    if (kinds.size() == 1) {
      kind.name += "_2threads";
      kind.make = [options](StreamPolicy policy) {
        CpuOptions chosen = options;
        chosen.policy = policy;
        chosen.threads = 2;
        return makeCpuDevice(chosen);
      };
      kinds.push_back(kind);
    }
  }
  return kinds;
}

} // namespace tenon::runtime::conformance
