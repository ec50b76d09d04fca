// SPDX-License-Identifier: Apache-2.0
#include "tenon/Cost/Nccl.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tenon::cost {

namespace {

// Microseconds and GB/s, as the source has them. Protocols: LL, LL128, Simple.
constexpr int kProtocols = 3;
constexpr int kLL = 0, kLL128 = 1, kSimple = 2;
constexpr double kTreeBase[] = {6.8, 14.0, 8.4}, kRingBase[] = {6.6, 14.0, 8.4};
enum Hardware { NvLink, Pci, Net };
constexpr double kTreeHop[][3] = {{0.6, 1.25, 4.0}, {1.0, 1.9, 4.0}, {5.0, 8.5, 14.0}};
constexpr double kRingHop[][3] = {{0.6, 1.9, 3.4}, {1.0, 2.5, 5.7}, {2.7, 4.0, 14.0}};
constexpr double kNvlsLatency = 25;
constexpr double kNetOverhead = 1;
// By generation, then by nodes: 1, 2, more.
constexpr double kMostLL[][3] = {{87.7, 22.5, 19.0}, {141.0, 45.0, 35.0}, {282.0, 90.0, 70.0}};
constexpr double kMostRingLL128[][3] = {{20.0, 20.0, 20.0}, {36.7, 36.7, 36.7}, {40.0, 40.0, 40.0}};
constexpr double kMostTreeLL128[][3] = {
    {20.0, 20.0, 20.0}, {36.7, 36.7, 29.0}, {55.6, 31.67, 20.0}};
constexpr double kMostTree[][3] = {{24.0, 23.6, 17.8}, {38.7, 41.4, 36.0}, {70.0, 42.8, 24.0}};
// Of trees, by protocol and by powers of two from 64 bytes on.
constexpr double kTreeCorrection[][24] = {
    {1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1, 1},
    {1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1, 1},
    {.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5,
     .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9, .9}};

} // namespace

double ncclSeconds(const NcclMachine &machine, NcclCollective kind, double bytes, int64_t ranks,
                   int64_t nodes) {
  const bool allReduce = kind == NcclCollective::AllReduce;
  const auto generation = static_cast<size_t>(machine.generation);
  const size_t scale = nodes <= 2 ? static_cast<size_t>(nodes - 1) : 2;
  const double p = static_cast<double>(ranks), perNode = p / static_cast<double>(nodes);
  const double steps = allReduce ? 2 * (p - 1) : p - 1;
  const double interSteps = nodes == 1 ? 0 : (allReduce ? 2 : 1) * static_cast<double>(nodes - 1);
  const Hardware intra = machine.nvlink ? NvLink : Pci;
  const auto channels = static_cast<double>(machine.channels);
  // A ring through several nodes leaves each over as many cards as the node has ranks.
  const double bus =
      1e-9 * (nodes == 1     ? machine.intraBus
              : perNode == 1 ? machine.interBus
                             : std::min(machine.intraBus, machine.interBus * perNode));
  double best = std::numeric_limits<double>::infinity();
  auto offer = [&](double latency, double algorithmBandwidth) {
    if (algorithmBandwidth > 0)
      best = std::min(best, latency + bytes / (1000 * algorithmBandwidth));
  };
  for (int protocol = 0; protocol < kProtocols; ++protocol) {
    double ring = bus;
    if (protocol == kLL)
      ring = std::min(kMostLL[generation][scale], bus * 0.5);
    else if (protocol == kLL128)
      ring = std::min(bus * 0.92, channels * kMostRingLL128[generation][scale]);
    double within = kRingHop[intra][protocol];
    const double between = perNode == 1 ? kTreeHop[Net][protocol] : kRingHop[Net][protocol];
    if (nodes > 1)
      within = std::max(within, kNetOverhead * (protocol == kSimple ? 3 : 1));
    double latency = kRingBase[protocol] + (steps - interSteps) * within + interSteps * between;
    if (protocol == kSimple && nodes > 1 && allReduce && bytes / (channels * p) >= 64)
      latency *= 1.4; // Plateau of the ring.
    offer(latency, ring * p / steps);

    if (!allReduce)
      continue;
    double tree = std::min(bus * 0.92, channels * kMostTree[generation][scale]);
    if (protocol == kLL)
      tree = std::min(tree / 3.8, kMostLL[generation][scale]);
    else if (protocol == kLL128)
      tree = std::min(tree * (nodes == 1 ? 7.0 / 9 : 120.0 / 128),
                      channels * kMostTreeLL128[generation][scale]);
    const double size = std::floor(std::log2(std::max(bytes / 64, 1.0)));
    if (size < 23)
      tree *= kTreeCorrection[protocol][static_cast<size_t>(size)];
    offer(kTreeBase[protocol] +
              2 * ((perNode - 1) * kTreeHop[intra][protocol] +
                   std::floor(std::log2(static_cast<double>(nodes))) * kTreeHop[Net][protocol]),
          tree * 0.5);
  }
  // The switch adds up within a node; two ranks gain nothing by it.
  if (machine.nvlsBus > 0 && nodes == 1 && ranks > 2)
    offer(kNvlsLatency, 1e-9 * machine.nvlsBus * p / steps);
  return best * 1e-6;
}

} // namespace tenon::cost
