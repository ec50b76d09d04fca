// SPDX-License-Identifier: Apache-2.0
// tp-run: runs a plan on the ranks of an MPI world, or on threads of this process. Only here does a status become
// an exit code.
#include "Run.h"

#include "tenon/runtime/exec/Watchdog.h"
#include "tenon/runtime/plan/PlanReader.h"

#include <csignal>
#include <cstdio>

using namespace tenon;

static int finish(const Status &status, bool speak) {
  if (!status.ok() && speak && status.message() != runtime::peerFailed)
    std::fprintf(stderr, "tp-run: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

int main(int argc, char **argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::string help;
  Expected<tools::Options> options = tools::parseOptions(argc, argv, help);
  if (options && !help.empty()) {
    std::fputs(help.c_str(), stdout);
    return 0;
  }
  if (options && options->localRanks) {
    // The thread count comes from the plan; its errors are told by the ranks themselves.
    Expected<plan::Plan> plan = plan::readFile(options->plan);
    const int ranks = plan && !options->verify ? static_cast<int>(plan::worldSize(*plan)) : 1;
    if (ranks > 256)
      return finish(Status(Code::Usage, "at most 256 ranks can be threads, the plan is for " + std::to_string(ranks)), true);
    Status status = runtime::runThreadRanks(ranks, [&](runtime::Communicator &world) { return tools::runRank(world, *options); });
    return finish(status, true);
  }
  if ((options && options->verify) || (!options && runtime::launcherRanks() == 0)) {
    if (!options)
      return finish(options.status(), true);
    std::unique_ptr<runtime::Communicator> self = runtime::makeSelfCommunicator();
    return finish(tools::runRank(*self, *options), true);
  }
  runtime::dieWithParent();
  runtime::installTerminationHandler();
  Expected<std::unique_ptr<runtime::Communicator>> world = runtime::makeMpiCommunicator(&argc, &argv);
  if (!world)
    return finish(world.status(), true);
  // Arguments are the first phase on which the ranks agree, so that an error is told once.
  Status status = tools::agree(**world, options ? Status() : options.status());
  if (status.ok())
    status = tools::runRank(**world, *options);
  if (!status.ok())
    (*world)->cancel(status.code());
  return finish(status, true);
}
