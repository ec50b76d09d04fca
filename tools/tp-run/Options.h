// SPDX-License-Identifier: Apache-2.0
// The command line of tp-run as a struct.
#pragma once

#include "tenon/runtime/Status.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tenon::tools {

inline constexpr const char *kVersion = "tp-run 0.1.0";

struct Options {
  std::string plan;
  std::vector<std::string> parameters;
  std::map<std::string, std::string> inputs, outputs, expected; ///< Name -> file.
  double rtol = 1e-5, atol = 1e-6;
  std::string entry;
  std::string device = "cpu";
  int threads = 1;
  int iters = 1, warmup = 0;
  std::string json, trace, dumpValues;
  double timeout = 60;
  std::optional<uint64_t> randomInputs, randomWeights;
  bool dryRun = false, verify = false, checkCollectives = false, checkFinite = false;
  bool localRanks = false, report = false, quiet = false, allowPlacement = false;
  std::vector<std::string> inject;
};

/// Reads the command line. Fails with Code::Usage and one message; `help` is set to the text to print for --help and
/// --version.
Expected<Options> parseOptions(int argc, char **argv, std::string &help);

} // namespace tenon::tools
