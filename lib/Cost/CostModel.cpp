// SPDX-License-Identifier: Apache-2.0
// A roofline for ops, alpha-beta for collectives, bandwidth for copies. The constants are the
// machine's.

#include "tenon/Cost/CostModel.h"

#include <algorithm>
#include <limits>

namespace tenon::cost {

using sharding::Sharding;
using sharding::Step;
using sharding::StepKind;

plan::DataType dataType(int64_t elementBytes) {
  return elementBytes == 2 ? plan::DataType::BF16 : plan::DataType::F32;
}

double CostModel::opSeconds(double flops, double bytes, plan::DataType type) const {
  auto it = theMachine.peakFlops.find(plan::name(type));
  double peak = it != theMachine.peakFlops.end() ? it->second : theMachine.peakFlops.at("f32");
  return std::max(flops / peak, bytes / theMachine.memoryBandwidth) + theMachine.launch;
}

double CostModel::copySeconds(double bytes) const { return bytes / theMachine.memoryBandwidth; }

double CostModel::collectiveSeconds(StepKind kind, double bytes, int64_t p,
                                    const Link &link) const {
  const auto rounds = static_cast<double>(kind == StepKind::AllReduce ? 2 * (p - 1) : p - 1);
  return link.alpha + rounds * link.hop + bytes / link.bandwidth;
}

Link CostModel::linkOf(const sharding::AxisList &axes, const sharding::Mesh &mesh) const {
  Link slowest{0, 0, std::numeric_limits<double>::infinity()};
  for (int axis : axes) {
    // Distance from the last user axis.
    size_t level = 0;
    for (size_t other = mesh.axes.size() - 1; other > static_cast<size_t>(axis); --other)
      level += mesh.axes[other].parent != mesh.axes[other - 1].parent;
    const Link &link = theMachine.links[std::min(level, theMachine.links.size() - 1)];
    slowest = {std::max(slowest.alpha, link.alpha), std::max(slowest.hop, link.hop),
               std::min(slowest.bandwidth, link.bandwidth)};
  }
  return slowest;
}

double CostModel::stepSeconds(const Step &step, const Sharding &before,
                              const std::vector<int64_t> &shape, const sharding::Mesh &mesh,
                              int64_t elementBytes) const {
  auto localBytes = [&](const Sharding &sharding) {
    double bytes = static_cast<double>(elementBytes);
    for (int64_t size : sharding::localShape(shape, sharding, mesh))
      bytes *= static_cast<double>(size);
    return bytes;
  };
  // A slice that divides is a view, which costs its reader strided access; any other is padded into
  // a copy.
  const int64_t p = mesh.size(step.axes);
  const std::vector<int64_t> wide = sharding::localShape(shape, before, mesh),
                             narrow = sharding::localShape(shape, step.after, mesh);
  auto divides = [&](int dim) {
    return std::max(wide[dim], narrow[dim]) == p * std::min(wide[dim], narrow[dim]);
  };
  if (step.kind == StepKind::Slice)
    return divides(step.dim) ? copySeconds(localBytes(step.after)) * 0.5
                             : copySeconds(2 * localBytes(step.after)) + theMachine.launch;

  const double seconds =
      theMachine.launch +
      collectiveSeconds(step.kind, sharding::stepBytes(step, before, shape, mesh, elementBytes), p,
                        linkOf(step.axes, mesh));
  // Blocks lie one after the other only along the leading dimension; elsewhere one copy reads and
  // writes them all.
  auto packed = [&](int dim, double bytes) {
    const bool leading =
        std::all_of(wide.begin(), wide.begin() + dim, [](int64_t size) { return size <= 1; });
    return leading && divides(dim) ? 0 : copySeconds(2 * bytes) + theMachine.launch;
  };
  switch (step.kind) {
  case StepKind::AllGather:
    return seconds + packed(step.dim, localBytes(step.after));
  case StepKind::ReduceScatter:
    return seconds + packed(step.dim, localBytes(before));
  case StepKind::AllToAll:
    return seconds + packed(step.dim, localBytes(before)) +
           packed(step.fromDim, localBytes(step.after));
  case StepKind::AllReduce:
  case StepKind::Slice:
    break;
  }
  return seconds;
}

sharding::StepPrice CostModel::stepPrice(const std::vector<int64_t> &shape,
                                         const sharding::Mesh &mesh, int64_t elementBytes) const {
  return [this, shape, mesh, elementBytes](const Step &step, const Sharding &before) {
    return stepSeconds(step, before, shape, mesh, elementBytes);
  };
}

} // namespace tenon::cost
