// SPDX-License-Identifier: Apache-2.0
// CostModel: seconds of ops, copies and collectives on a machine. Measured tables where the machine
// has them; else a roofline plus a launch for ops, with the efficiency of a matmul's shape, and for
// collectives NCCL's tuning model, or latency plus bytes over bandwidth in the ring form. One
// concrete class; docs/CostModel.md has the formulae.
//
// Worked example (cpu): all_reduce of 1 MB over 2 ranks sends 2*(1/2)*1 MB = 1 MB per rank:
// 1 us launch + 8 us + 2*1 * 2 us + 1e6 / 2.5e9 s = 413 us.
#pragma once

#include "tenon/Cost/MachineModel.h"
#include "tenon/Sharding/Reshard.h"

namespace tenon::cost {

/// A matmul as a batch of products [m,k] x [k,n].
struct MatMulShape {
  double batch = 1, m = 1, n = 1, k = 1;
  double flops() const { return 2 * batch * m * n * k; }
};

/// Attention as `heads` products of [queries, depth] with [keys, depth] and back.
struct AttentionShape {
  double heads = 1, queries = 1, keys = 1, depth = 1;
  bool causal = false; ///< Of as many queries as keys: half of the pairs.
  bool masked = false;
};

class CostModel {
public:
  explicit CostModel(MachineModel machine) : theMachine(std::move(machine)) {}

  const MachineModel &machine() const { return theMachine; }

  /// An op: max(flops / peak, bytes / bandwidth) + launch. Integer types use the f32 peak.
  double opSeconds(double flops, double bytes, plan::DataType type) const;
  /// A matmul that reads and writes `bytes` in all.
  double matmulSeconds(const MatMulShape &shape, double bytes, plan::DataType type) const;
  /// Attention that reads and writes `bytes` in all.
  double attentionSeconds(const AttentionShape &shape, double bytes, plan::DataType type) const;
  /// Seconds per element of a function ("gelu", "add", "layer_norm", ..) beyond memory traffic, as
  /// measured; 0 where nothing was.
  double functionSeconds(const std::string &name) const;
  /// Everything else: memory traffic, or `functions` seconds of arithmetic, and a launch.
  /// `cold` bytes are read from memory in any case: weights, which no cache holds.
  double rowSeconds(double bytes, double functions, double cold = 0) const;
  /// Reading and writing `bytes` in all, without a launch.
  double copySeconds(double bytes) const;
  /// A collective over p ranks in which each sends `bytes` (ring form), without launch and packing.
  double collectiveSeconds(sharding::StepKind kind, double bytes, int64_t p,
                           const Link &link) const;
  /// A collective of a tensor of `bytes` (before it is cut, or once it is whole) over these axes,
  /// without launch and packing.
  double collectiveSeconds(sharding::StepKind kind, double bytes, const sharding::AxisList &axes,
                           const sharding::Mesh &mesh) const;
  /// The slowest link that a group over these axes uses. Axes of one parent are one link.
  Link linkOf(const sharding::AxisList &axes, const sharding::Mesh &mesh) const;
  /// One step of a reshard on a value of this shape: launch, collective, and the packing copies
  /// that a dimension needs when it is not the leading one or does not divide.
  double stepSeconds(const sharding::Step &step, const sharding::Sharding &before,
                     const std::vector<int64_t> &shape, const sharding::Mesh &mesh,
                     int64_t elementBytes) const;
  /// The same as a function for reshardPath. Holds a copy of shape and mesh; must not outlive the
  /// model.
  sharding::StepPrice stepPrice(const std::vector<int64_t> &shape, const sharding::Mesh &mesh,
                                int64_t elementBytes) const;

private:
  MachineModel theMachine;
};

/// The float type with this many bytes per element, for the peak: 2 gives BF16, anything else F32.
plan::DataType dataType(int64_t elementBytes);

} // namespace tenon::cost
