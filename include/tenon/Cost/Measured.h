// SPDX-License-Identifier: Apache-2.0
// Measured: what `tp-run --calibrate` found on a machine: seconds of matmuls and attentions over
// grids of sizes, of memory traffic and collectives over bytes. Between points the logarithm of the
// time is interpolated linearly in the logarithms of the sizes; beyond the last point the time
// grows with the size, below the first it stays.
//
//   "measured": {
//     "matmul": {"f32": {"m": [1, 64], "n": [..], "k": [..], "seconds": [row-major]}},
//     "attention": {"f32": {"queries": [..], "keys": [..], "depth": [..], "seconds": [..]}},
//     "causal": {"f32": {"queries": [..], "keys": [1], "depth": [..], "seconds": [..]}},
//     "masked": 1.1,
//     "memory": {"bytes": [..], "seconds": [..]},
//     "per_element": {"gelu": 1e-9, "layer_norm": 2e-9, ..},
//     "collectives": [{"kind": "all_reduce", "ranks": 2, "bytes": [..], "seconds": [..]}]}
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tenon::cost {

/// Seconds over sizes in bytes. Points ascend; all are positive.
struct Curve {
  std::vector<double> bytes, seconds;
  double at(double size) const;
};

/// Seconds over three sizes, row-major. Each axis ascends; all are positive.
struct Grid {
  std::array<std::vector<double>, 3> axes;
  std::vector<double> seconds;
  double at(const std::array<double, 3> &sizes) const;
};

struct MeasuredCollective {
  std::string kind; ///< all_reduce, all_gather, reduce_scatter or all_to_all.
  int64_t ranks = 0;
  Curve time; ///< Over the bytes of the full tensor, as tp-run's report has it.
};

struct Measured {
  std::map<std::string, Grid> matmul;    ///< By element type; axes m, n, k.
  std::map<std::string, Grid> attention; ///< By element type; one head; axes queries, keys, depth.
  /// Causal attention of as many queries as keys; axes queries, 1, depth.
  std::map<std::string, Grid> causal;
  double masked = 1; ///< Time of attention with a mask over that without.
  Curve memory;      ///< Over bytes read and written together.
  /// Seconds per element of functions whose operands lie in a cache; what is missing is free.
  std::map<std::string, double> perElement;
  std::vector<MeasuredCollective> collectives;

  /// Seconds of a collective, from the curve of its kind with as many ranks; else from that with
  /// the nearest number, over bytes that make ranks send as much. Nullopt without any of its kind.
  std::optional<double> collective(const std::string &kind, int64_t ranks, double bytes) const;
};

} // namespace tenon::cost
