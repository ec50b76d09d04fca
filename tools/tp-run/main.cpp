// SPDX-License-Identifier: Apache-2.0
// tp-run: runs a plan on the ranks of an MPI world, or on threads of this process. Only here does a
// status become an exit code.
#include "Calibrate.h"
#include "Session.h"

#include "tenon/runtime/exec/Agreement.h"
#include "tenon/runtime/exec/Watchdog.h"

#include <csignal>
#include <cstdio>
#include <optional>
#include <unistd.h>
#include <vector>

using namespace tenon;
using namespace tenon::tprun;

namespace {

constexpr int64_t kMostThreadRanks = 256;
// Long against printing a line, short against the wait for a rank that will never print.
constexpr useconds_t kMessageMicroseconds = 500000;

std::string hostName() {
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  return name;
}

/// Prints the message, if it is this rank's to print, in one piece.
int report(const Status &status) {
  if (!status && status.message() != runtime::peerFailed) {
    std::string line = "tp-run: " + status.message() + "\n";
    std::fputs(line.c_str(), stderr);
  }
  return int(status.code());
}

/// What a rank is here for.
Status work(const RankContext &context, bool &agreed) {
  return context.options.calibrate.empty() ? runRank(context, agreed) : calibrate(context, agreed);
}

int runLocal(const Options &options) {
  Expected<int64_t> ranks =
      options.calibrate.empty() ? ranksOfPlan(options.plan) : Expected<int64_t>(options.ranks);
  if (!ranks)
    return report(ranks.status());
  if (*ranks > kMostThreadRanks)
    return report(Status(Code::Usage, "--local-ranks: at most " + std::to_string(kMostThreadRanks) +
                                          " ranks can be threads, the plan is for " +
                                          std::to_string(*ranks)));
  std::vector<runtime::RunState> states(static_cast<size_t>(*ranks));
  runtime::installSignalHandlers(states);
  runtime::Watchdog watchdog(states, options.timeout, options.startTimeout);
  const std::string host = hostName();
  const int code = report(runtime::runThreadRanks(int(*ranks), [&](runtime::Communicator &world) {
    bool agreed = true;
    return work({options, world, states[size_t(world.rank())], host, true}, agreed);
  }));
  if (code != 0 && options.device == "cuda") {
    std::fflush(nullptr);
    _exit(code); // CUDA would wait for collectives that nobody joins any more.
  }
  return code;
}

Status checkLaunch(const Options &options, const runtime::Communicator &world) {
  if (!options.localRanks || world.size() == 1)
    return Status();
  return Status(Code::Usage, "--local-ranks: expected one process, found " +
                                 std::to_string(world.size()) + "; start tp-run without mpirun");
}

int runMpi(const Expected<Parsed> &parsed, int argc, char **argv) {
  // A launcher's ranks die with it; a shell may go.
  if (runtime::launcherRanks() > 0)
    runtime::dieWithParent();
  const Options defaults;
  const Options &options = parsed ? parsed->options : defaults;
  std::vector<runtime::RunState> states(1);
  states[0].enterPhase("MPI");
  std::optional<runtime::Watchdog> watchdog(std::in_place, states, options.timeout,
                                            options.startTimeout);
  runtime::MpiOptions mpi;
  mpi.sharedMemory = !parsed || !parsed->options.messages;
  Expected<std::unique_ptr<runtime::Communicator>> world =
      runtime::makeMpiCommunicator(&argc, &argv, mpi);
  if (!world)
    return report(world.status());
  states[0].rank = (*world)->rank();
  states[0].enterPhase("start");
  runtime::installSignalHandlers(states);
  bool agreed = true;
  Status status;
  // Arguments are the first phase on which the ranks agree, so that an error is told once.
  status = runtime::agree(**world, parsed ? checkLaunch(options, **world) : parsed.status());
  if (status && options.verifyOnly)
    status = runtime::agree(**world, (*world)->rank() == 0 ? verifyPlan(options) : Status());
  else if (status)
    status = work({options, **world, states[0], hostName(), false}, agreed);
  states[0].quiet = true;
  watchdog.reset();
  int code = report(status);
  if (!agreed && code != 0) {
    std::fflush(nullptr);
    // The launcher ends the others with the first that leaves: the one that has a message goes
    // first.
    if (status.message() == runtime::peerFailed)
      usleep(kMessageMicroseconds);
    _exit(code); // Finalising would wait for ranks that wait for this one.
  }
  return code;
}

} // namespace

int main(int argc, char **argv) {
  // A closed pipe and a full disk are errors of the call that meets them.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  Expected<Parsed> parsed = parseOptions(argc, argv);
  if (parsed && parsed->text) {
    if (std::fputs(parsed->text->c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      return report(Status(Code::Device, "stdout: cannot write"));
    return 0;
  }
  // Several processes agree on what they say; one says it.
  const int launched = runtime::launcherRanks();
  if (!parsed && launched == 0)
    return report(parsed.status());
  if (parsed && launched <= 1) {
    if (parsed->options.verifyOnly)
      return report(verifyPlan(parsed->options));
    if (parsed->options.localRanks)
      return runLocal(parsed->options);
  }
  return runMpi(parsed, argc, argv);
}
