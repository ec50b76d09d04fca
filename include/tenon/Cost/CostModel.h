// SPDX-License-Identifier: Apache-2.0
// CostModel: seconds of ops, copies and collectives on a machine. A roofline plus a launch for ops; latency plus
// bytes over bandwidth, in the ring form, for collectives. One concrete class.
//
// Worked example (cpu): all_reduce of 1 MB over 2 ranks sends 2*(1/2)*1 MB = 1 MB per rank: 2 * 1e-5 s + 1e6 / 2.5e9 = 0.42 ms.
#pragma once

#include "tenon/Cost/MachineModel.h"
#include "tenon/Sharding/Reshard.h"

namespace tenon::cost {

class CostModel {
public:
  explicit CostModel(MachineModel machine) : theMachine(std::move(machine)) {}

  const MachineModel &machine() const { return theMachine; }

  /// An op: max(flops / peak, bytes / bandwidth) + launch. Integer types use the f32 peak.
  double opSeconds(double flops, double bytes, plan::DataType type) const;
  /// Reading and writing `bytes` in all, without a launch.
  double copySeconds(double bytes) const;
  /// One step of a reshard on a value of this shape: latency per peer step of each axis, bytes over the slowest link of the
  /// group, and the packing copies that a dimension other than the leading one needs.
  double stepSeconds(const sharding::Step &step, const sharding::Sharding &before, const std::vector<int64_t> &shape,
                     const sharding::Mesh &mesh, int64_t elementBytes) const;
  /// The same as a function for reshardPath. Keeps references: it must not outlive shape and mesh.
  sharding::StepPrice stepPrice(const std::vector<int64_t> &shape, const sharding::Mesh &mesh, int64_t elementBytes) const;

private:
  MachineModel theMachine;
};

/// The float type with this many bytes per element, for the peak: 2 gives BF16, anything else F32.
plan::DataType dataType(int64_t elementBytes);

} // namespace tenon::cost
