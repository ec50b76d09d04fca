// SPDX-License-Identifier: Apache-2.0
// Reshard: the cheapest list of steps from one sharding of a value to another. A step acts on a run
// of minor-most axes of a dimension as one group and one price. Pure functions on values, no IR.
//
// Steps on a value sharded per rank:
//   slice           dims[dim] += axes, from replicated axes; local, no communication
//
//   all_gather      dims[dim] -= axes; cuts padding at every level, minor first
//
//   all_to_all      dims[from] -= axes, dims[dim] += axes
//
//   all_reduce      partial -= axes
//
//   reduce_scatter  partial -= axes, dims[dim] += axes
//
// Added axes arrive as the minor-most run, in order. Blocks nest: 5 over 2x2 is 2, 1, 2, 0.
#pragma once

#include "tenon/Sharding/FactorSharding.h"

#include <functional>
#include <memory>

namespace tenon::sharding {

enum class StepKind : uint8_t { Slice, AllGather, AllToAll, AllReduce, ReduceScatter };

struct Step {
  StepKind kind;
  AxisList axes;    ///< The group, in the order of the dimension's list (all_reduce: mesh order).
  int dim = -1;     ///< Dimension gathered, sliced into or scattered into; -1 for all_reduce.
  int fromDim = -1; ///< all_to_all: the dimension that loses the axes.
  Sharding after;   ///< Sharding of the value after this step.
  bool operator==(const Step &) const = default;
};

/// Price of one step in seconds: given the step, the sharding before it and the global shape.
using StepPrice = std::function<double(const Step &, const Sharding &before)>;

struct ReshardPath {
  std::vector<Step> steps;
  double seconds = 0;
  bool communicates() const;
};

/// All cheapest paths of values of one shape: a shortest-path search over sharding states whose
/// steps are priced once, however many pairs are asked for. Ties go to fewer steps, then to the
/// order reduce_scatter, all_reduce, slice, all_to_all, all_gather. Added runs are listed in mesh
/// order (other orders are reached one axis at a time). Intermediate states cut a dimension only
/// over axes that fit its size. States grow with the number of places raised to the number of axes:
/// a few hundred for three axes.
class ReshardGraph {
public:
  ReshardGraph(std::vector<int64_t> shape, Mesh mesh, StepPrice price);
  ~ReshardGraph();
  ReshardGraph(ReshardGraph &&) noexcept;
  ReshardGraph &operator=(ReshardGraph &&) noexcept;

  /// Returns the cheapest path, or nullopt when none exists: partial can be left, never entered,
  /// and a reduction kind never changes. Uneven sizes need no special case: each step pads or cuts
  /// by itself.
  std::optional<ReshardPath> path(const Sharding &from, const Sharding &to);
  /// Price of that path; infinity when none exists.
  double seconds(const Sharding &from, const Sharding &to);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// One question to a fresh ReshardGraph.
std::optional<ReshardPath> reshardPath(const Sharding &from, const Sharding &to,
                                       const std::vector<int64_t> &shape, const Mesh &mesh,
                                       const StepPrice &price);

/// Bytes that one rank sends for this step in the ring form: 2(p-1)/p*n for all_reduce, (p-1)/p*n
/// for the others, 0 for slice; n = the full tensor over the group in bytes (the local block before
/// gathering times p; after scattering times p).
double stepBytes(const Step &step, const Sharding &before, const std::vector<int64_t> &shape,
                 const Mesh &mesh, int64_t elementBytes);

} // namespace tenon::sharding
