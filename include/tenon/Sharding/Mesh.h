// SPDX-License-Identifier: Apache-2.0
// Mesh and value shardings, as plain values without IR types. Axes are indices into the mesh.
//
// A sharding of a value: per dimension an ordered list of axes (major to minor), plus the set of
// axes over which the value is partial, with a reduction kind. An axis stands in one dimension list
// or in `partial`, never in both; an axis named nowhere is replicated. On mesh {tp.0:2, tp.1:2}:
// dims = {{}, {0,1}} cuts dimension 1 in four nested blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::sharding {

/// Indices into Mesh::axes, major to minor.
using AxisList = std::vector<int>;

struct MeshAxis {
  std::string name;
  int64_t size = 1;
  std::string
      parent; ///< The user's axis this one is a part of; equals `name` when it was not split.
  bool operator==(const MeshAxis &) const = default;
};

/// Named axes; ranks count row-major, the last axis fastest.
struct Mesh {
  std::vector<MeshAxis> axes;
  int64_t size() const;
  /// Product of the sizes of these axes.
  int64_t size(const AxisList &list) const;
  std::vector<int64_t> sizes(const AxisList &list) const;
  /// Coordinates of a rank, one per axis.
  std::vector<int64_t> coordinates(int64_t rank) const;
  bool operator==(const Mesh &) const = default;
};

/// Returns an empty string, or what is wrong with a mesh: an axis without a name or smaller than 1,
/// a name twice, a name with a dot (kept for the parts of an axis), more than 8 axes that cut, more
/// than 65536 ranks.
std::string illegal(const Mesh &mesh);

enum class Reduction : uint8_t { Sum, Max, Min };

struct Sharding {
  std::vector<AxisList> dims;
  AxisList partial; ///< Sorted.
  Reduction reduction = Reduction::Sum;

  static Sharding replicated(int64_t rank) {
    return {std::vector<AxisList>(rank), {}, Reduction::Sum};
  }
  bool isReplicated() const;
  bool operator==(const Sharding &) const = default;
  /// A total order without pointers, for deterministic maps.
  bool operator<(const Sharding &other) const;
};

/// Shape of one rank's block: nested block size per dimension (Blocks.h), padding included.
std::vector<int64_t> localShape(const std::vector<int64_t> &shape, const Sharding &sharding,
                                const Mesh &mesh);

/// [{"tp.0","tp.1"}, {}] partial = sum {"node"}: the text of #tp.sharding's body.
std::string toString(const Sharding &sharding, const Mesh &mesh);

} // namespace tenon::sharding
