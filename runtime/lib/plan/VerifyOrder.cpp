// SPDX-License-Identifier: Apache-2.0
// Order: walks the list once and keeps, per stream, how much of each stream is known to be
// complete. A record stores that knowledge, a wait merges it. Because a wait follows its record in
// the list, the list is a linear extension of happens-before; the other checks build on that.
#include "VerifyParts.h"
#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/Limits.h"

#include <algorithm>
#include <optional>

namespace tenon::plan {

std::string describeOp(const Entry &entry, int32_t op) {
  const Op &body = entry.ops[op];
  std::string result = "op " + std::to_string(op) + " (" + opName(body);
  if (!body.location.empty())
    result += " at " + body.location;
  return result + ")";
}

Complaint Order::build(const Entry &entry) {
  static_assert(limits::streams == 2);
  if (entry.events < 0 || entry.events > limits::events)
    return "has " + std::to_string(entry.events) + " events, expected 0 to " +
           std::to_string(limits::events);
  size_t count = entry.ops.size();
  streams.assign(count, 0);
  positions.assign(count, 0);
  clocks.assign(count, {});

  Clock now[2];
  now[0].done[0] = 1; // The start of the entry is position 0 of stream 0.
  struct Recorded {
    int32_t op;
    Clock clock;
  };
  std::vector<std::optional<Recorded>> events(entry.events);
  std::optional<int32_t> lastCollective;
  bool began = false; // stream 1
  for (int32_t i = 0; i < int32_t(count); ++i) {
    const Op &op = entry.ops[i];
    auto complain = [&](const std::string &what) { return describeOp(entry, i) + " " + what; };
    if (op.stream < 0 || op.stream >= limits::streams)
      return complain("runs on stream " + std::to_string(op.stream) + ", expected 0 or 1");
    Clock &clock = now[op.stream];
    const auto *record = std::get_if<Record>(&op.body);
    const auto *wait = std::get_if<Wait>(&op.body);
    streams[i] = op.stream;
    positions[i] = clock.done[op.stream];
    clocks[i] = clock;
    ++clock.done[op.stream];
    if (record || wait) {
      int32_t event = record ? record->event : wait->event;
      if (event < 0 || event >= entry.events)
        return complain("names event " + std::to_string(event) + " of " +
                        std::to_string(entry.events));
      auto &known = events[event];
      if (record && known)
        return complain("records event " + std::to_string(event) + " again after " +
                        describeOp(entry, known->op));
      if (wait && !known)
        return complain("waits for event " + std::to_string(event) + " before it is recorded");
      if (record)
        known = {i, clock};
      else
        for (int s = 0; s < 2; ++s)
          clock.done[s] = std::max(clock.done[s], known->clock.done[s]);
    }
    if (op.stream == 1 && !began) {
      began = true;
      if (clock.done[0] == 0)
        return complain("begins stream 1 without waiting for an event of stream 0");
    }
    if (std::holds_alternative<Collective>(op.body)) {
      if (lastCollective && !happensBefore(*lastCollective, i))
        return complain("is a collective that is not ordered after " +
                        describeOp(entry, *lastCollective));
      lastCollective = i;
    }
  }
  last = now[0];
  if (last.done[1] < now[1].done[1])
    return "stream 0 ends without waiting for the end of stream 1";
  return "";
}

} // namespace tenon::plan
