// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/RunState.h"

#include <ctime>

namespace tenon::runtime {

int64_t monotonicNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t(now.tv_sec) * 1000000000 + now.tv_nsec;
}

void RunState::touch() { since.store(monotonicNanoseconds(), std::memory_order_relaxed); }

void RunState::enterPhase(const char *name) {
  touch();
  phase.store(name, std::memory_order_release);
}

void RunState::enterOp(int index, const char *name, const char *where) {
  opName.store(name, std::memory_order_relaxed);
  location.store(where, std::memory_order_relaxed);
  op.store(index, std::memory_order_relaxed);
  touch();
  phase.store(nullptr, std::memory_order_release);
}

} // namespace tenon::runtime
