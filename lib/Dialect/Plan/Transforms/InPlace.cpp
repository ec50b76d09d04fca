// SPDX-License-Identifier: Apache-2.0
// InPlace: merges the buffer of a result with that of an operand that dies where the result is
// born. Decides by the happens-before order alone, so it must follow scheduleStreams.

#include "tenon/Dialect/Plan/Transforms/BufferPacking.h"
#include "tenon/Dialect/Plan/Transforms/StreamSchedule.h"
#include "tenon/runtime/plan/Access.h"

using namespace tenon;
using namespace tenon::plan;

namespace {
class Coalescer {
public:
  explicit Coalescer(plan::Entry &entry) : entry(entry), before(entry), into(entry.buffers.size()) {
    accesses.resize(entry.buffers.size());
    fixed.resize(entry.buffers.size());
    for (size_t b = 0; b < into.size(); ++b) {
      into[b] = b;
      fixed[b] = entry.buffers[b].kind == plan::Buffer::Kind::Weight;
    }
    // Inputs keep their value for the next step; outputs may be the result of a merge, not its
    // operand.
    for (const plan::IO &io : entry.inputs)
      fixed[io.buffer] = true;
    for (const plan::IO &io : entry.outputs)
      output.push_back(io.buffer);
    for (size_t i = 0; i < entry.ops.size(); ++i)
      for (const plan::Access &access : plan::accesses(entry.ops[i]))
        if (auto &list = accesses[access.operand->buffer];
            list.empty() || list.back() != int64_t(i))
          list.push_back(i);
  }

  void run() {
    for (size_t i = 0; i < entry.ops.size(); ++i) {
      // The runtime's verifier lets no other op read what it writes.
      auto *collective = std::get_if<plan::Collective>(&entry.ops[i].body);
      if (collective && collective->kind == plan::CollectiveKind::AllReduce)
        merge(i, collective->x, collective->out);
    }
    rename();
  }

private:
  int32_t root(int32_t buffer) const {
    while (into[buffer] != buffer)
      buffer = into[buffer];
    return buffer;
  }

  bool isOutput(int32_t buffer) const {
    for (int32_t other : output)
      if (root(other) == buffer)
        return true;
    return false;
  }

  /// Merges the buffer of `out`, first written by op i, into that of `x`, last read by op i.
  bool merge(int64_t i, const plan::Operand &x, const plan::Operand &out) {
    int32_t from = root(x.buffer), to = root(out.buffer);
    const plan::Buffer &a = entry.buffers[from], &b = entry.buffers[to];
    if (from == to || fixed[from] || fixed[to] || isOutput(from) || a.type != b.type ||
        a.elements != b.elements)
      return false;
    bool sameRegion = x.offset.kind == plan::RankValue::Kind::Constant &&
                      out.offset.kind == plan::RankValue::Kind::Constant &&
                      x.offset.base == out.offset.base && x.sizes == out.sizes &&
                      x.strides == out.strides;
    if (!sameRegion || !plan::isContiguous(out) || plan::elements(out) != b.elements)
      return false;
    for (int64_t other : accesses[from])
      if (other != i && !before(other, i))
        return false;
    for (int64_t other : accesses[to])
      if (other != i && !before(i, other))
        return false;
    into[to] = from;
    accesses[from].insert(accesses[from].end(), accesses[to].begin() + 1, accesses[to].end());
    return true;
  }

  void rename() {
    std::vector<int32_t> number(into.size(), -1);
    std::vector<plan::Buffer> kept;
    for (size_t b = 0; b < into.size(); ++b)
      if (into[b] == int32_t(b)) {
        number[b] = kept.size();
        kept.push_back(entry.buffers[b]);
      }
    auto renamed = [&](int32_t buffer) { return number[root(buffer)]; };
    for (plan::Op &op : entry.ops)
      plan::forEachOperand(op.body, [&](plan::Operand &operand, bool, const char *, int) {
        operand.buffer = renamed(operand.buffer);
      });
    for (auto *list : {&entry.inputs, &entry.outputs})
      for (plan::IO &io : *list)
        io.buffer = renamed(io.buffer);
    entry.buffers = std::move(kept);
  }

  plan::Entry &entry;
  HappensBefore before;
  std::vector<int32_t> into;
  std::vector<std::vector<int64_t>> accesses;
  std::vector<bool> fixed;
  std::vector<int32_t> output;
};
} // namespace

void plan::coalesceInPlace(plan::Entry &entry) { Coalescer(entry).run(); }
