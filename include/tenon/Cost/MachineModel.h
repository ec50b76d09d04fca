// SPDX-License-Identifier: Apache-2.0
// MachineModel: the constants of a machine, from a JSON file that is shipped (by name) or the
// user's (by path).
//
//   {"name": "cpu", "peak_flops": {"f32": 9.5e10, "bf16": 2e11}, "memory_bandwidth": 1e10,
//   "memory_bytes": 1.2e10,
//    "launch_s": 1e-6, "axes": [{"alpha_s": 8e-6, "hop_s": 2e-6, "bandwidth": 2.5e9}]}
//
// Optional: "matmul" (units that compute side by side, and the depth that a product needs to get
// going), "nccl" (what NCCL's tuning model asks; prices all collectives but all_to_all), and
// "measured" (Measured.h), which goes before all formulae.
//
// Units: flop/s, B/s, bytes, seconds. Peaks are what large matmuls and copies reach, not the data
// sheet's. `axes[0]` is the fastest link (the last mesh axis); a mesh with more axes than entries
// uses the last entry for the outer ones. Every constant must be present and positive: nothing is
// guessed, and an unknown key is an error.
#pragma once

#include "tenon/Cost/Measured.h"
#include "tenon/Cost/Nccl.h"
#include "tenon/runtime/plan/Plan.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tenon::cost {

/// A collective over p ranks takes alpha + rounds * hop + bytes / bandwidth, with p - 1 rounds
/// (all_reduce: twice as many) and the bytes that one rank sends in the ring form.
struct Link {
  double alpha = 0;     ///< Seconds per collective.
  double hop = 0;       ///< Seconds per round of the ring.
  double bandwidth = 0; ///< Bytes per second that one rank sends.
};

/// How a matmul fills a GPU: tiles of the result go to units (SMs) in waves, and a tile of depth k
/// takes as long as one of depth k + `depth` at the peak.
struct MatMulUnits {
  double units = 0;
  double depth = 0; ///< Elements.
};

struct MachineModel {
  std::string name;
  std::map<std::string, double> peakFlops; ///< By element type: f32, bf16, f16.
  double memoryBandwidth = 0;
  double memoryBytes = 0;
  double launch = 0;
  std::vector<Link> links; ///< Fastest first.
  std::optional<MatMulUnits> matmul;
  std::optional<NcclMachine> nccl;
  std::optional<Measured> measured;
  std::string text; ///< The file as read.

  /// First 16 hex digits of a hash of the file's text: plans name the machine that they were made
  /// for.
  std::string digest() const;
};

/// Loads a shipped machine by name, or a file by path. On failure returns nullopt; `error` names
/// the key, or lists the shipped names.
std::optional<MachineModel> loadMachine(const std::string &nameOrPath, std::string &error);
/// Reads the JSON text.
std::optional<MachineModel> parseMachine(const std::string &text, std::string &error);
/// Names of the shipped machines, sorted.
std::vector<std::string> shippedMachines();

} // namespace tenon::cost
