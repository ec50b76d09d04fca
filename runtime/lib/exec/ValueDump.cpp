// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/ValueDump.h"
#include "tenon/runtime/AtomicFile.h"

#include "tenon/runtime/exec/NpyFile.h"
#include "tenon/runtime/plan/Access.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tenon::runtime {

using nlohmann::json;

// numpy has no bf16 of its own; all 16-bit floats are exact in f32.
static HostArray widened(const HostArray &value) {
  if (value.type != plan::DataType::BF16 && value.type != plan::DataType::F16)
    return value;
  HostArray wide{plan::DataType::F32, value.shape, {}};
  wide.bytes.resize(size_t(value.elements()) * 4);
  for (int64_t i = 0; i < value.elements(); ++i) {
    float element = float(elementAsDouble(value.type, value.bytes.data() + i * 2));
    std::memcpy(wide.bytes.data() + i * 4, &element, 4);
  }
  return wide;
}

static Status makeDirectory(const std::string &path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? Status(Code::Plan, path + ": " + error.message()) : Status();
}

Expected<std::unique_ptr<ValueDump>> ValueDump::create(const std::string &directory, int rank) {
  if (Status status = makeDirectory(directory + "/rank" + std::to_string(rank)); !status)
    return status;
  if (Status status = makeDirectory(directory + "/outputs"); !status)
    return status;
  return std::unique_ptr<ValueDump>(new ValueDump(directory, rank));
}

Status ValueDump::write(Executor &executor, int op) {
  const plan::Op &instruction = executor.entry().ops[size_t(op)];
  for (const plan::Access &access : plan::accesses(instruction)) {
    if (!access.write)
      continue;
    Expected<HostArray> value = executor.operandValue(*access.operand);
    if (!value)
      return value.status();
    char name[64];
    std::snprintf(name, sizeof(name), "rank%d/%05d.%s.npy", rank_, op, access.role);
    if (Status status = writeNpy(directory_ + "/" + name, widened(*value)); !status)
      return status;
    json line = {{"op", op},
                 {"name", plan::opName(instruction)},
                 {"role", access.role},
                 {"location", instruction.location},
                 {"rank", rank_},
                 {"type", plan::name(value->type)},
                 {"shape", value->shape},
                 {"file", name}};
    lines_ += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  return Status();
}

Status ValueDump::finish(const plan::Plan &plan, const plan::Entry &entry,
                         const std::string &digest, const std::vector<HostArray> &outputs,
                         Communicator &mesh) {
  Expected<std::vector<std::string>> all = mesh.gatherStrings(lines_);
  if (!all)
    return all.status();
  if (mesh.rank() != 0)
    return Status();
  json index = {{"schema", 1},         {"model", plan.model},  {"plan_digest", digest},
                {"entry", entry.name}, {"ranks", mesh.size()}, {"values", json::array()}};
  for (const std::string &lines : *all) {
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);)
      index["values"].push_back(json::parse(line, nullptr, false));
  }
  // In order of the ops, ranks side by side.
  std::stable_sort(
      index["values"].begin(), index["values"].end(),
      [](const json &a, const json &b) { return a["op"].get<int>() < b["op"].get<int>(); });
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::string name = "outputs/" + entry.outputs[i].name + ".npy";
    if (Status status = writeNpy(directory_ + "/" + name, widened(outputs[i])); !status)
      return status;
    // As if one more op had made them, whole, on rank 0.
    index["values"].push_back({{"op", entry.ops.size()},
                               {"name", "output " + entry.outputs[i].name},
                               {"role", "output"},
                               {"location", ""},
                               {"rank", 0},
                               {"type", plan::name(outputs[i].type)},
                               {"shape", outputs[i].shape},
                               {"file", name}});
  }
  std::string text = index.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  return writeFileAtomically(directory_ + "/index.json", text.data(), text.size(), nullptr, 0);
}

} // namespace tenon::runtime
