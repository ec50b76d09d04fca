// SPDX-License-Identifier: Apache-2.0
// Detects what the processor can do, once per call: cpuid is cheap and there is no global to keep.
#include "Isa.h"

#include "rows/RowKernels.h"

namespace tenon::runtime::cpu {

const char *name(Isa isa) {
  switch (isa) {
  case Isa::Sse2:
    return "sse2";
  case Isa::Avx2:
    return "avx2";
  case Isa::Avx512:
    return "avx512";
  }
  return "?";
}

static Isa bestIsa() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return Isa::Sse2;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return Isa::Avx2;
  return Isa::Avx512;
}

Expected<Isa> chooseIsa(const std::string &requested) {
  Isa best = bestIsa();
  if (requested.empty())
    return best;
  for (Isa isa : {Isa::Sse2, Isa::Avx2, Isa::Avx512})
    if (requested == name(isa))
      return isa < best ? isa : best;
  return Status(Code::Usage, "--isa: unknown instruction set '" + requested +
                                 "', expected sse2, avx2 or avx512");
}

const RowKernels &rowKernels(Isa isa) {
  switch (isa) {
  case Isa::Avx512:
    return rowKernelsAvx512();
  case Isa::Avx2:
    return rowKernelsAvx2();
  case Isa::Sse2:
    break;
  }
  return rowKernelsSse2();
}

} // namespace tenon::runtime::cpu
