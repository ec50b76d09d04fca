// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Watchdog.h"

#include "tenon/runtime/plan/Access.h"

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

namespace tenon::runtime {

struct Watchdog::State {
  std::vector<WatchedRank> ranks;
  double timeout = 0;
  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  std::thread thread;
};

// The handler cannot take arguments: the watchdog that lives now.
static std::atomic<const std::vector<WatchedRank> *> watched{nullptr};

/// Formats without allocating: the signal handler calls it.
static int format(const WatchedRank &rank, char *text, size_t size) {
  const int entry = rank.progress->entry, op = rank.progress->op;
  const auto step = static_cast<unsigned long long>(rank.progress->step.load());
  const auto sequence = static_cast<unsigned long long>(rank.progress->sequence.load());
  if (entry < 0 || !rank.entry)
    return std::snprintf(text, size, "rank %d: starting up\n", rank.rank);
  if (op < 0 || op >= static_cast<int>(rank.entry->ops.size()))
    return std::snprintf(text, size, "rank %d: entry %s, step %llu, between steps, collective %llu\n", rank.rank, rank.entry->name.c_str(), step,
                         sequence);
  return std::snprintf(text, size, "rank %d: entry %s, step %llu, op %d (%s at %s), collective %llu, %.1f s\n", rank.rank,
                       rank.entry->name.c_str(), step, op, plan::opName(rank.entry->ops[op]), rank.entry->ops[op].location.c_str(), sequence,
                       monotonicSeconds() - rank.progress->since);
}

std::string stateLine(const WatchedRank &rank) {
  char text[512];
  format(rank, text, sizeof text);
  std::string line(text);
  if (!line.empty() && line.back() == '\n')
    line.pop_back();
  return line;
}

static void writeLines(const std::vector<WatchedRank> &ranks) {
  char text[512];
  for (const WatchedRank &rank : ranks) {
    int length = format(rank, text, sizeof text);
    if (length > 0 && write(2, text, std::min<size_t>(static_cast<size_t>(length), sizeof text - 1)) < 0)
      return;
  }
}

Watchdog::Watchdog(std::vector<WatchedRank> ranks, double timeout) : state_(std::make_unique<State>()) {
  state_->ranks = std::move(ranks);
  state_->timeout = timeout;
  watched = &state_->ranks;
  State *state = state_.get();
  state_->thread = std::thread([state] {
    std::unique_lock<std::mutex> lock(state->mutex);
    while (!state->done) {
      state->wake.wait_for(lock, std::chrono::milliseconds(100));
      if (state->done)
        return;
      for (const WatchedRank &rank : state->ranks) {
        if (rank.progress->op < 0 || monotonicSeconds() - rank.progress->since < state->timeout)
          continue;
        std::fprintf(stderr, "tp-run: deadline of %.1f s passed\n", state->timeout);
        writeLines(state->ranks);
        _exit(static_cast<int>(Code::Deadline));
      }
    }
  });
}

Watchdog::~Watchdog() {
  watched = nullptr;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->done = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

static void onTermination(int signal) {
  if (const std::vector<WatchedRank> *ranks = watched)
    writeLines(*ranks);
  else
    (void)!write(2, "tp-run: ended while starting up\n", 32);
  _exit(128 + signal);
}

void installTerminationHandler() {
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = onTermination;
  sigaction(SIGTERM, &action, nullptr);
}

void dieWithParent() {
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(static_cast<int>(Code::Device));
}

} // namespace tenon::runtime
