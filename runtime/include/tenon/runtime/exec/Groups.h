// SPDX-License-Identifier: Apache-2.0
// Groups: one communicator per list of axes that a collective of the plan names. The group of a
// rank over axes A are the ranks that differ from it only on A, ordered row-major by A in the given
// order.
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/plan/Plan.h"

#include <map>
#include <memory>

namespace tenon::runtime {

class Groups {
public:
  /// Collective over all ranks of the mesh; `mesh` is ordered by mesh rank.
  static Expected<Groups> create(const plan::Plan &plan, const std::vector<int64_t> &coordinates,
                                 Communicator &mesh);
  /// The groups of a rank that runs alone (LoneCommunicator.h).
  static Groups createLone(const plan::Plan &plan, const std::vector<int64_t> &coordinates);
  const std::map<plan::Axes, std::unique_ptr<Communicator>> &all() const { return groups_; }
  void checkTags(bool on);

private:
  std::map<plan::Axes, std::unique_ptr<Communicator>> groups_;
};

/// Names of axes as users know them: parts of one axis that are all there become that axis ("tp.0",
/// "tp.1"
/// -> "tp").
std::vector<std::string> axisNames(const plan::Plan &plan, const plan::Axes &axes);

} // namespace tenon::runtime
