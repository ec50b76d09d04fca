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
  if (!knows(json, {"name", "peak_flops", "memory_bandwidth", "memory_bytes", "launch_s", "axes"},
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
