// SPDX-License-Identifier: Apache-2.0
// MemoryCheck: refuses a run that cannot fit before anything is allocated, because the kernel would
// otherwise kill a rank in the middle.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <string>

namespace tenon::runtime {

/// Bytes that this process may still take: MemAvailable of the node and what the cgroups leave,
/// whichever is less. -1 when the system does not say.
int64_t availableMemory();

/// Fails with Code::Memory when `ranksHere` ranks of the plan need more than `available`; names the
/// three largest buffers, and the smallest degree at which a rank's share would fit if weights and
/// arena fell as 1/degree.
Status checkMemory(const plan::Plan &plan, int64_t ranksHere, int64_t available);

/// "the largest are weight 'embedding' 44.7 MiB, ...".
std::string largestBuffers(const plan::Plan &plan, size_t count = 3);

/// "1.50 GiB".
std::string readableBytes(int64_t bytes);

} // namespace tenon::runtime
