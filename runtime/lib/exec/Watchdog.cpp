// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Watchdog.h"

#include "tenon/runtime/AtomicFile.h"
#include "tenon/runtime/Status.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

namespace tenon::runtime {
namespace {

/// A line in a fixed buffer, built without anything that a signal handler may not call.
class Line {
public:
  Line &operator<<(const char *text) {
    for (; text && *text && used_ < sizeof(text_) - 1; ++text)
      text_[used_++] = *text;
    return *this;
  }
  Line &operator<<(int64_t value) {
    char digits[24];
    size_t count = 0;
    uint64_t rest = value < 0 ? 0 - uint64_t(value) : uint64_t(value);
    do
      digits[count++] = char('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
      digits[count++] = '-';
    while (count && used_ < sizeof(text_) - 1)
      text_[used_++] = digits[--count];
    return *this;
  }
  void print() {
    text_[used_] = '\n';
    ssize_t written = ::write(STDERR_FILENO, text_, used_ + 1);
    (void)written;
  }

private:
  char text_[512];
  size_t used_ = 0;
};

void describeState(const RunState &state, Line &line) {
  int64_t tenths = (monotonicNanoseconds() - state.since.load()) / 100000000;
  const char *phase = state.phase.load(std::memory_order_acquire);
  if (phase) {
    line << "in phase " << phase;
  } else {
    line << "in " << state.entry.load() << ", step " << state.step.load() << ", op "
         << int64_t(state.op.load()) << " " << state.opName.load();
    const char *location = state.location.load();
    if (location && *location)
      line << " at " << location;
    line << ", collective " << int64_t(state.sequence.load());
  }
  line << ", for " << tenths / 10 << "." << tenths % 10 << " s";
}

// Threads that are about to print a line they have claimed.
std::atomic<int> printing{0};

void printStates(std::span<RunState> states, const char *why) {
  printing.fetch_add(1);
  for (RunState &state : states) {
    if (state.quiet.exchange(true))
      continue;
    Line line;
    line << "tp-run: rank " << int64_t(state.rank.load()) << ": " << why << ": ";
    describeState(state, line);
    line.print();
  }
  printing.fetch_sub(1);
}

// Handlers have no other way to their data.
std::span<RunState> handlerStates;

void onTermination(int signal) {
  printStates(handlerStates, signal == SIGINT ? "SIGINT" : "SIGTERM");
  // The watchdog may be at it: its line goes out first, but not at any price.
  for (int turn = 0; turn < 200 && printing.load() > 0; ++turn) {
    timespec nap{0, 1000000};
    nanosleep(&nap, nullptr);
  }
  removeTemporaryFile();
  _exit(128 + signal);
}

void onCrash(int signal) {
  const char *name = signal == SIGSEGV  ? "SIGSEGV"
                     : signal == SIGBUS ? "SIGBUS"
                     : signal == SIGFPE ? "SIGFPE"
                     : signal == SIGILL ? "SIGILL"
                                        : "SIGABRT";
  printStates(handlerStates, name);
  removeTemporaryFile();
  std::signal(signal, SIG_DFL);
  raise(signal);
}

} // namespace

struct Watchdog::Impl {
  std::span<RunState> states;
  double opSeconds, phaseSeconds;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::thread thread;

  void watch() {
    // Often enough to be on time to a tenth of the deadline, rarely enough not to be noticed.
    auto interval = std::chrono::duration<double>(
        std::clamp(std::min(opSeconds, phaseSeconds) / 10, 0.01, 0.5));
    std::unique_lock<std::mutex> lock(mutex);
    while (!changed.wait_for(lock, interval, [this] { return stopping; })) {
      int64_t now = monotonicNanoseconds();
      for (RunState &state : states) {
        double limit = state.phase.load(std::memory_order_acquire) ? phaseSeconds : opSeconds;
        if (state.quiet.load() || double(now - state.since.load()) * 1e-9 < limit)
          continue;
        printStates(states, "deadline passed");
        removeTemporaryFile();
        _exit(int(Code::Deadline));
      }
    }
  }
};

Watchdog::Watchdog(std::span<RunState> states, double opSeconds, double phaseSeconds)
    : impl_(std::make_unique<Impl>()) {
  impl_->states = states;
  impl_->opSeconds = opSeconds;
  impl_->phaseSeconds = phaseSeconds;
  for (RunState &state : states)
    state.touch();
  // Signals belong to the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  impl_->thread = std::thread([this] { impl_->watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

void installSignalHandlers(std::span<RunState> states) {
  handlerStates = states;
  struct sigaction action{};
  sigfillset(&action.sa_mask);
  action.sa_handler = onTermination;
  for (int signal : {SIGTERM, SIGINT})
    sigaction(signal, &action, nullptr);
  action.sa_handler = onCrash;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void dieWithParent() {
  pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have gone between the two calls.
  if (getppid() != parent)
    _exit(int(Code::Device));
}

} // namespace tenon::runtime
