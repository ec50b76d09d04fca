// SPDX-License-Identifier: Apache-2.0
// Measured tables first, formulae where there are none. The constants are the machine's.

#include "tenon/Cost/CostModel.h"

#include <algorithm>
#include <cmath>
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

/// Tiles of a result that GPU libraries compute per unit, with the share of the peak that their
/// operands' reuse allows; a product of few tiles is cut along k too.
static double tiledSeconds(const MatMulShape &shape, const MatMulUnits &units, double peak) {
  struct Tile {
    double m, n, share;
  };
  constexpr Tile kTiles[] = {{256, 128, 1},  {128, 256, 1},  {128, 128, 0.95},
                             {128, 64, 0.8}, {64, 128, 0.8}, {64, 64, 0.6}};
  double best = std::numeric_limits<double>::infinity();
  for (const Tile &tile : kTiles)
    for (double split = 1; split <= 16 && shape.k / split >= units.depth; split *= 2) {
      const double tiles =
          shape.batch * std::ceil(shape.m / tile.m) * std::ceil(shape.n / tile.n) * split;
      const double waves = std::ceil(tiles / units.units);
      const double flops = 2 * tile.m * tile.n * (shape.k / split + units.depth);
      best = std::min(best, waves * flops / (peak * tile.share / units.units));
    }
  if (std::isinf(best)) // Shallower than the depth: not worth cutting.
    for (const Tile &tile : kTiles) {
      const double tiles = shape.batch * std::ceil(shape.m / tile.m) * std::ceil(shape.n / tile.n);
      best = std::min(best, std::ceil(tiles / units.units) * 2 * tile.m * tile.n *
                                (shape.k + units.depth) / (peak * tile.share / units.units));
    }
  return best;
}

/// The measured grid of a type, or null.
static const Grid *gridOf(const std::map<std::string, Grid> &grids, plan::DataType type) {
  auto it = grids.find(plan::name(type));
  return it == grids.end() ? nullptr : &it->second;
}

double CostModel::matmulSeconds(const MatMulShape &shape, double bytes, plan::DataType type) const {
  if (theMachine.measured)
    if (const Grid *grid = gridOf(theMachine.measured->matmul, type))
      return shape.batch * grid->at({shape.m, shape.n, shape.k});
  if (!theMachine.matmul || shape.flops() == 0)
    return opSeconds(shape.flops(), bytes, type);
  auto it = theMachine.peakFlops.find(plan::name(type));
  const double peak =
      it != theMachine.peakFlops.end() ? it->second : theMachine.peakFlops.at("f32");
  return std::max(tiledSeconds(shape, *theMachine.matmul, peak),
                  bytes / theMachine.memoryBandwidth) +
         theMachine.launch;
}

double CostModel::attentionSeconds(const AttentionShape &shape, double bytes,
                                   plan::DataType type) const {
  if (theMachine.measured) {
    const Measured &measured = *theMachine.measured;
    const Grid *grid = gridOf(shape.causal ? measured.causal : measured.attention, type);
    if (grid)
      return shape.heads * grid->at({shape.queries, shape.causal ? 1 : shape.keys, shape.depth}) *
             (shape.masked ? measured.masked : 1);
  }
  const double flops = 4 * shape.heads * shape.queries * shape.keys * shape.depth;
  return opSeconds(shape.causal ? flops / 2 : flops, bytes, type);
}

double CostModel::functionSeconds(const std::string &name) const {
  if (!theMachine.measured)
    return 0;
  auto it = theMachine.measured->perElement.find(name);
  return it == theMachine.measured->perElement.end() ? 0 : it->second;
}

double CostModel::rowSeconds(double bytes, double functions, double cold) const {
  return std::max(copySeconds(bytes), functions) + cold / theMachine.memoryBandwidth +
         theMachine.launch;
}

double CostModel::copySeconds(double bytes) const {
  if (bytes <= 0)
    return 0;
  return theMachine.measured ? theMachine.measured->memory.at(bytes)
                             : bytes / theMachine.memoryBandwidth;
}

double CostModel::collectiveSeconds(StepKind kind, double bytes, int64_t p,
                                    const Link &link) const {
  const auto rounds = static_cast<double>(kind == StepKind::AllReduce ? 2 * (p - 1) : p - 1);
  return link.alpha + rounds * link.hop + bytes / link.bandwidth;
}

/// How many user axes lie within this one: 0 for the last, whose link is the fastest.
static size_t levelOf(int axis, const sharding::Mesh &mesh) {
  size_t level = 0;
  for (size_t other = mesh.axes.size() - 1; other > static_cast<size_t>(axis); --other)
    level += mesh.axes[other].parent != mesh.axes[other - 1].parent;
  return level;
}

static const char *nameOf(StepKind kind) {
  switch (kind) {
  case StepKind::AllReduce:
    return "all_reduce";
  case StepKind::AllGather:
    return "all_gather";
  case StepKind::ReduceScatter:
    return "reduce_scatter";
  case StepKind::AllToAll:
    return "all_to_all";
  case StepKind::Slice:
    break;
  }
  return "";
}

double CostModel::collectiveSeconds(StepKind kind, double bytes, const sharding::AxisList &axes,
                                    const sharding::Mesh &mesh) const {
  const int64_t p = mesh.size(axes);
  if (p < 2)
    return 0;
  if (theMachine.measured && theMachine.links.size() == 1)
    if (auto seconds = theMachine.measured->collective(nameOf(kind), p, bytes))
      return *seconds;
  if (theMachine.nccl && kind != StepKind::AllToAll && kind != StepKind::Slice) {
    int64_t nodes = 1;
    for (int axis : axes)
      if (levelOf(axis, mesh) > 0)
        nodes *= mesh.axes[axis].size;
    return ncclSeconds(*theMachine.nccl,
                       kind == StepKind::AllReduce   ? NcclCollective::AllReduce
                       : kind == StepKind::AllGather ? NcclCollective::AllGather
                                                     : NcclCollective::ReduceScatter,
                       bytes, p, nodes);
  }
  const double sent = bytes * static_cast<double>(p - 1) / static_cast<double>(p) *
                      (kind == StepKind::AllReduce ? 2 : 1);
  return collectiveSeconds(kind, sent, p, linkOf(axes, mesh));
}

Link CostModel::linkOf(const sharding::AxisList &axes, const sharding::Mesh &mesh) const {
  Link slowest{0, 0, std::numeric_limits<double>::infinity()};
  for (int axis : axes) {
    const Link &link = theMachine.links[std::min(levelOf(axis, mesh), theMachine.links.size() - 1)];
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

  // The full tensor, padding included.
  const double tensor = sharding::stepBytes(step, before, shape, mesh, elementBytes) *
                        static_cast<double>(p) / static_cast<double>(p - 1) /
                        (step.kind == StepKind::AllReduce ? 2 : 1);
  const double seconds = theMachine.launch + collectiveSeconds(step.kind, tensor, step.axes, mesh);
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
