// SPDX-License-Identifier: Apache-2.0
// RunState: where a rank is, for the watchdog and for signal handlers. Plain atomics that the rank
// writes and others read at any time; texts are pointers to strings that live as long as the
// process (literals) or as the plan.
#pragma once

#include <atomic>
#include <cstdint>

namespace tenon::runtime {

struct RunState {
  std::atomic<int> rank{-1};
  /// Start-up or closing phase: "plan", "weights", ...; null while steps run.
  std::atomic<const char *> phase{"start"};
  std::atomic<const char *> entry{""};
  std::atomic<int64_t> step{0};
  std::atomic<int> op{-1};
  std::atomic<const char *> opName{""};
  std::atomic<const char *> location{""};
  /// Number of the last collective that was begun.
  std::atomic<uint64_t> sequence{0};
  /// When it came to where it is: nanoseconds of the monotonic clock.
  std::atomic<int64_t> since{0};
  /// Nothing to report any more: done, or the failure has been printed.
  std::atomic<bool> quiet{false};

  void enterPhase(const char *name);
  void enterOp(int index, const char *name, const char *where);
  /// Something moved: the deadline starts again.
  void touch();
};

/// Monotonic nanoseconds; safe in signal handlers.
int64_t monotonicNanoseconds();

} // namespace tenon::runtime
