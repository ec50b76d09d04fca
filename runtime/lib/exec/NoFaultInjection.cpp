// SPDX-License-Identifier: Apache-2.0
// Stands in for FaultInjection.cpp in builds that do not test.
#include "tenon/runtime/exec/FaultInjection.h"

namespace tenon::runtime {

const bool kFaultInjection = false;

Expected<FaultInjection> FaultInjection::parse(const std::vector<std::string> &specifications) {
  if (!specifications.empty())
    return Status(Code::Usage, "--inject needs a build with TENON_INJECT");
  return FaultInjection();
}
FaultInjection FaultInjection::of(int) const { return FaultInjection(); }
bool FaultInjection::has(const char *, const char *) const { return false; }
std::optional<int64_t> FaultInjection::number(const char *, const char *) const {
  return std::nullopt;
}
std::optional<std::string> FaultInjection::text(const char *, const char *) const {
  return std::nullopt;
}
Status FaultInjection::changeOps(plan::Entry &, std::vector<bool> &) { return Status(); }
Status FaultInjection::atOp(int, int64_t) const { return Status(); }
Status FaultInjection::atStep(int64_t) const { return Status(); }
std::unique_ptr<Device> FaultInjection::wrap(std::unique_ptr<Device> device) const {
  return device;
}

} // namespace tenon::runtime
