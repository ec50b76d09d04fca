// SPDX-License-Identifier: Apache-2.0
// mutate-plan IN OUT KIND: a plan with one mistake, for tests of what the verifier refuses and what
// a run without it does. KIND: event (the first record of a producer of a collective, and its
// waits, are dropped), overlap (two buffers that live together get one place), group (a collective
// goes over an axis too few). Exits 2 when the plan has nothing to break.
#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"

#include <algorithm>
#include <cstdio>
#include <string>

using namespace tenon;
using namespace tenon::plan;

namespace {

bool dropEvent(Entry &entry) {
  for (const Op &op : entry.ops)
    if (const auto *wait = std::get_if<Wait>(&op.body); wait && op.stream == 1) {
      const int32_t event = wait->event;
      std::erase_if(entry.ops, [&](const Op &other) {
        const auto *record = std::get_if<Record>(&other.body);
        const auto *waiting = std::get_if<Wait>(&other.body);
        return (record && record->event == event) || (waiting && waiting->event == event);
      });
      // Events are numbered without gaps.
      for (Op &other : entry.ops) {
        if (auto *record = std::get_if<Record>(&other.body))
          record->event -= record->event > event;
        if (auto *waiting = std::get_if<Wait>(&other.body))
          waiting->event -= waiting->event > event;
      }
      --entry.events;
      return true;
    }
  return false;
}

/// Two arena buffers that one op reads and writes are live together.
bool overlapSlices(Entry &entry) {
  for (const Op &op : entry.ops) {
    int32_t read = -1, written = -1;
    for (const Access &access : accesses(op))
      if (entry.buffers[size_t(access.operand->buffer)].kind == Buffer::Kind::Arena)
        (access.write ? written : read) = access.operand->buffer;
    if (read < 0 || written < 0 || read == written)
      continue;
    entry.buffers[size_t(written)].offset = entry.buffers[size_t(read)].offset;
    for (const Buffer &buffer : entry.buffers)
      if (buffer.kind == Buffer::Kind::Arena)
        entry.arenaBytes =
            std::max(entry.arenaBytes, buffer.offset + buffer.elements * byteWidth(buffer.type));
    return true;
  }
  return false;
}

bool changeGroup(Plan &plan) {
  for (Op &op : plan.entries[0].ops)
    if (auto *collective = std::get_if<Collective>(&op.body)) {
      Axes all;
      for (size_t axis = 0; axis < plan.mesh.size(); ++axis)
        all.push_back(int32_t(axis));
      collective->axes = collective->axes == all ? Axes() : all;
      return true;
    }
  return false;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4)
    return 2;
  Expected<Plan> plan = readFile(argv[1]);
  if (!plan || plan->entries.empty())
    return 2;
  const std::string kind = argv[3];
  bool changed = kind == "event"     ? dropEvent(plan->entries[0])
                 : kind == "overlap" ? overlapSlices(plan->entries[0])
                 : kind == "group"   ? changeGroup(*plan)
                                     : false;
  if (!changed) {
    std::fprintf(stderr, "mutate-plan: nothing to break by '%s'\n", kind.c_str());
    return 2;
  }
  return writeFile(*plan, argv[2]) ? 0 : 2;
}
