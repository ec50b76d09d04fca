// SPDX-License-Identifier: Apache-2.0
// The time that NCCL itself expects of a collective: latency and bandwidth of each algorithm (ring,
// tree, NVLS) under each protocol (LL, LL128, Simple), of which it takes the fastest. Constants and
// formulae are those of NCCL's tuning model (github.com/NVIDIA/nccl, src/graph/tuning.cc, 2.28).
#pragma once

#include <cstdint>

namespace tenon::cost {

enum class NcclCollective { AllReduce, AllGather, ReduceScatter };

/// What the model needs to know of a machine.
struct NcclMachine {
  enum class Generation : uint8_t { Ampere, Hopper, Blackwell } generation = Generation::Hopper;
  bool nvlink = true;  ///< Within a node: NVLink, else PCI.
  double intraBus = 0; ///< Bytes per second that one rank sends within a node.
  double interBus = 0; ///< The same between nodes, over the rank's own network card.
  double nvlsBus = 0;  ///< Within a node through the switch; 0 without NVLS.
  int64_t channels = 16;
};

/// Seconds of a collective of `bytes` (the full tensor) over `ranks` on `nodes` nodes, the launch
/// not counted. Needs ranks >= 2 and ranks divisible by nodes.
double ncclSeconds(const NcclMachine &machine, NcclCollective kind, double bytes, int64_t ranks,
                   int64_t nodes);

} // namespace tenon::cost
