// SPDX-License-Identifier: Apache-2.0

#include "tenon/Cost/CostModel.h"

#include <algorithm>

namespace tenon::cost {

plan::DataType dataType(int64_t elementBytes) { return elementBytes == 2 ? plan::DataType::BF16 : plan::DataType::F32; }

double CostModel::opSeconds(double flops, double bytes, plan::DataType type) const {
  auto it = theMachine.peakFlops.find(plan::name(type));
  double peak = it != theMachine.peakFlops.end() ? it->second : theMachine.peakFlops.at("f32");
  return std::max(flops / peak, bytes / theMachine.memoryBandwidth) + theMachine.launch;
}

double CostModel::copySeconds(double bytes) const { return bytes / theMachine.memoryBandwidth; }

double CostModel::stepSeconds(const sharding::Step &step, const sharding::Sharding &before, const std::vector<int64_t> &shape,
                              const sharding::Mesh &mesh, int64_t elementBytes) const {
  auto localBytes = [&](const sharding::Sharding &sharding) {
    double bytes = static_cast<double>(elementBytes);
    for (int64_t size : sharding::localShape(shape, sharding, mesh))
      bytes *= static_cast<double>(size);
    return bytes;
  };
  // A slice is a view wherever it divides; elsewhere one copy of the result.
  if (step.kind == sharding::StepKind::Slice)
    return copySeconds(localBytes(step.after)) * 0.5;

  double latency = 0, bandwidth = 0;
  for (int axis : step.axes) {
    // Axes that share a parent are one link of the machine; count distance from the last user axis.
    size_t level = 0;
    for (size_t other = mesh.axes.size() - 1; other > static_cast<size_t>(axis); --other)
      level += mesh.axes[other].parent != mesh.axes[other - 1].parent;
    const Link &link = theMachine.links[std::min(level, theMachine.links.size() - 1)];
    latency += link.alpha * static_cast<double>(mesh.axes[axis].size - 1);
    bandwidth = bandwidth == 0 ? link.bandwidth : std::min(bandwidth, link.bandwidth);
  }
  double rounds = step.kind == sharding::StepKind::AllReduce ? 2 : 1;
  double seconds = theMachine.launch + rounds * latency + sharding::stepBytes(step, before, shape, mesh, elementBytes) / bandwidth;
  // Packing and unpacking: a read and a write of the full block on each side that is not leading.
  auto leading = [&](int dim) {
    for (int i = 0; i < dim; ++i)
      if (shape[i] > 1)
        return false;
    return true;
  };
  if (step.kind == sharding::StepKind::AllGather && !leading(step.dim))
    seconds += copySeconds(2 * localBytes(step.after));
  if ((step.kind == sharding::StepKind::ReduceScatter || step.kind == sharding::StepKind::AllToAll) && !leading(step.dim))
    seconds += copySeconds(2 * localBytes(before));
  if (step.kind == sharding::StepKind::AllToAll && !leading(step.fromDim))
    seconds += copySeconds(2 * localBytes(step.after));
  return seconds;
}

sharding::StepPrice CostModel::stepPrice(const std::vector<int64_t> &shape, const sharding::Mesh &mesh, int64_t elementBytes) const {
  return [this, &shape, &mesh, elementBytes](const sharding::Step &step, const sharding::Sharding &before) {
    return stepSeconds(step, before, shape, mesh, elementBytes);
  };
}

} // namespace tenon::cost
