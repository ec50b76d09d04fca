// SPDX-License-Identifier: Apache-2.0
#include "tenon/Target/PlanJson.h"

#include "tenon/runtime/plan/Access.h"

#include "llvm/Support/JSON.h"

#include <algorithm>
#include <numeric>

using namespace tenon;
using namespace tenon::plan;

namespace {

class JsonWriter {
public:
  JsonWriter(const Plan &plan, llvm::raw_ostream &os) : plan(plan), json(os, 1) {}
  void write();

private:
  void text(llvm::StringRef name, const std::string &value);
  void parsed(llvm::StringRef name, const std::string &value);
  void axes(llvm::StringRef name, const Axes &list);
  void axes(llvm::StringRef name, const std::vector<Axes> &lists);
  void shape(const std::vector<int64_t> &sizes);
  void weight(const Weight &weight);
  void ports(llvm::StringRef name, const std::vector<IO> &list);
  void entry(const Entry &entry);
  void collective(const Entry &entry, const Collective &op, const char *kind);

  const Plan &plan;
  llvm::json::OStream json;
};

/// Bytes of arena buffers in use at each op: from their first access, inputs from the start, to
/// their last, outputs to the end.
std::vector<int64_t> liveBytes(const Entry &entry) {
  const size_t count = entry.ops.size();
  std::vector<size_t> first(entry.buffers.size(), count), last(entry.buffers.size(), 0);
  for (size_t i = 0; i < count; ++i)
    for (const Access &access : accesses(entry.ops[i])) {
      const auto buffer = static_cast<size_t>(access.operand->buffer);
      first[buffer] = std::min(first[buffer], i);
      last[buffer] = i;
    }
  for (const IO &input : entry.inputs)
    first[static_cast<size_t>(input.buffer)] = 0;
  for (const IO &output : entry.outputs)
    last[static_cast<size_t>(output.buffer)] = count - 1;
  std::vector<int64_t> change(count + 1, 0);
  for (size_t b = 0; b < entry.buffers.size(); ++b) {
    const Buffer &buffer = entry.buffers[b];
    if (buffer.kind != Buffer::Kind::Arena || first[b] > last[b] || count == 0)
      continue;
    const int64_t bytes = buffer.elements * byteWidth(buffer.type);
    change[first[b]] += bytes;
    change[last[b] + 1] -= bytes;
  }
  std::partial_sum(change.begin(), change.end(), change.begin());
  return change;
}

/// Names may come from a checkpoint and hold any bytes; JSON is UTF-8.
void JsonWriter::text(llvm::StringRef name, const std::string &value) {
  json.attribute(name, llvm::json::isUTF8(value) ? value : llvm::json::fixUTF8(value));
}

/// A member that is JSON already; anything else stays a string.
void JsonWriter::parsed(llvm::StringRef name, const std::string &value) {
  if (llvm::Expected<llvm::json::Value> content = llvm::json::parse(value)) {
    json.attribute(name, *content);
  } else {
    llvm::consumeError(content.takeError());
    text(name, value);
  }
}

void JsonWriter::axes(llvm::StringRef name, const Axes &list) {
  json.attributeArray(name, [&] {
    for (int32_t axis : list)
      json.value(plan.mesh[static_cast<size_t>(axis)].name);
  });
}

void JsonWriter::axes(llvm::StringRef name, const std::vector<Axes> &lists) {
  json.attributeArray(name, [&] {
    for (const Axes &list : lists)
      json.array([&] {
        for (int32_t axis : list)
          json.value(plan.mesh[static_cast<size_t>(axis)].name);
      });
  });
}

void JsonWriter::shape(const std::vector<int64_t> &sizes) {
  json.attributeArray("shape", [&] {
    for (int64_t size : sizes)
      json.value(size);
  });
}

void JsonWriter::weight(const Weight &weight) {
  json.object([&] {
    text("name", weight.name);
    json.attribute("type", plan::name(weight.type));
    json.attribute("bytes_per_rank", weight.elements * byteWidth(weight.type));
    json.attributeArray("parts", [&] {
      for (const WeightPart &part : weight.parts)
        json.object([&] {
          text("key", part.view.key);
          shape(part.view.sizes);
          axes("axes", part.dimAxes);
        });
    });
  });
}

void JsonWriter::ports(llvm::StringRef name, const std::vector<IO> &list) {
  json.attributeArray(name, [&] {
    for (const IO &port : list)
      json.object([&] {
        text("name", port.name);
        json.attribute("type", plan::name(port.type));
        shape(port.shape);
        axes("axes", port.dimAxes);
      });
  });
}

void JsonWriter::collective(const Entry &entry, const Collective &op, const char *kind) {
  int64_t ranks = 1;
  for (int32_t axis : op.axes)
    ranks *= plan.mesh[static_cast<size_t>(axis)].size;
  const DataType type = entry.buffers[static_cast<size_t>(op.x.buffer)].type;
  int64_t bytes = elements(op.x) * byteWidth(type);
  if (op.kind == CollectiveKind::AllGather)
    bytes *= ranks;
  json.attribute("kind", kind);
  axes("axes", op.axes);
  json.attribute("ranks", ranks);
  json.attribute("tensor_bytes", bytes);
  json.attribute("bytes",
                 (op.kind == CollectiveKind::AllReduce ? 2 : 1) * bytes * (ranks - 1) / ranks);
  json.attribute("type", plan::name(type));
  text("cause", op.cause);
}

void JsonWriter::entry(const Entry &entry) {
  const std::vector<int64_t> live = liveBytes(entry);
  json.object([&] {
    text("name", entry.name);
    json.attribute("predicted_us", entry.predictedUs);
    json.attribute("arena_bytes", entry.arenaBytes);
    json.attribute("live_bytes_bound", entry.liveBytesBound);
    ports("inputs", entry.inputs);
    ports("outputs", entry.outputs);
    json.attributeArray("ops", [&] {
      for (size_t i = 0; i < entry.ops.size(); ++i)
        json.object([&] {
          const Op &op = entry.ops[i];
          json.attribute("name", opName(op));
          text("layer", op.location);
          json.attribute("stream", op.stream);
          json.attribute("predicted_us", op.predictedUs);
          json.attribute("live_bytes", live[i]);
          if (const auto *body = std::get_if<Collective>(&op.body))
            collective(entry, *body, opName(op));
        });
    });
  });
}

void JsonWriter::write() {
  int64_t weightBytes = 0;
  for (const Weight &weight : plan.weights)
    weightBytes += weight.elements * byteWidth(weight.type);
  json.object([&] {
    json.attribute("schema", 1);
    text("producer", plan.producer);
    text("model", plan.model);
    text("machine", plan.machine);
    json.attribute("ranks", worldSize(plan));
    json.attributeArray("mesh", [&] {
      for (const MeshAxis &axis : plan.mesh)
        json.object([&] {
          text("name", axis.name);
          json.attribute("size", axis.size);
          text("parent", axis.parent);
        });
    });
    parsed("certificate", plan.certificate);
    parsed("choices", plan.choices.empty() ? "[]" : plan.choices);
    json.attribute("pack_budget", plan.packBudget);
    json.attribute("weights_bytes_unsharded", plan.weightsBytesUnsharded);
    json.attribute("weights_bytes_per_rank", weightBytes);
    json.attributeArray("weights", [&] {
      for (const Weight &each : plan.weights)
        weight(each);
    });
    json.attributeArray("entries", [&] {
      for (const Entry &each : plan.entries)
        entry(each);
    });
  });
}

} // namespace

void tenon::writeJson(const Plan &plan, llvm::raw_ostream &os) {
  JsonWriter(plan, os).write();
  os << '\n';
}
