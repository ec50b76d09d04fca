// SPDX-License-Identifier: Apache-2.0
// BufferPacking: lives and conflicts from the happens-before order, then greedy placement in
// several orders.

#include "tenon/Dialect/Plan/Transforms/BufferPacking.h"
#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <numeric>

using namespace tenon;
using namespace tenon::plan;

namespace {
/// First and last op per stream that touches a buffer; -1 when none does.
struct Life {
  std::array<int64_t, kStreams> first, last;
  bool input = false, output = false;
  Life() {
    first.fill(-1);
    last.fill(-1);
  }
};

int64_t roundUp(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

std::vector<Life> lives(const plan::Entry &entry) {
  std::vector<Life> result(entry.buffers.size());
  for (size_t i = 0; i < entry.ops.size(); ++i)
    for (const plan::Access &access : plan::accesses(entry.ops[i])) {
      Life &life = result[access.operand->buffer];
      int stream = entry.ops[i].stream;
      if (life.first[stream] < 0)
        life.first[stream] = i;
      life.last[stream] = i;
    }
  for (const plan::IO &io : entry.inputs)
    result[io.buffer].input = true;
  for (const plan::IO &io : entry.outputs)
    result[io.buffer].output = true;
  return result;
}

/// True when every access of `a` is finished before any of `b` begins.
bool precedes(const Life &a, const Life &b, const HappensBefore &before) {
  if (a.output || b.input)
    return false;
  for (int s = 0; s < kStreams; ++s)
    for (int t = 0; t < kStreams; ++t)
      if (a.last[s] >= 0 && b.first[t] >= 0 && !before(a.last[s], b.first[t]))
        return false;
  return true;
}

/// A list of placed buffers in conflict with the one to place, and the lowest gap that takes it.
int64_t lowestGap(std::vector<std::pair<int64_t, int64_t>> &taken, int64_t bytes, bool bestFit) {
  std::sort(taken.begin(), taken.end());
  int64_t best = -1, bestSize = std::numeric_limits<int64_t>::max(), end = 0;
  for (auto [start, stop] : taken) {
    if (int64_t gap = start - end; gap >= bytes && gap < bestSize) {
      best = end;
      bestSize = gap;
      if (!bestFit)
        return best;
    }
    end = std::max(end, stop);
  }
  return best >= 0 ? best : end;
}

class Packer {
public:
  explicit Packer(const PackingProblem &problem)
      : problem(problem), neighbours(problem.bytes.size()) {
    for (auto [a, b] : problem.conflicts) {
      neighbours[a].push_back(b);
      neighbours[b].push_back(a);
    }
  }

  std::vector<int64_t> run() {
    int64_t bound = liveBytesBound(problem);
    for (const std::vector<int> &order : orders())
      for (bool bestFit : {false, true})
        if (place(order, bestFit) == bound)
          return best;
    // What lies on top was placed too late: bring it forward. Work is bounded, so that large
    // entries stay fast.
    int64_t rounds = std::min<int64_t>(500, 4'000'000 / (1 + int64_t(problem.conflicts.size())));
    std::vector<int> order = bestOrder;
    for (int64_t round = 0; round < rounds && bestBytes > bound; ++round) {
      std::stable_partition(order.begin(), order.end(),
                            [&](int b) { return last[b] + problem.bytes[b] == lastBytes; });
      int64_t before = bestBytes;
      place(order, round % 2 == 1);
      if (bestBytes < before)
        order = bestOrder;
    }
    return best;
  }

private:
  /// Buffers by falling size, by first access, by falling size times length, by falling length,
  /// each with the others as ties.
  std::vector<std::vector<int>> orders() const {
    std::vector<int> identity(problem.bytes.size());
    std::iota(identity.begin(), identity.end(), 0);
    auto length = [&](int b) { return double(problem.last[b] - problem.first[b] + 1); };
    auto sorted = [&](auto key) {
      std::vector<int> order = identity;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
      return order;
    };
    auto bytes = [&](int b) { return double(problem.bytes[b]); };
    auto first = [&](int b) { return double(problem.first[b]); };
    return {sorted([&](int b) { return std::make_pair(-bytes(b), first(b)); }),
            sorted([&](int b) { return std::make_pair(first(b), -bytes(b)); }),
            sorted([&](int b) { return std::make_pair(-bytes(b) * length(b), first(b)); }),
            sorted([&](int b) { return std::make_pair(-length(b), -bytes(b)); }),
            sorted([&](int b) { return std::make_pair(double(-problem.last[b]), -bytes(b)); })};
  }

  int64_t place(const std::vector<int> &order, bool bestFit) {
    std::vector<int64_t> offsets(problem.bytes.size(), -1);
    std::vector<std::pair<int64_t, int64_t>> taken;
    int64_t arena = 0;
    for (int buffer : order) {
      int64_t bytes = problem.bytes[buffer];
      if (bytes == 0) {
        offsets[buffer] = 0;
        continue;
      }
      taken.clear();
      for (int other : neighbours[buffer])
        if (offsets[other] >= 0 && problem.bytes[other] > 0)
          taken.emplace_back(offsets[other], offsets[other] + problem.bytes[other]);
      offsets[buffer] = lowestGap(taken, bytes, bestFit);
      arena = std::max(arena, offsets[buffer] + bytes);
    }
    last = offsets;
    lastBytes = arena;
    if (bestBytes < 0 || arena < bestBytes) {
      best = offsets;
      bestBytes = arena;
      bestOrder = order;
    }
    return arena;
  }

  const PackingProblem &problem;
  std::vector<std::vector<int>> neighbours;
  std::vector<int64_t> best, last;
  std::vector<int> bestOrder;
  int64_t bestBytes = -1, lastBytes = 0;
};
} // namespace

PackingProblem plan::packingProblem(const plan::Entry &entry) {
  HappensBefore before(entry);
  std::vector<Life> all = lives(entry);
  int count = entry.buffers.size();
  int64_t end = entry.ops.size();
  PackingProblem problem;
  // Behind this position every op runs after the buffer's last access.
  std::vector<int64_t> settled(count, 0);
  for (int b = 0; b < count; ++b) {
    const plan::Buffer &buffer = entry.buffers[b];
    const Life &life = all[b];
    int64_t first = end, last = -1;
    for (int s = 0; s < kStreams; ++s) {
      if (life.first[s] >= 0)
        first = std::min(first, life.first[s]);
      last = std::max(last, life.last[s]);
      for (int t = 0; t < kStreams && life.last[s] >= 0; ++t)
        settled[b] = std::max(settled[b], before.firstAfter(life.last[s], t));
    }
    bool used = last >= 0 || life.input || life.output;
    if (life.input) {
      first = -1;
      last = end;
    }
    if (life.output)
      last = end;
    if (last == end)
      settled[b] = end + 1;
    bool placed = buffer.kind == plan::Buffer::Kind::Arena && used;
    problem.bytes.push_back(placed ? roundUp(buffer.elements * plan::byteWidth(buffer.type)) : 0);
    problem.first.push_back(first);
    problem.last.push_back(last);
  }
  std::vector<int> order(count), active;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return problem.first[a] < problem.first[b]; });
  for (int b : order) {
    if (problem.bytes[b] == 0)
      continue;
    std::erase_if(active, [&](int a) { return settled[a] <= problem.first[b]; });
    for (int a : active) {
      bool input = all[a].input || all[b].input; // An input lives for the whole step.
      if (input || (!precedes(all[a], all[b], before) && !precedes(all[b], all[a], before)))
        problem.conflicts.emplace_back(std::min(a, b), std::max(a, b));
    }
    active.push_back(b);
  }
  return problem;
}

int64_t plan::liveBytesBound(const PackingProblem &problem) {
  // Bytes that begin at, and that end behind, each position.
  std::vector<std::pair<int64_t, int64_t>> changes;
  for (size_t b = 0; b < problem.bytes.size(); ++b) {
    if (problem.bytes[b] == 0)
      continue;
    changes.emplace_back(problem.first[b], problem.bytes[b]);
    changes.emplace_back(problem.last[b] + 1, -problem.bytes[b]);
  }
  // At one position what ends goes first: pairs sort by their negative second.
  std::sort(changes.begin(), changes.end());
  int64_t live = 0, most = 0;
  for (auto [position, bytes] : changes)
    most = std::max(most, live += bytes);
  return most;
}

std::vector<int64_t> plan::pack(const PackingProblem &problem) { return Packer(problem).run(); }

int64_t plan::evaluate(const PackingProblem &problem, const std::vector<int64_t> &offsets) {
  int64_t arena = 0;
  for (size_t b = 0; b < problem.bytes.size(); ++b) {
    if (offsets[b] < 0 || offsets[b] % kArenaAlignment != 0)
      return -1;
    arena = std::max(arena, offsets[b] + problem.bytes[b]);
  }
  for (auto [a, b] : problem.conflicts)
    if (offsets[a] < offsets[b] + problem.bytes[b] && offsets[b] < offsets[a] + problem.bytes[a])
      return -1;
  return arena;
}
