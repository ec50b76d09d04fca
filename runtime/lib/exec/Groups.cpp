// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Groups.h"

#include "tenon/runtime/comm/LoneCommunicator.h"

#include <algorithm>

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

namespace {

/// A group that some collective names, as one rank sees it.
struct Wanted {
  int color = 0, key = 0, size = 1;
  std::string name;
};

/// In the order of the axes, so that all ranks split in the same order.
std::map<plan::Axes, Wanted> wantedGroups(const plan::Plan &plan,
                                          const std::vector<int64_t> &coordinates) {
  std::map<plan::Axes, Wanted> wanted;
  for (const plan::Entry &entry : plan.entries)
    for (const plan::Op &op : entry.ops)
      if (const auto *collective = std::get_if<plan::Collective>(&op.body))
        wanted[collective->axes] = {};
  for (auto &[axes, group] : wanted) {
    for (size_t axis = 0; axis < plan.mesh.size(); ++axis)
      if (std::find(axes.begin(), axes.end(), int32_t(axis)) == axes.end())
        group.color = group.color * int(plan.mesh[axis].size) + int(coordinates[axis]);
    for (int32_t axis : axes) {
      const plan::MeshAxis &part = plan.mesh[size_t(axis)];
      group.key = group.key * int(part.size) + int(coordinates[size_t(axis)]);
      group.size *= int(part.size);
      group.name += (group.name.empty() ? "" : ",") + part.name;
    }
  }
  return wanted;
}

} // namespace

Expected<Groups> Groups::create(const plan::Plan &plan, const std::vector<int64_t> &coordinates,
                                Communicator &mesh) {
  Groups groups;
  for (const auto &[axes, wanted] : wantedGroups(plan, coordinates)) {
    Expected<std::unique_ptr<Communicator>> group = mesh.split(wanted.color, wanted.key);
    if (!group)
      return group.status();
    (*group)->setName(wanted.name);
    groups.groups_[axes] = std::move(*group);
  }
  return groups;
}

Groups Groups::createLone(const plan::Plan &plan, const std::vector<int64_t> &coordinates) {
  Groups groups;
  for (const auto &[axes, wanted] : wantedGroups(plan, coordinates)) {
    std::unique_ptr<Communicator> group = makeLoneCommunicator(wanted.key, wanted.size);
    group->setName(wanted.name);
    groups.groups_[axes] = std::move(group);
  }
  return groups;
}

void Groups::checkTags(bool on) {
  for (auto &[axes, group] : groups_)
    group->checkTags(on);
}

} // namespace tenon::runtime
