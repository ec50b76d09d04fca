// SPDX-License-Identifier: Apache-2.0
// Verify: the plan as a whole, its entries, and what depends on a rank. Weights, single ops, order
// and hazards have a file each (VerifyParts.h).
#include "tenon/runtime/plan/Verify.h"

#include "Checked.h"
#include "VerifyParts.h"
#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/Blocks.h"
#include "tenon/runtime/plan/Resolve.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace tenon::plan {

std::string text(const std::vector<int64_t> &values) {
  std::string result = "[";
  for (size_t i = 0; i < values.size(); ++i)
    result += (i ? ", " : "") + std::to_string(values[i]);
  return result + "]";
}

Complaint checkAxes(const Plan &plan, const Axes &axes) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || size_t(axes[i]) >= plan.mesh.size())
      return "names mesh axis " + std::to_string(axes[i]) + " of " +
             std::to_string(plan.mesh.size());
    if (std::find(axes.begin(), axes.begin() + i, axes[i]) != axes.begin() + i)
      return "names mesh axis " + plan.mesh[axes[i]].name + " twice";
  }
  return "";
}

std::vector<int64_t> axisSizes(const Plan &plan, const Axes &axes) {
  std::vector<int64_t> sizes;
  for (int32_t axis : axes)
    sizes.push_back(plan.mesh[axis].size);
  return sizes;
}

Complaint checkRankValue(const Plan &plan, const RankValue &value) {
  if (value.kind > RankValue::Kind::Length)
    return "has an unknown kind";
  if (!checked::fits(value))
    return "is too large";
  return checkAxes(plan, value.axes);
}

Complaint checkCut(const Plan &plan, const std::vector<int64_t> &sizes,
                   const std::vector<Axes> &dimAxes, std::vector<int64_t> &blocks) {
  if (dimAxes.size() != sizes.size())
    return "has axes for " + std::to_string(dimAxes.size()) + " of " +
           std::to_string(sizes.size()) + " dimensions";
  Axes all;
  for (size_t d = 0; d < sizes.size(); ++d) {
    all.insert(all.end(), dimAxes[d].begin(), dimAxes[d].end());
    if (Complaint c = checkAxes(plan, all); !c.empty())
      return c;
    blocks.push_back(blockSize(sizes[d], axisSizes(plan, dimAxes[d])));
  }
  return "";
}

bool hasDistinctElements(const std::vector<int64_t> &sizes, const std::vector<int64_t> &strides) {
  std::vector<std::pair<int64_t, int64_t>> dims; // stride, size
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0)
      return true;
    if (sizes[i] > 1)
      dims.emplace_back(strides[i], sizes[i]);
  }
  std::sort(dims.begin(), dims.end());
  int64_t reach = 0;
  for (auto [stride, size] : dims) {
    if (stride <= reach)
      return false;
    reach += (size - 1) * stride;
  }
  return true;
}

namespace {

Status refuse(const std::string &message) { return Status(Code::Plan, message); }

template <typename T> Complaint checkNames(const std::vector<T> &named, const char *what) {
  std::set<std::string> seen;
  for (const T &item : named) {
    if (item.name.empty())
      return std::string(what) + " has no name";
    if (!seen.insert(item.name).second)
      return "name '" + item.name + "' is given to more than one " + what;
  }
  return "";
}

Complaint checkMesh(const Plan &plan) {
  if (plan.mesh.size() > limits::meshAxes)
    return "mesh has " + std::to_string(plan.mesh.size()) + " axes, expected at most " +
           std::to_string(limits::meshAxes);
  int64_t ranks = 1;
  for (const MeshAxis &axis : plan.mesh) {
    if (axis.size < 1 || axis.size > limits::ranks)
      return "mesh axis '" + axis.name + "' has size " + std::to_string(axis.size) +
             ", expected 1 to " + std::to_string(limits::ranks);
    if (axis.parent.empty())
      return "mesh axis '" + axis.name + "' has no parent";
    ranks *= axis.size;
    if (ranks > limits::ranks)
      return "mesh has more than " + std::to_string(limits::ranks) + " ranks";
  }
  return checkNames(plan.mesh, "mesh axis");
}

/// An entry with what is computed once for all ranks.
class EntryVerifier {
public:
  EntryVerifier(const Plan &plan, const Entry &entry) : plan(plan), entry(entry) {}

  /// Everything that does not depend on the rank.
  Complaint prepare();
  /// The rest, at these coordinates. Needs a prepare() without complaint.
  Complaint check(const std::vector<int64_t> &coordinates);

private:
  /// An operand of an op.
  struct Use {
    const Operand *operand;
    const char *role;
    int32_t op;
    bool write;
    int64_t reach;    ///< From first to last element.
    int64_t elements; ///< Distinct ones; 0 when the strides do not tell.
    bool empty;
  };

  const Plan &plan;
  const Entry &entry;
  Order order;
  std::vector<Use> uses; ///< In list order, reads of an op before its writes.
  /// Ranges at ranks that are known to be good: equal ranges need no second analysis.
  std::set<std::vector<int64_t>> accepted;

  Complaint checkBuffer(const Buffer &buffer) const;
  Complaint checkIO(const IO &io, bool isInput) const;
  Complaint checkAliases(size_t begin, size_t end, const std::vector<RangeAccess> &ranges) const;
  Complaint checkValues(const Op &op, const std::vector<int64_t> &coordinates) const;
  void narrowFill(const Fill &fill, int64_t from, RangeAccess &range) const;
};

Complaint EntryVerifier::checkBuffer(const Buffer &buffer) const {
  if (buffer.elements < 0 || buffer.elements > limits::elements)
    return "has " + std::to_string(buffer.elements) + " elements, expected 0 to " +
           std::to_string(limits::elements);
  if (buffer.type > DataType::I1 || buffer.kind > Buffer::Kind::Weight)
    return "has an unknown kind or data type";
  if (buffer.kind == Buffer::Kind::Weight) {
    if (buffer.weight < 0 || size_t(buffer.weight) >= plan.weights.size())
      return "names weight " + std::to_string(buffer.weight) + " of " +
             std::to_string(plan.weights.size());
    const Weight &weight = plan.weights[buffer.weight];
    if (buffer.type != weight.type || buffer.elements != weight.elements)
      return "holds " + std::to_string(buffer.elements) + " " + name(buffer.type) +
             ", its weight '" + weight.name + "' " + std::to_string(weight.elements) + " " +
             name(weight.type);
    return "";
  }
  if (buffer.weight != -1)
    return "lies in the arena and names weight " + std::to_string(buffer.weight);
  if (buffer.offset < 0 || buffer.offset % 64 != 0)
    return "lies at byte " + std::to_string(buffer.offset) + ", expected a multiple of 64";
  int64_t bytes = buffer.elements * byteWidth(buffer.type);
  if (bytes > entry.arenaBytes || buffer.offset > entry.arenaBytes - bytes)
    return "of " + std::to_string(bytes) + " bytes at " + std::to_string(buffer.offset) +
           " leaves the arena of " + std::to_string(entry.arenaBytes);
  return "";
}

Complaint EntryVerifier::checkIO(const IO &io, bool isInput) const {
  // Names become parts of options and of file names; that there is one is checked with the others.
  if (io.name == "." || io.name == ".." ||
      io.name.find_first_of(std::string_view("/=\0", 3)) != std::string::npos)
    return "has a name that no file can have, or with '='";
  if (io.buffer < 0 || size_t(io.buffer) >= entry.buffers.size())
    return "names buffer " + std::to_string(io.buffer) + " of " +
           std::to_string(entry.buffers.size());
  const Buffer &buffer = entry.buffers[io.buffer];
  if (buffer.kind != Buffer::Kind::Arena)
    return "is a weight";
  if (buffer.type != io.type)
    return std::string("is ") + name(io.type) + ", its buffer " + name(buffer.type);
  if (io.shape.size() > limits::dimensions)
    return "has more than " + std::to_string(limits::dimensions) + " dimensions";
  if (!checked::product(io.shape))
    return "has shape " + text(io.shape) + ", which is negative or too large";
  std::vector<int64_t> blocks;
  std::vector<Axes> dimAxes = io.dimAxes;
  if (isInput && dimAxes.empty())
    dimAxes.resize(io.shape.size());
  if (Complaint c = checkCut(plan, io.shape, dimAxes, blocks); !c.empty())
    return c;
  if (isInput && blocks != io.shape)
    return "is cut over mesh axes, expected inputs to be whole on every rank";
  if (checked::product(blocks) != buffer.elements)
    return "has block " + text(blocks) + ", its buffer " + std::to_string(buffer.elements) +
           " elements";
  bool isInteger = io.type == DataType::I32 || io.type == DataType::I64;
  if (io.low > io.high || (io.low != io.high && !(isInput && isInteger)))
    return "has the range [" + std::to_string(io.low) + ", " + std::to_string(io.high) +
           "), expected one of an integer input";
  if (io.maskRows && (!isInput || io.shape.empty()))
    return "has mask rows, expected only inputs with dimensions to have them";
  return "";
}

Complaint EntryVerifier::prepare() {
  if (entry.buffers.size() > limits::buffers || entry.ops.size() > limits::ops ||
      entry.inputs.size() > limits::ios || entry.outputs.size() > limits::ios)
    return "has too many buffers, ops, inputs or outputs";
  if (entry.arenaBytes < 0 || entry.arenaBytes > limits::arenaBytes)
    return "has an arena of " + std::to_string(entry.arenaBytes) + " bytes, expected 0 to " +
           std::to_string(limits::arenaBytes);
  if (entry.liveBytesBound < 0 || entry.liveBytesBound > entry.arenaBytes)
    return "has a bound of " + std::to_string(entry.liveBytesBound) +
           " live bytes, expected 0 to the arena's " + std::to_string(entry.arenaBytes);
  if (!std::isfinite(entry.predictedUs))
    return "has a predicted time that is not finite";
  for (size_t i = 0; i < entry.buffers.size(); ++i)
    if (Complaint c = checkBuffer(entry.buffers[i]); !c.empty())
      return "buffer " + std::to_string(i) + " " + c;

  std::vector<const IO *> inputOf(entry.buffers.size(), nullptr);
  for (const IO &input : entry.inputs) {
    if (Complaint c = checkIO(input, true); !c.empty())
      return "input '" + input.name + "' " + c;
    if (inputOf[input.buffer])
      return "inputs '" + inputOf[input.buffer]->name + "' and '" + input.name + "' share buffer " +
             std::to_string(input.buffer);
    inputOf[input.buffer] = &input;
  }
  for (const IO &output : entry.outputs)
    if (Complaint c = checkIO(output, false); !c.empty())
      return "output '" + output.name + "' " + c;
  if (Complaint c = checkNames(entry.inputs, "input"); !c.empty())
    return c;
  if (Complaint c = checkNames(entry.outputs, "output"); !c.empty())
    return c;

  for (int32_t i = 0; i < int32_t(entry.ops.size()); ++i) {
    const Op &op = entry.ops[i];
    Complaint complaint = checkOp(plan, entry, op);
    if (complaint.empty() && !std::isfinite(op.predictedUs))
      complaint = "has a predicted time that is not finite";
    if (!complaint.empty())
      return describeOp(entry, i) + ": " + complaint;
    forEachOperand(op.body, [&](const Operand &operand, bool write, const char *role, int) {
      if (write && inputOf[operand.buffer])
        complaint = std::string(role) + " writes the input '" + inputOf[operand.buffer]->name + "'";
      int64_t count = *checked::product(operand.sizes);
      bool distinct = hasDistinctElements(operand.sizes, operand.strides);
      uses.push_back({&operand, role, i, write, *checked::reach(operand.sizes, operand.strides),
                      distinct ? count : 0, count == 0});
    });
    if (!complaint.empty())
      return describeOp(entry, i) + ": " + complaint;
  }
  return order.build(entry);
}

/// Only x and out of an all_reduce or broadcast may be the same region.
bool mayBeInPlace(const Op &op) {
  const auto *collective = std::get_if<Collective>(&op.body);
  return collective && (collective->kind == CollectiveKind::AllReduce ||
                        collective->kind == CollectiveKind::Broadcast);
}

Complaint EntryVerifier::checkAliases(size_t begin, size_t end,
                                      const std::vector<RangeAccess> &ranges) const {
  for (size_t w = begin; w < end; ++w) {
    if (!uses[w].write)
      continue;
    for (size_t other = begin; other < end; ++other) {
      const RangeAccess &a = ranges[w], &b = ranges[other];
      if (other == w || a.buffer != b.buffer || a.first > b.last || b.first > a.last ||
          uses[w].empty || uses[other].empty)
        continue;
      if (mayBeInPlace(entry.ops[a.op]) && a.first == b.first && a.last == b.last)
        continue;
      return std::string(uses[w].role) + " and " + uses[other].role + " overlap in buffer " +
             std::to_string(a.buffer) + ": elements " + std::to_string(a.first) + " to " +
             std::to_string(a.last) + " and " + std::to_string(b.first) + " to " +
             std::to_string(b.last);
    }
  }
  return "";
}

Complaint EntryVerifier::checkValues(const Op &op, const std::vector<int64_t> &coordinates) const {
  auto within = [&](const char *what, const RankValue &value, int64_t high) -> Complaint {
    int64_t v = evaluate(value, plan.mesh, coordinates);
    if (v >= 0 && v <= high)
      return "";
    return std::string(what) + " is " + std::to_string(v) + ", expected 0 to " +
           std::to_string(high);
  };
  Complaint c;
  if (const auto *gather = std::get_if<GatherRows>(&op.body)) {
    c = within("base", gather->base, limits::elements);
    return c.empty() ? within("rows", gather->rows, gather->table.sizes[0]) : c;
  }
  if (const auto *take = std::get_if<Take>(&op.body)) {
    c = within("base", take->base, limits::elements);
    return c.empty() ? within("rows", take->rows, take->x.sizes[take->dim]) : c;
  }
  if (const auto *attention = std::get_if<Attention>(&op.body))
    return within("position", attention->position, limits::elements);
  if (const auto *fill = std::get_if<Fill>(&op.body))
    return within("from", fill->from, limits::elements);
  return c;
}

/// A fill defines only what it fills: indices of `dim` from `from` on.
void EntryVerifier::narrowFill(const Fill &fill, int64_t from, RangeAccess &range) const {
  if (fill.dim < 0)
    return;
  int64_t size = fill.out.sizes[fill.dim];
  from = std::min(from, size);
  range.elements = range.elements / size * (size - from);
  range.definedFirst = range.first + from * fill.out.strides[fill.dim];
  if (from == size)
    range.definedLast = range.definedFirst - 1;
}

Complaint EntryVerifier::check(const std::vector<int64_t> &coordinates) {
  std::vector<RangeAccess> ranges(uses.size());
  std::vector<int64_t> key;
  for (size_t i = 0; i < uses.size(); ++i) {
    const Use &use = uses[i];
    RangeAccess &range = ranges[i];
    range.op = use.op;
    range.buffer = use.operand->buffer;
    range.write = use.write;
    if (use.empty)
      continue;
    int64_t size = entry.buffers[range.buffer].elements;
    range.first = range.definedFirst = evaluate(use.operand->offset, plan.mesh, coordinates);
    range.last = range.definedLast = range.first + use.reach;
    range.elements = use.elements;
    if (range.first < 0 || range.last >= size)
      return describeOp(entry, use.op) + ": " + use.role + " touches elements " +
             std::to_string(range.first) + " to " + std::to_string(range.last) + " of buffer " +
             std::to_string(range.buffer) + ", which has " + std::to_string(size);
    if (use.operand->offset.kind != RankValue::Kind::Constant)
      key.push_back(range.first);
    if (const auto *fill = std::get_if<Fill>(&entry.ops[use.op].body)) {
      int64_t from = evaluate(fill->from, plan.mesh, coordinates);
      if (from >= 0 && from <= limits::elements) // Otherwise checkValues complains below.
        narrowFill(*fill, from, range);
      if (fill->from.kind != RankValue::Kind::Constant)
        key.push_back(from);
    }
  }
  for (size_t i = 0; i < entry.ops.size(); ++i)
    if (Complaint c = checkValues(entry.ops[i], coordinates); !c.empty())
      return describeOp(entry, int32_t(i)) + ": " + c;
  if (accepted.count(key))
    return "";
  for (size_t begin = 0, end; begin < uses.size(); begin = end) {
    for (end = begin + 1; end < uses.size() && uses[end].op == uses[begin].op;)
      ++end;
    if (Complaint c = checkAliases(begin, end, ranges); !c.empty())
      return describeOp(entry, uses[begin].op) + ": " + c;
  }
  if (Complaint c = checkHazards(entry, order, ranges); !c.empty())
    return c;
  accepted.insert(std::move(key));
  return "";
}

/// The plan with all its entries prepared.
class PlanVerifier {
public:
  explicit PlanVerifier(const Plan &plan) : plan(plan) {}

  Status prepare() {
    if (Complaint c = checkMesh(plan); !c.empty())
      return refuse(c);
    if (plan.packBudget < 0 || plan.weightsBytesUnsharded < 0)
      return refuse("pack budget or bytes of weights are negative");
    if (plan.weights.size() > limits::weights)
      return refuse("plan has " + std::to_string(plan.weights.size()) +
                    " weights, expected at most " + std::to_string(limits::weights));
    for (size_t i = 0; i < plan.weights.size(); ++i)
      if (Complaint c = checkWeight(plan, plan.weights[i]); !c.empty())
        return refuse("weight " + std::to_string(i) + " '" + plan.weights[i].name + "': " + c);
    if (plan.entries.empty() || plan.entries.size() > limits::entries)
      return refuse("plan has " + std::to_string(plan.entries.size()) + " entries, expected 1 to " +
                    std::to_string(limits::entries));
    if (Complaint c = checkNames(plan.entries, "entry"); !c.empty())
      return refuse(c);
    entries.reserve(plan.entries.size());
    for (const Entry &entry : plan.entries) {
      entries.emplace_back(plan, entry);
      if (Complaint c = entries.back().prepare(); !c.empty())
        return refuse("entry '" + entry.name + "', " + c);
    }
    return {};
  }

  Status check(int64_t rank) {
    std::vector<int64_t> mine = coordinates(plan.mesh, rank);
    for (size_t i = 0; i < entries.size(); ++i)
      if (Complaint c = entries[i].check(mine); !c.empty())
        return refuse("entry '" + plan.entries[i].name + "', " + c + " (rank " +
                      std::to_string(rank) + ")");
    return {};
  }

private:
  const Plan &plan;
  std::vector<EntryVerifier> entries;
};

} // namespace

Status verify(const Plan &plan, int64_t rank) {
  PlanVerifier verifier(plan);
  if (Status status = verifier.prepare(); !status.ok())
    return status;
  if (rank < 0 || rank >= worldSize(plan))
    return refuse("rank " + std::to_string(rank) + " of a plan for " +
                  std::to_string(worldSize(plan)) + " ranks");
  return verifier.check(rank);
}

Status verifyAll(const Plan &plan) {
  PlanVerifier verifier(plan);
  if (Status status = verifier.prepare(); !status.ok())
    return status;
  for (int64_t rank = 0; rank < worldSize(plan); ++rank)
    if (Status status = verifier.check(rank); !status.ok())
      return status;
  return {};
}

} // namespace tenon::plan
