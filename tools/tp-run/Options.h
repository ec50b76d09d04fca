// SPDX-License-Identifier: Apache-2.0
// Options: tp-run's command line as plain data. What the plan must confirm (entry, names, ranks) is
// checked later; here only the form.
#pragma once

#include "tenon/runtime/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tenon::tprun {

/// NAME=@FILE.
using NamedFile = std::pair<std::string, std::string>;

struct Options {
  std::string plan;
  std::vector<std::string> parameters;
  std::vector<NamedFile> inputs, outputs, expectedOutputs;
  double rtol = 1e-5, atol = 1e-5;
  std::string entry; ///< Empty: the plan's first.
  std::string device = "cpu";
  std::string isa; ///< Empty: the best of the machine.
  int threads = 0; ///< 0: cores of the node over its ranks.
  int64_t iterations = 1, warmup = 0;
  std::string json, trace, dumpValues;
  bool report = false, quiet = false;
  double timeout = 60, startTimeout = 600;
  std::optional<uint64_t> randomInputs, randomWeights;
  bool dryRun = false, verifyOnly = false, checkCollectives = false, checkFinite = false;
  bool localRanks = false;
  bool messages = false;     ///< MPI without shared memory.
  std::optional<bool> graph; ///< Empty: on for a GPU that takes several steps.
  bool tf32 = false, oversubscribeGpu = false;
  bool reduceF32 = false; ///< --reduce-dtype=f32.
  std::string collectives = "auto";
  std::string calibrate; ///< --calibrate: the machine file to write; empty for a run.
  bool calibrateQuick = false;
  int ranks = 0;               ///< Of --calibrate with --local-ranks.
  std::optional<int> loneRank; ///< This process alone, as that rank.
  bool allowPlacement = false;
  std::vector<std::string> inject;
};

struct Parsed {
  Options options;
  /// Text for --help and --version; then nothing is run.
  std::optional<std::string> text;
};

/// Fails with Code::Usage and one line.
Expected<Parsed> parseOptions(int argc, char **argv);

/// "tp-run 0.1.0".
std::string versionText();

} // namespace tenon::tprun
