// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Groups.h"

#include <algorithm>
#include <set>

namespace tenon::runtime {

std::vector<std::string> axisNames(const plan::Plan &plan, const plan::Axes &axes) {
  std::vector<std::string> names;
  for (int32_t axis : axes) {
    const plan::MeshAxis &part = plan.mesh[size_t(axis)];
    auto sameParent = [&](const plan::MeshAxis &other) { return other.parent == part.parent; };
    int64_t parts = std::count_if(plan.mesh.begin(), plan.mesh.end(), sameParent);
    int64_t here = std::count_if(axes.begin(), axes.end(), [&](int32_t other) {
      return sameParent(plan.mesh[size_t(other)]);
    });
    std::string name = parts == here ? part.parent : part.name;
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  }
  return names;
}

Expected<Groups> Groups::create(const plan::Plan &plan, const std::vector<int64_t> &coordinates,
                                Communicator &mesh) {
  // A set, so that all ranks split in the same order.
  std::set<plan::Axes> wanted;
  for (const plan::Entry &entry : plan.entries)
    for (const plan::Op &op : entry.ops)
      if (const auto *collective = std::get_if<plan::Collective>(&op.body))
        wanted.insert(collective->axes);
  Groups groups;
  for (const plan::Axes &axes : wanted) {
    int color = 0, key = 0;
    for (size_t axis = 0; axis < plan.mesh.size(); ++axis)
      if (std::find(axes.begin(), axes.end(), int32_t(axis)) == axes.end())
        color = color * int(plan.mesh[axis].size) + int(coordinates[axis]);
    std::string name;
    for (int32_t axis : axes) {
      key = key * int(plan.mesh[size_t(axis)].size) + int(coordinates[size_t(axis)]);
      name += (name.empty() ? "" : ",") + plan.mesh[size_t(axis)].name;
    }
    Expected<std::unique_ptr<Communicator>> group = mesh.split(color, key);
    if (!group)
      return group.status();
    (*group)->setName(name);
    groups.groups_[axes] = std::move(*group);
  }
  return groups;
}

void Groups::checkTags(bool on) {
  for (auto &[axes, group] : groups_)
    group->checkTags(on);
}

} // namespace tenon::runtime
