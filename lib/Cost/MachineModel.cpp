// SPDX-License-Identifier: Apache-2.0
// Reads machine files strictly: a constant that is missing, not positive or unknown is an error
// that names it.

#include "tenon/Cost/MachineModel.h"

#include "ShippedMachines.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace tenon::cost {

std::string MachineModel::digest() const {
  // FNV-1a, 64 bits: a fingerprint for people, not a signature.
  uint64_t hash = 1469598103934665603ull;
  for (unsigned char c : text)
    hash = (hash ^ c) * 1099511628211ull;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

namespace {

/// Reads a positive number; says what is wrong with it otherwise.
bool readPositive(const nlohmann::json &object, const char *key, const std::string &where,
                  double &value, std::string &error) {
  if (!object.contains(key) || !object[key].is_number()) {
    error = where + ": constant '" + key + "' is missing or not a number";
    return false;
  }
  value = object[key].get<double>();
  if (!(value > 0) || !std::isfinite(value)) {
    error = where + ": constant '" + key + "' must be positive, found " + object[key].dump();
    return false;
  }
  return true;
}

/// Refuses keys that nothing reads: a misspelt constant must not pass silently.
bool knows(const nlohmann::json &object, std::initializer_list<const char *> keys,
           const std::string &where, std::string &error) {
  for (const auto &[key, value] : object.items())
    if (std::none_of(keys.begin(), keys.end(),
                     [&, &key = key](const char *known) { return key == known; })) {
      error = where + ": unknown constant '" + key + "'; expected one of:";
      for (const char *known : keys)
        error += std::string(" ") + known;
      return false;
    }
  return true;
}

bool readMatMul(const nlohmann::json &json, const std::string &where, MachineModel &machine,
                std::string &error) {
  if (!json.is_object()) {
    error = where + " is not an object";
    return false;
  }
  MatMulUnits &units = machine.matmul.emplace();
  return knows(json, {"units", "depth"}, where, error) &&
         readPositive(json, "units", where, units.units, error) &&
         readPositive(json, "depth", where, units.depth, error);
}

bool readNccl(const nlohmann::json &json, const std::string &where, MachineModel &machine,
              std::string &error) {
  static const std::map<std::string, NcclMachine::Generation> generations{
      {"ampere", NcclMachine::Generation::Ampere},
      {"hopper", NcclMachine::Generation::Hopper},
      {"blackwell", NcclMachine::Generation::Blackwell}};
  NcclMachine &nccl = machine.nccl.emplace();
  auto word = [&](const char *key) {
    return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
  };
  if (!json.is_object()) {
    error = where + " is not an object";
    return false;
  }
  double channels = 0;
  if (!knows(json, {"generation", "link", "intra_bus", "inter_bus", "nvls_bus", "channels"}, where,
             error) ||
      !readPositive(json, "intra_bus", where, nccl.intraBus, error) ||
      !readPositive(json, "inter_bus", where, nccl.interBus, error) ||
      !readPositive(json, "channels", where, channels, error) ||
      (json.contains("nvls_bus") && !readPositive(json, "nvls_bus", where, nccl.nvlsBus, error)))
    return false;
  auto generation = generations.find(word("generation"));
  if (generation == generations.end() || (word("link") != "nvlink" && word("link") != "pci")) {
    error = where + ": expected 'generation' ampere, hopper or blackwell and 'link' nvlink or pci";
    return false;
  }
  nccl.generation = generation->second;
  nccl.nvlink = word("link") == "nvlink";
  nccl.channels = std::max<int64_t>(1, static_cast<int64_t>(channels));
  return true;
}

/// Reads a list of positive numbers that ascend where `ascending`.
bool readPoints(const nlohmann::json &json, const char *key, const std::string &where,
                bool ascending, std::vector<double> &values, std::string &error) {
  const bool isList = json.is_object() && json.contains(key) && json[key].is_array();
  for (const nlohmann::json &value : isList ? json[key] : nlohmann::json::array()) {
    const double number = value.is_number() ? value.get<double>() : 0;
    if (!(number > 0) || !std::isfinite(number) ||
        (ascending && !values.empty() && number <= values.back())) {
      error = where + ": '" + key + "' must hold positive numbers" +
              (ascending ? " that ascend" : "") + ", found " + value.dump();
      return false;
    }
    values.push_back(number);
  }
  if (values.empty()) {
    error = where + ": '" + key + "' is missing or not a list of numbers";
    return false;
  }
  return true;
}

bool readCurve(const nlohmann::json &json, const std::string &where, Curve &curve,
               std::string &error) {
  if (!readPoints(json, "bytes", where, true, curve.bytes, error) ||
      !readPoints(json, "seconds", where, false, curve.seconds, error))
    return false;
  if (curve.bytes.size() != curve.seconds.size()) {
    error = where + ": 'bytes' and 'seconds' have different lengths";
    return false;
  }
  return true;
}

bool readGrids(const nlohmann::json &json, const std::array<const char *, 3> &axes,
               const std::string &where, std::map<std::string, Grid> &grids, std::string &error) {
  if (!json.is_object()) {
    error = where + " is not an object";
    return false;
  }
  for (const auto &[type, value] : json.items()) {
    const std::string place = where + " " + type;
    Grid &grid = grids[type];
    size_t points = 1;
    for (size_t d = 0; d < 3; ++d) {
      if (!readPoints(value, axes[d], place, true, grid.axes[d], error))
        return false;
      points *= grid.axes[d].size();
    }
    if (!readPoints(value, "seconds", place, false, grid.seconds, error))
      return false;
    if (grid.seconds.size() != points) {
      error = place + ": expected " + std::to_string(points) + " seconds, found " +
              std::to_string(grid.seconds.size());
      return false;
    }
  }
  return true;
}

bool readMeasured(const nlohmann::json &json, const std::string &where, MachineModel &machine,
                  std::string &error) {
  if (!json.is_object()) {
    error = where + " is not an object";
    return false;
  }
  if (!knows(
          json,
          {"matmul", "attention", "causal", "masked", "memory", "per_element", "collectives", "on"},
          where, error))
    return false;
  Measured &measured = machine.measured.emplace();
  for (const char *key :
       {"matmul", "attention", "causal", "masked", "memory", "per_element", "collectives"})
    if (!json.contains(key)) {
      error = where + ": '" + key + "' is missing";
      return false;
    }
  if (!readGrids(json["matmul"], {"m", "n", "k"}, where + " matmul", measured.matmul, error) ||
      !readGrids(json["attention"], {"queries", "keys", "depth"}, where + " attention",
                 measured.attention, error) ||
      !readGrids(json["causal"], {"queries", "keys", "depth"}, where + " causal", measured.causal,
                 error) ||
      !readPositive(json, "masked", where, measured.masked, error) ||
      !readCurve(json["memory"], where + " memory", measured.memory, error))
    return false;
  if (!json["per_element"].is_object() || !json["collectives"].is_array()) {
    error = where + ": expected an object 'per_element' and a list 'collectives'";
    return false;
  }
  for (const auto &[function, value] : json["per_element"].items())
    if (!readPositive(json["per_element"], function.c_str(), where + " per_element",
                      measured.perElement[function], error))
      return false;
  for (const nlohmann::json &value : json["collectives"]) {
    MeasuredCollective &collective = measured.collectives.emplace_back();
    const std::string place = where + " collectives";
    double ranks = 0;
    if (!value.is_object() || !value.contains("kind") || !value["kind"].is_string()) {
      error = place + ": 'kind' is missing";
      return false;
    }
    collective.kind = value["kind"].get<std::string>();
    if (!knows(value, {"kind", "ranks", "bytes", "seconds"}, place, error) ||
        !readPositive(value, "ranks", place, ranks, error) ||
        !readCurve(value, place + " " + collective.kind, collective.time, error))
      return false;
    collective.ranks = static_cast<int64_t>(ranks);
    if (collective.ranks < 2) {
      error = place + " " + collective.kind + ": expected at least 2 ranks";
      return false;
    }
  }
  return true;
}

} // namespace

std::optional<MachineModel> parseMachine(const std::string &text, std::string &error) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    error = "machine model is not a JSON object";
    return std::nullopt;
  }
  MachineModel machine;
  machine.text = text;
  if (!json.contains("name") || !json["name"].is_string()) {
    error = "machine model: 'name' is missing or not a string";
    return std::nullopt;
  }
  machine.name = json["name"].get<std::string>();
  const std::string where = "machine '" + machine.name + "'";
  if (!knows(json,
             {"name", "peak_flops", "memory_bandwidth", "memory_bytes", "launch_s", "axes",
              "matmul", "nccl", "measured"},
             where, error))
    return std::nullopt;
  if (!json.contains("peak_flops") || !json["peak_flops"].is_object() ||
      !json["peak_flops"].contains("f32")) {
    error = where + ": constant 'peak_flops' needs at least 'f32'";
    return std::nullopt;
  }
  if (!knows(json["peak_flops"], {"f32", "bf16", "f16"}, where + " peak_flops", error))
    return std::nullopt;
  for (const auto &[type, value] : json["peak_flops"].items())
    if (!readPositive(json["peak_flops"], type.c_str(), where + " peak_flops",
                      machine.peakFlops[type], error))
      return std::nullopt;
  if (!readPositive(json, "memory_bandwidth", where, machine.memoryBandwidth, error) ||
      !readPositive(json, "memory_bytes", where, machine.memoryBytes, error) ||
      !readPositive(json, "launch_s", where, machine.launch, error))
    return std::nullopt;
  if (!json.contains("axes") || !json["axes"].is_array() || json["axes"].empty()) {
    error = where + ": 'axes' must be a list with one entry per kind of link, fastest first";
    return std::nullopt;
  }
  for (const nlohmann::json &axis : json["axes"]) {
    Link link;
    if (!axis.is_object()) {
      error = where + ": an entry of 'axes' is not an object";
      return std::nullopt;
    }
    if (!knows(axis, {"alpha_s", "hop_s", "bandwidth"}, where + " axes", error) ||
        !readPositive(axis, "alpha_s", where + " axes", link.alpha, error) ||
        !readPositive(axis, "hop_s", where + " axes", link.hop, error) ||
        !readPositive(axis, "bandwidth", where + " axes", link.bandwidth, error))
      return std::nullopt;
    machine.links.push_back(link);
  }
  if ((json.contains("matmul") && !readMatMul(json["matmul"], where + " matmul", machine, error)) ||
      (json.contains("nccl") && !readNccl(json["nccl"], where + " nccl", machine, error)) ||
      (json.contains("measured") &&
       !readMeasured(json["measured"], where + " measured", machine, error)))
    return std::nullopt;
  return machine;
}

std::vector<std::string> shippedMachines() {
  std::vector<std::string> names;
  for (const ShippedMachine &machine : kShippedMachines)
    names.push_back(machine.name);
  return names;
}

std::optional<MachineModel> loadMachine(const std::string &nameOrPath, std::string &error) {
  for (const ShippedMachine &machine : kShippedMachines)
    if (nameOrPath == machine.name)
      return parseMachine(machine.text, error);
  std::ifstream file(nameOrPath);
  if (!file) {
    error = "unknown machine '" + nameOrPath + "'; expected a JSON file or one of:";
    for (const std::string &name : shippedMachines())
      error += " " + name;
    return std::nullopt;
  }
  std::stringstream text;
  text << file.rdbuf();
  std::optional<MachineModel> machine = parseMachine(text.str(), error);
  if (!machine)
    error = nameOrPath + ": " + error;
  return machine;
}

} // namespace tenon::cost
