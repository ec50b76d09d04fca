// SPDX-License-Identifier: Apache-2.0
#include "DeviceChoice.h"

#include "tenon/runtime/exec/GpuPlacement.h"
#include "tenon/runtime/exec/MemoryCheck.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <thread>

namespace tenon::tprun {
namespace {

int usableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0)
    return int(std::max(1u, std::thread::hardware_concurrency()));
  return std::max(1, CPU_COUNT(&set));
}

/// Where choices and compiled expressions are kept: $TENON_CACHE_DIR, else a folder of the user's.
std::string cacheFolder() {
  if (const char *folder = std::getenv("TENON_CACHE_DIR"))
    return folder;
  if (const char *folder = std::getenv("XDG_CACHE_HOME"); folder && *folder)
    return std::string(folder) + "/tenon";
  if (const char *home = std::getenv("HOME"); home && *home)
    return std::string(home) + "/.cache/tenon";
  return "";
}

} // namespace

Status DeviceChoice::open() {
  if (!cuda())
    return Status();
  Expected<std::unique_ptr<runtime::Cuda>> library = runtime::openCuda(
      faults_.has("device", "emulated") ? "libTenonCudaEmulated.so" : "libTenonCuda.so");
  if (!library)
    return library.status();
  library_ = std::move(*library);
  Expected<std::vector<runtime::Gpu>> gpus = library_->gpus();
  if (!gpus)
    return gpus.status();
  gpus_ = std::move(*gpus);
  return Status();
}

Status DeviceChoice::place(runtime::Communicator &world, const std::string &host, int ranksHere) {
  const int cores = usableCores();
  cpu_.threads = options_.threads ? options_.threads : std::max(1, cores / ranksHere);
  cpu_.isa = options_.isa;
  if (faults_.has("capture", "starve0"))
    cpu_.policy = runtime::StreamPolicy::Starve0;
  if (faults_.has("capture", "starve1"))
    cpu_.policy = runtime::StreamPolicy::Starve1;
  sharers_ = ranksHere;
  if (cuda())
    return placeOnGpu(world, host);
  if (world.rank() == 0 && !options_.quiet && !local_ && !options_.threads && cores == 1 &&
      ranksHere < int(std::thread::hardware_concurrency()))
    std::fprintf(stderr,
                 "tp-run: each rank is bound to one core; mpirun --bind-to none lifts that\n");
  return Status();
}

Status DeviceChoice::placeOnGpu(runtime::Communicator &world, const std::string &host) {
  runtime::RankGpus mine;
  mine.host = host;
  // Threads of one process have one environment.
  mine.localRank = local_ || options_.loneRank ? -1 : runtime::launcherLocalRank();
  for (const runtime::Gpu &gpu : gpus_)
    mine.uuids.push_back(gpu.uuid);
  Expected<std::vector<std::string>> texts = world.gatherStrings(runtime::pack(mine));
  if (!texts)
    return texts.status();
  std::vector<runtime::RankGpus> all;
  // A lone rank is alone on its host.
  for (const std::string &text : *texts)
    if (!options_.loneRank || all.empty())
      all.push_back(runtime::unpack(text));
  Expected<std::vector<int>> places = runtime::assignGpus(all, options_.oversubscribeGpu);
  const size_t me = options_.loneRank ? 0 : size_t(world.rank());
  if (!places)
    return me == 0 ? places.status() : Status(places.status().code(), runtime::peerFailed);
  gpu_.gpu = (*places)[me];
  const std::string &uuid = mine.uuids[size_t(gpu_.gpu)];
  sharers_ = 0;
  bool anyShared = false;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const std::string &other = all[rank].uuids[size_t((*places)[rank])];
    sharers_ += all[rank].host == host && other == uuid;
    for (size_t before = 0; before < rank; ++before)
      anyShared |= all[before].host == all[rank].host &&
                   all[before].uuids[size_t((*places)[before])] == other;
  }
  gpu_.oversubscribed = anyShared;
  if (anyShared && local_)
    return Status(Code::Usage, "--oversubscribe-gpu: ranks that share a GPU must be processes; "
                               "start them with mpirun instead of --local-ranks");
  if (anyShared && world.rank() == 0)
    std::fprintf(stderr, "tp-run: --oversubscribe-gpu: RANKS SHARE A GPU. Collectives go over "
                         "loopback sockets; times mean nothing; for tests only\n");
  gpu_.tf32 = options_.tf32;
  gpu_.reduceF32 = options_.reduceF32;
  gpu_.lone = options_.loneRank.has_value();
  // What NCCL is given it does not compare.
  gpu_.collectives = options_.checkCollectives        ? runtime::GpuCollectives::Host
                     : options_.collectives == "nccl" ? runtime::GpuCollectives::Nccl
                     : options_.collectives == "host" ? runtime::GpuCollectives::Host
                                                      : runtime::GpuCollectives::Auto;
  gpu_.cacheFolder = cacheFolder();
  return Status();
}

bool DeviceChoice::graph() const {
  const int64_t steps = options_.warmup + options_.iterations;
  return options_.graph.value_or(cuda() && steps > 1 && options_.dumpValues.empty() &&
                                 !options_.checkFinite);
}

runtime::HandshakeFields DeviceChoice::fields() const {
  runtime::HandshakeFields fields = {
      {"device", options_.device},
      {"isa", faults_.has("handshake", "isa") ? "another" : runtime::cpuIsa(cpu_)},
      {"threads", std::to_string(cpu_.threads)},
      {"graph", faults_.has("handshake", "graph") ? "another"
                : graph()                         ? "on"
                                                  : "off"}};
  if (!cuda())
    return fields;
  const runtime::Gpu &gpu = gpus_[size_t(gpu_.gpu)];
  fields.insert(fields.end(), {{"gpu", gpu.name + " " + std::to_string(gpu.major) + "." +
                                           std::to_string(gpu.minor)},
                               {"tf32", options_.tf32 ? "on" : "off"},
                               {"reduce-dtype", options_.reduceF32 ? "f32" : "own"},
                               {"collectives", options_.collectives},
                               {"oversubscribe-gpu", gpu_.oversubscribed ? "on" : "off"}});
  for (auto &field : library_->versions())
    fields.push_back(std::move(field));
  return fields;
}

Expected<int64_t> DeviceChoice::availableMemory() const {
  return cuda() ? library_->freeBytes(gpu_.gpu) : Expected<int64_t>(runtime::availableMemory());
}

Expected<std::unique_ptr<runtime::Device>> DeviceChoice::make() const {
  Expected<std::unique_ptr<runtime::Device>> device =
      cuda() ? library_->makeDevice(gpu_) : runtime::makeCpuDevice(cpu_);
  if (!device)
    return device.status();
  return faults_.wrap(std::move(*device));
}

} // namespace tenon::tprun
