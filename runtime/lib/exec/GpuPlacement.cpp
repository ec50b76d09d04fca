// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/GpuPlacement.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <sstream>

namespace tenon::runtime {
namespace {

/// The ranks of one host in the order in which they choose.
std::vector<size_t> orderOf(const std::vector<RankGpus> &ranks, std::vector<size_t> here) {
  std::set<int> locals;
  for (size_t rank : here)
    locals.insert(ranks[rank].localRank);
  if (locals.size() == here.size() && *locals.begin() >= 0)
    std::sort(here.begin(), here.end(),
              [&](size_t a, size_t b) { return ranks[a].localRank < ranks[b].localRank; });
  return here;
}

Status tooFew(const std::string &host, size_t gpus, size_t ranks) {
  return Status(Code::Usage, "--device=cuda: host " + host + " has " + std::to_string(gpus) +
                                 (gpus == 1 ? " GPU for " : " GPUs for ") + std::to_string(ranks) +
                                 " ranks; start at most " + std::to_string(gpus) +
                                 " there, or let them share with --oversubscribe-gpu, for tests");
}

/// Places of the ranks of one host.
Status assignHost(const std::vector<RankGpus> &ranks, const std::vector<size_t> &here,
                  bool oversubscribe, std::vector<int> &places) {
  std::set<std::string> all;
  bool alike = true;
  for (size_t rank : here) {
    all.insert(ranks[rank].uuids.begin(), ranks[rank].uuids.end());
    alike = alike && ranks[rank].uuids == ranks[here[0]].uuids;
  }
  if (all.empty() || (all.size() < here.size() && !oversubscribe))
    return tooFew(ranks[here[0]].host, all.size(), here.size());
  std::map<std::string, int> taken;
  size_t turn = 0;
  for (size_t rank : here) {
    const std::vector<std::string> &sees = ranks[rank].uuids;
    if (sees.empty())
      return tooFew(ranks[rank].host, 0, here.size());
    size_t place = turn++ % sees.size();
    // The least taken of its list, the first of these.
    if (!alike)
      place = size_t(std::min_element(sees.begin(), sees.end(),
                                      [&](const std::string &a, const std::string &b) {
                                        return taken[a] < taken[b];
                                      }) -
                     sees.begin());
    if (++taken[sees[place]] > 1 && !oversubscribe)
      return tooFew(ranks[rank].host, all.size(), here.size());
    places[rank] = int(place);
  }
  return Status();
}

} // namespace

std::string pack(const RankGpus &rank) {
  std::string text = rank.host + "\n" + std::to_string(rank.localRank) + "\n";
  for (const std::string &uuid : rank.uuids)
    text += uuid + "\n";
  return text;
}

RankGpus unpack(const std::string &text) {
  RankGpus rank;
  std::istringstream in(text);
  std::string line;
  std::getline(in, rank.host);
  if (std::getline(in, line))
    rank.localRank = std::atoi(line.c_str());
  while (std::getline(in, line))
    rank.uuids.push_back(line);
  return rank;
}

Expected<std::vector<int>> assignGpus(const std::vector<RankGpus> &ranks, bool oversubscribe) {
  std::vector<int> places(ranks.size(), 0);
  std::map<std::string, std::vector<size_t>> hosts;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    hosts[ranks[rank].host].push_back(rank);
  for (const auto &[host, here] : hosts)
    if (Status status = assignHost(ranks, orderOf(ranks, here), oversubscribe, places); !status)
      return status;
  return places;
}

int launcherLocalRank() {
  for (const char *name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
                           "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID", "LOCAL_RANK"}) {
    const char *text = std::getenv(name);
    if (!text)
      continue;
    int value = -1;
    const char *last = text + std::strlen(text);
    auto [end, error] = std::from_chars(text, last, value);
    if (error == std::errc() && end == last && value >= 0)
      return value;
  }
  return -1;
}

} // namespace tenon::runtime
