// SPDX-License-Identifier: Apache-2.0
// The conformance suite of communicators: every collective, type and size class, compared bit by
// bit with a plain loop. Written without gtest so that MPI ranks run the same cases.
#pragma once

#include "tenon/runtime/Communicator.h"

#include <string>
#include <vector>

namespace tenon::runtime::test {

/// A case: all members call it; the result says what is wrong, or nothing.
struct ConformanceCase {
  const char *name;
  std::string (*run)(Communicator &);
};

const std::vector<ConformanceCase> &conformanceCases();

} // namespace tenon::runtime::test
