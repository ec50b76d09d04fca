// SPDX-License-Identifier: Apache-2.0
// Agreement: ranks go on together or not at all. After each start-up phase everyone tells its
// status; on a failure all leave with the code of the lowest failing rank, and that rank alone
// keeps its message.
#pragma once

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <string>
#include <utility>
#include <vector>

namespace tenon::runtime {

/// Collective. Returns ok when all are; otherwise this rank's own status on the lowest failing
/// rank, and its code with the message `peerFailed` on the others.
Status agree(Communicator &world, const Status &mine);

/// What must be equal on all ranks, in the order in which it is compared: {"plan", digest}, ...
using HandshakeFields = std::vector<std::pair<std::string, std::string>>;

/// Collective. Fails with Code::Disagree and a table of the first differing fields by rank and
/// host; the message is rank 0's.
Status shakeHands(Communicator &world, const HandshakeFields &mine, const std::string &host);

/// The order of mesh ranks: world rank per mesh rank, by first appearance of the node, then place
/// in the node (world order). {"a", "b", "a", "b"} gives {0, 2, 1, 3}.
std::vector<int> meshOrder(const std::vector<std::string> &hosts);

/// Fails with Code::Usage, and the placement, when a group over the last axis of the user's mesh
/// crosses nodes: plans are priced with that axis inside a node. `hosts` by mesh rank.
Status checkPlacement(const std::vector<plan::MeshAxis> &mesh,
                      const std::vector<std::string> &hosts);

} // namespace tenon::runtime
