// SPDX-License-Identifier: Apache-2.0
// Hazards: is every element defined before it is read, are conflicting accesses of a buffer
// ordered, and are the lives of buffers that share arena bytes apart. One pass over the accesses in
// list order, then one sweep over the buffers; both lean on the list being a linear extension of
// happens-before.
#include "RangeMap.h"
#include "VerifyParts.h"

#include <algorithm>
#include <climits>

namespace tenon::plan {
namespace {

/// What of a buffer has been written so far.
struct Defined {
  RangeMap<char> spans;
  int64_t written = 0; ///< Upper bound of distinct elements written.
  bool all = false;

  void write(const RangeAccess &a, int64_t bufferElements) {
    if (all || a.definedFirst > a.definedLast)
      return;
    spans.assign(a.definedFirst, a.definedLast + 1, 0);
    written = std::min(bufferElements, written + a.elements);
    all = a.definedFirst == 0 && a.elements == bufferElements;
  }
};

/// The last access per range on one stream. Later positions replace earlier ones: on one stream
/// they imply them.
struct Track {
  RangeMap<int32_t> ops;
  int32_t latest = -1;
};

/// When a buffer is in use: the last position on each stream, and what is complete before any
/// access.
struct Life {
  int32_t firstOp = INT_MAX, lastOp = -1;
  int32_t last[2] = {-1, -1};
  int32_t before[2] = {INT_MAX, INT_MAX};

  void add(int32_t op, int32_t stream, int32_t position, const Order::Clock &clock) {
    firstOp = std::min(firstOp, op);
    lastOp = std::max(lastOp, op);
    last[stream] = std::max(last[stream], position);
    for (int s = 0; s < 2; ++s)
      before[s] = std::min(before[s], clock.done[s]);
  }
  bool used() const { return last[0] >= 0 || last[1] >= 0; }
  bool endsBefore(const Life &other) const {
    return last[0] < other.before[0] && last[1] < other.before[1];
  }
};

class Hazards {
public:
  Hazards(const Entry &entry, const Order &order) : entry(entry), order(order) {}

  Complaint run(const std::vector<RangeAccess> &accesses) {
    size_t count = entry.buffers.size();
    defined.resize(count);
    lives.resize(count);
    std::vector<uint8_t> streamsOf(count, 0);
    for (const RangeAccess &a : accesses)
      streamsOf[a.buffer] |= 1 << order.stream(a.op);

    for (const IO &input : entry.inputs) {
      defined[input.buffer].all = true;
      lives[input.buffer].add(-1, 0, 0, {});
    }
    for (const RangeAccess &a : accesses) {
      if (a.first > a.last || entry.buffers[a.buffer].kind == Buffer::Kind::Weight)
        continue;
      lives[a.buffer].add(a.op, order.stream(a.op), order.position(a.op), order.before(a.op));
      if (Complaint c = define(a); !c.empty())
        return c;
      // Accesses from one stream are ordered by it.
      if (streamsOf[a.buffer] == 3)
        if (Complaint c = conflict(a); !c.empty())
          return c;
    }
    for (const IO &output : entry.outputs) {
      int64_t size = entry.buffers[output.buffer].elements;
      if (size == 0)
        continue;
      if (Complaint c = isDefined(output.buffer, 0, size - 1, size); !c.empty())
        return "output '" + output.name + "' " + c;
      lives[output.buffer].add(int32_t(entry.ops.size()), 0, order.end().done[0], order.end());
    }
    return sweepArena();
  }

private:
  const Entry &entry;
  const Order &order;
  std::vector<Defined> defined;
  std::vector<Life> lives;
  /// Per buffer used by both streams: [stream][write].
  struct Tracks {
    Track of[2][2];
  };
  std::map<int32_t, Tracks> tracks;

  Complaint isDefined(int32_t buffer, int64_t first, int64_t last, int64_t needed) const {
    const Defined &d = defined[buffer];
    if (d.all)
      return "";
    std::string name = "of buffer " + std::to_string(buffer);
    int64_t gap = d.spans.firstGap(first, last + 1);
    if (gap <= last)
      return "reads element " + std::to_string(gap) + " " + name + ", which nothing has written";
    if (d.written < needed)
      return "reads " + std::to_string(needed) + " elements " + name + ", of which only " +
             std::to_string(d.written) + " were written";
    return "";
  }

  Complaint define(const RangeAccess &a) {
    if (a.write) {
      defined[a.buffer].write(a, entry.buffers[a.buffer].elements);
      return "";
    }
    Complaint c = isDefined(a.buffer, a.first, a.last, a.elements);
    return c.empty() ? c : describeOp(entry, a.op) + " " + c;
  }

  Complaint conflict(const RangeAccess &a) {
    Tracks &t = tracks[a.buffer];
    int mine = order.stream(a.op), other = 1 - mine;
    int32_t complete = order.before(a.op).done[other];
    for (int write = a.write ? 0 : 1; write < 2; ++write) {
      const Track &track = t.of[other][write];
      if (track.latest < complete)
        continue;
      int32_t culprit = -1;
      track.ops.visit(a.first, a.last + 1, [&](int64_t, int64_t, int32_t op) {
        if (order.position(op) < complete)
          return true;
        culprit = op;
        return false;
      });
      if (culprit >= 0)
        return describeOp(entry, a.op) + (a.write ? " writes" : " reads") + " buffer " +
               std::to_string(a.buffer) + ", which " + describeOp(entry, culprit) +
               (write ? " writes" : " reads") + " on the other stream: no event orders the two";
    }
    Track &own = t.of[mine][a.write];
    own.latest = order.position(a.op);
    own.ops.assign(a.first, a.last + 1, a.op);
    return "";
  }

  /// Places buffers in the arena in order of first use, each over those that had its bytes before.
  /// Where every buffer ends before the next on its bytes begins, all that share bytes are apart.
  Complaint sweepArena() const {
    std::vector<int32_t> byFirstUse;
    for (size_t i = 0; i < lives.size(); ++i)
      if (lives[i].used() && entry.buffers[i].elements > 0)
        byFirstUse.push_back(int32_t(i));
    std::stable_sort(byFirstUse.begin(), byFirstUse.end(),
                     [this](int32_t a, int32_t b) { return lives[a].firstOp < lives[b].firstOp; });
    RangeMap<int32_t> owner;
    for (int32_t i : byFirstUse) {
      const Buffer &buffer = entry.buffers[i];
      int64_t end = buffer.offset + buffer.elements * byteWidth(buffer.type);
      Complaint complaint;
      owner.visit(buffer.offset, end, [&](int64_t from, int64_t to, int32_t earlier) {
        if (lives[earlier].endsBefore(lives[i]))
          return true;
        complaint = "buffers " + std::to_string(earlier) + " and " + std::to_string(i) +
                    " share arena bytes [" + std::to_string(from) + ", " + std::to_string(to) +
                    ") and are live at the same time: " + use(earlier) + ", " + use(i);
        return false;
      });
      if (!complaint.empty())
        return complaint;
      owner.assign(buffer.offset, end, i);
    }
    return "";
  }

  std::string use(int32_t buffer) const {
    auto point = [this](int32_t op) -> std::string {
      if (op < 0)
        return "the start";
      return op < int32_t(entry.ops.size()) ? describeOp(entry, op) : "the end";
    };
    return std::to_string(buffer) + " from " + point(lives[buffer].firstOp) + " to " +
           point(lives[buffer].lastOp);
  }
};

} // namespace

Complaint checkHazards(const Entry &entry, const Order &order,
                       const std::vector<RangeAccess> &accesses) {
  return Hazards(entry, order).run(accesses);
}

} // namespace tenon::plan
