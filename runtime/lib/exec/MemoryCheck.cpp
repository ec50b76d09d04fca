// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/MemoryCheck.h"

#include "tenon/runtime/exec/Executor.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>

namespace tenon::runtime {
namespace {

/// The first number of a file, or -1 ("max" counts as no limit).
int64_t numberIn(const std::string &path) {
  std::ifstream in(path);
  int64_t value = -1;
  return in >> value ? value : -1;
}

int64_t fieldIn(const std::string &path, const std::string &name) {
  std::ifstream in(path);
  std::string word;
  while (in >> word)
    if (word == name) {
      int64_t value = -1;
      return in >> value ? value : -1;
    }
  return -1;
}

int64_t leastKnown(int64_t a, int64_t b) {
  if (a < 0 || b < 0)
    return std::max(a, b);
  return std::min(a, b);
}

/// What the limit of one control group leaves; file pages that can be dropped count as free.
int64_t leftIn(const std::string &limitFile, const std::string &usageFile,
               const std::string &statFile) {
  int64_t limit = numberIn(limitFile), usage = numberIn(usageFile);
  if (limit < 0 || usage < 0 || limit > (int64_t(1) << 60))
    return -1;
  int64_t droppable = std::max<int64_t>(0, fieldIn(statFile, "inactive_file")) +
                      std::max<int64_t>(0, fieldIn(statFile, "active_file"));
  return std::max<int64_t>(0, limit - usage + droppable);
}

/// Control groups of version 2 nest: every one on the way to the root may have a limit.
int64_t leftInGroups() {
  int64_t left =
      leftIn("/sys/fs/cgroup/memory/memory.limit_in_bytes",
             "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat");
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind("0::", 0) != 0)
      continue;
    for (std::string path = line.substr(3);;) {
      std::string base = "/sys/fs/cgroup" + (path == "/" ? "" : path);
      left = leastKnown(
          left, leftIn(base + "/memory.max", base + "/memory.current", base + "/memory.stat"));
      size_t slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos)
        break;
      path.resize(slash);
    }
  }
  return left;
}

} // namespace

int64_t availableMemory() {
  int64_t kilobytes = fieldIn("/proc/meminfo", "MemAvailable:");
  return leastKnown(kilobytes < 0 ? -1 : kilobytes * 1024, leftInGroups());
}

std::string readableBytes(int64_t bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  char text[64];
  std::snprintf(text, sizeof(text), unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
  return text;
}

std::string largestBuffers(const plan::Plan &plan, size_t count) {
  std::vector<std::pair<int64_t, std::string>> all;
  for (const plan::Weight &weight : plan.weights)
    all.emplace_back(weight.elements * plan::byteWidth(weight.type),
                     "weight '" + weight.name + "'");
  // The arena serves all entries; the largest buffer of any of them says what makes it large.
  for (const plan::Entry &entry : plan.entries)
    for (size_t id = 0; id < entry.buffers.size(); ++id)
      if (const plan::Buffer &buffer = entry.buffers[id]; buffer.kind == plan::Buffer::Kind::Arena)
        all.emplace_back(buffer.elements * plan::byteWidth(buffer.type),
                         "buffer " + std::to_string(id) + " of " + entry.name);
  std::stable_sort(all.begin(), all.end(),
                   [](const auto &a, const auto &b) { return a.first > b.first; });
  std::string text;
  for (size_t i = 0; i < std::min(count, all.size()); ++i)
    text += (i ? ", " : "the largest are ") + all[i].second + " " + readableBytes(all[i].first);
  return text;
}

/// "; 4 ranks would fit if each took its share": what is whole on every rank does not shrink, so it
/// is a lower bound. The ranks here stay as many: more of them need more places.
static std::string degreeThatFits(const plan::Plan &plan, int64_t needed, int64_t available) {
  const int64_t ranks = plan::worldSize(plan);
  constexpr int64_t kMostRanks = 4096;
  for (int64_t degree = 2 * ranks; degree <= kMostRanks; degree += ranks)
    if (double(needed) * double(ranks) / double(degree) <= double(available))
      return "; a plan for " + std::to_string(degree) +
             " ranks on as many more places would fit, if weights and arena shrink with it";
  return "";
}

Status checkMemory(const plan::Plan &plan, int64_t ranksHere, int64_t available) {
  int64_t weights = plannedWeightBytes(plan), arena = arenaBytes(plan);
  // Each weight is bounded, their sum is not.
  int64_t needed = 0;
  if (__builtin_add_overflow(weights, arena, &needed) ||
      __builtin_mul_overflow(needed, ranksHere, &needed))
    needed = std::numeric_limits<int64_t>::max();
  if (available < 0 || needed <= available)
    return Status();
  return Status(Code::Memory, std::to_string(ranksHere) +
                                  (ranksHere == 1 ? " rank needs " : " ranks need ") +
                                  readableBytes(needed) + " here (each " + readableBytes(weights) +
                                  " of weights, " + readableBytes(arena) +
                                  " of arena), available are " + readableBytes(available) + "; " +
                                  largestBuffers(plan) + degreeThatFits(plan, needed, available));
}

} // namespace tenon::runtime
