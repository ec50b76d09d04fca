// SPDX-License-Identifier: Apache-2.0
// StreamSchedule: one walk finds the hazards between streams and the events that cover them;
// another derives vector clocks from records and waits.

#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <cassert>
#include <limits>

using namespace tenon;
using namespace tenon::plan;

namespace {
/// In the place of an op's number: the begin of the entry.
constexpr int64_t kStart = -2;

/// One earlier access to a buffer.
struct Touch {
  int64_t op;
  int stream;
  bool write;
  int64_t first, last;
};

/// The elements that an operand may touch on any rank.
plan::Span reach(const plan::Operand &operand) {
  if (operand.offset.kind == plan::RankValue::Kind::Constant)
    return plan::span(operand);
  if (plan::elements(operand) == 0)
    return {0, -1, true};
  return {0, std::numeric_limits<int64_t>::max(), false};
}

/// Last op of another stream that must be finished before `op` begins, or -1.
int64_t neededBefore(const plan::Op &op, int stream, const std::vector<std::vector<Touch>> &touches,
                     const plan::Entry &entry) {
  int64_t needed = -1;
  for (const plan::Access &access : plan::accesses(op)) {
    if (entry.buffers[access.operand->buffer].kind == plan::Buffer::Kind::Weight)
      continue;
    plan::Span span = reach(*access.operand);
    if (span.empty)
      continue;
    for (const Touch &touch : touches[access.operand->buffer])
      if (touch.stream != stream && (touch.write || access.write) && touch.first <= span.last &&
          span.first <= touch.last)
        needed = std::max(needed, touch.op);
  }
  return needed;
}
} // namespace

void plan::scheduleStreams(plan::Entry &entry) {
  std::erase_if(entry.ops, [](const plan::Op &op) {
    return std::holds_alternative<plan::Record>(op.body) ||
           std::holds_alternative<plan::Wait>(op.body);
  });
  int64_t count = entry.ops.size();
  std::vector<std::vector<Touch>> touches(entry.buffers.size());
  // With two streams one number per stream says what it knows of the other.
  std::array<int64_t, kStreams> known{-1, -1};
  std::vector<int64_t> waitsFor(count, -1);
  std::vector<bool> recorded(count, false);
  std::array<int64_t, kStreams> latest{-1, -1};
  for (int64_t i = 0; i < count; ++i) {
    plan::Op &op = entry.ops[i];
    op.stream = std::holds_alternative<plan::Collective>(op.body) ? 1 : 0;
    int64_t needed = neededBefore(op, op.stream, touches, entry);
    // Stream 1 begins behind stream 0, so that consecutive steps cannot race.
    bool begins = op.stream == 1 && latest[1] < 0;
    if (begins && needed < 0) {
      if (latest[0] < 0)
        waitsFor[i] = kStart;
      else
        needed = latest[0];
    }
    latest[op.stream] = i;
    if (needed > known[op.stream]) {
      known[op.stream] = needed;
      waitsFor[i] = needed;
      recorded[needed] = true;
    }
    for (const plan::Access &access : plan::accesses(op))
      if (plan::Span span = reach(*access.operand); !span.empty)
        touches[access.operand->buffer].push_back(
            {i, op.stream, access.write, span.first, span.last});
  }

  // Stream 0 ends behind stream 1.
  bool endWaits = latest[1] > known[0];
  if (endWaits)
    recorded[latest[1]] = true;

  std::vector<plan::Op> ops;
  std::vector<int32_t> eventOf(count, -1);
  entry.events = 0;
  for (int64_t i = 0; i < count; ++i) {
    int stream = entry.ops[i].stream;
    std::string location = entry.ops[i].location;
    if (waitsFor[i] == kStart) {
      ops.push_back({plan::Record{entry.events}, 0, location, 0});
      ops.push_back({plan::Wait{entry.events++}, stream, location, 0});
    } else if (waitsFor[i] >= 0) {
      ops.push_back({plan::Wait{eventOf[waitsFor[i]]}, stream, location, 0});
    }
    ops.push_back(std::move(entry.ops[i]));
    if (recorded[i]) {
      eventOf[i] = entry.events++;
      ops.push_back({plan::Record{eventOf[i]}, stream, location, 0});
    }
  }
  if (endWaits)
    ops.push_back({plan::Wait{eventOf[latest[1]]}, 0, "", 0});
  entry.ops = std::move(ops);
}

HappensBefore::HappensBefore(const plan::Entry &entry) {
  std::array<std::array<int64_t, kStreams>, kStreams> clock;
  for (auto &row : clock)
    row.fill(-1);
  std::vector<std::array<int64_t, kStreams>> events(entry.events);
  for (auto &row : events)
    row.fill(-1);
  for (size_t i = 0; i < entry.ops.size(); ++i) {
    const plan::Op &op = entry.ops[i];
    assert(op.stream >= 0 && op.stream < kStreams);
    auto &mine = clock[op.stream];
    if (const auto *wait = std::get_if<plan::Wait>(&op.body))
      for (int s = 0; s < kStreams; ++s)
        mine[s] = std::max(mine[s], events[wait->event][s]);
    stream.push_back(op.stream);
    known.push_back(mine);
    ops[op.stream].push_back(i);
    mine[op.stream] = i;
    if (const auto *record = std::get_if<plan::Record>(&op.body))
      events[record->event] = mine;
  }
}

bool HappensBefore::operator()(int64_t a, int64_t b) const {
  return a != b && known[b][stream[a]] >= a;
}

int64_t HappensBefore::firstAfter(int64_t a, int s) const {
  // What a stream knows only grows along the stream.
  auto it = std::partition_point(ops[s].begin(), ops[s].end(),
                                 [&](int64_t b) { return known[b][stream[a]] < a; });
  return it == ops[s].end() ? static_cast<int64_t>(stream.size()) : *it;
}
