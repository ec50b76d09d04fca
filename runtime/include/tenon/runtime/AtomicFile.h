// SPDX-License-Identifier: Apache-2.0
// AtomicFile: files that are there whole or not at all. Bytes go to a temporary file beside the
// path, which is renamed over it; a pipe or a device is written straight, and a link is followed.
#pragma once

#include "tenon/runtime/Status.h"

#include <cstddef>
#include <string>

namespace tenon {

/// Writes `head`, then `body` (either may be empty). Fails with Code::Device and the path; then the
/// path is as it was.
Status writeFileAtomically(const std::string &path, const void *head, size_t headBytes,
                           const void *body, size_t bodyBytes);

/// Checks before the work that `path` can be written after it: its directory exists and admits new
/// files, or it is a device that admits writing. Fails with Code::Plan.
Status checkWritable(const std::string &path);

/// Removes the temporary file of a write that is under way in this process. For handlers of fatal
/// signals: calls nothing that they may not.
void removeTemporaryFile() noexcept;

} // namespace tenon
