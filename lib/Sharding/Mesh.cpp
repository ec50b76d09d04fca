// SPDX-License-Identifier: Apache-2.0
// Meshes and shardings as values, and their text.

#include "tenon/Sharding/Mesh.h"

#include "tenon/runtime/plan/Blocks.h"

#include <set>
#include <tuple>

namespace tenon::sharding {

int64_t Mesh::size() const {
  int64_t product = 1;
  for (const MeshAxis &axis : axes)
    product *= axis.size;
  return product;
}

int64_t Mesh::size(const AxisList &list) const {
  int64_t product = 1;
  for (int axis : list)
    product *= axes[axis].size;
  return product;
}

std::vector<int64_t> Mesh::sizes(const AxisList &list) const {
  std::vector<int64_t> result;
  for (int axis : list)
    result.push_back(axes[axis].size);
  return result;
}

std::vector<int64_t> Mesh::coordinates(int64_t rank) const {
  std::vector<int64_t> result(axes.size());
  for (size_t i = axes.size(); i-- > 0; rank /= axes[i].size)
    result[i] = rank % axes[i].size;
  return result;
}

std::string illegal(const Mesh &mesh) {
  constexpr int64_t mostRanks = 65536,
                    mostLive = 8; // Strategies grow exponentially with live axes.
  constexpr size_t mostAxes = 16;
  int64_t ranks = 1, live = 0;
  std::set<std::string> names;
  for (const MeshAxis &axis : mesh.axes) {
    if (axis.name.empty())
      return "an axis has no name";
    if (axis.size < 1)
      return "axis sizes are at least 1, found " + std::to_string(axis.size);
    if (!names.insert(axis.name).second)
      return "axis \"" + axis.name + "\" is named more than once";
    if (axis.parent == axis.name && axis.name.find('.') != std::string::npos)
      return "axis \"" + axis.name + "\": a dot in a name is kept for parts of an axis";
    live += axis.size > 1;
    if (axis.size > mostRanks / ranks)
      return "more than " + std::to_string(mostRanks) + " ranks";
    ranks *= axis.size;
  }
  if (mesh.axes.size() > mostAxes)
    return std::to_string(mesh.axes.size()) + " axes, expected at most " + std::to_string(mostAxes);
  if (live > mostLive)
    return std::to_string(live) + " axes of more than one rank, expected at most " +
           std::to_string(mostLive);
  return "";
}

bool Sharding::isReplicated() const {
  for (const AxisList &list : dims)
    if (!list.empty())
      return false;
  return partial.empty();
}

bool Sharding::operator<(const Sharding &other) const {
  return std::tie(dims, partial, reduction) < std::tie(other.dims, other.partial, other.reduction);
}

std::vector<int64_t> localShape(const std::vector<int64_t> &shape, const Sharding &sharding,
                                const Mesh &mesh) {
  std::vector<int64_t> result(shape.size());
  for (size_t i = 0; i < shape.size(); ++i)
    result[i] = plan::blockSize(shape[i], mesh.sizes(sharding.dims[i]));
  return result;
}

static std::string braces(const AxisList &axes, const Mesh &mesh) {
  std::string text = "{";
  for (size_t i = 0; i < axes.size(); ++i)
    text += (i ? ", \"" : "\"") + mesh.axes[axes[i]].name + "\"";
  return text + "}";
}

std::string toString(const Sharding &sharding, const Mesh &mesh) {
  std::string text = "[";
  for (size_t i = 0; i < sharding.dims.size(); ++i)
    text += (i ? ", " : "") + braces(sharding.dims[i], mesh);
  text += "]";
  static constexpr const char *kinds[] = {"sum", "max", "min"};
  if (!sharding.partial.empty())
    text += std::string(" partial = ") + kinds[static_cast<int>(sharding.reduction)] + " " +
            braces(sharding.partial, mesh);
  return text;
}

} // namespace tenon::sharding
