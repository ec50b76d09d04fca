// SPDX-License-Identifier: Apache-2.0
#include "Options.h"

#include <CLI/CLI.hpp>

namespace tenon::tools {

namespace {

/// NAME=@FILE pairs.
Status readPairs(const std::vector<std::string> &texts, const char *flag, std::map<std::string, std::string> &pairs) {
  for (const std::string &text : texts) {
    size_t at = text.find("=@");
    if (at == std::string::npos || at == 0 || at + 2 == text.size())
      return Status(Code::Usage, std::string(flag) + ": expected NAME=@FILE.npy, found '" + text + "'");
    if (!pairs.emplace(text.substr(0, at), text.substr(at + 2)).second)
      return Status(Code::Usage, std::string(flag) + ": '" + text.substr(0, at) + "' is given twice");
  }
  return {};
}

} // namespace

Expected<Options> parseOptions(int argc, char **argv, std::string &help) {
  Options options;
  std::vector<std::string> inputs, outputs, expected;
  std::string parameters;
  uint64_t randomInputs = 0, randomWeights = 0;
  CLI::App app{"Runs a plan on the ranks of this MPI world, or on threads with --local-ranks."};
  app.set_version_flag("--version", kVersion);
  app.add_option("plan", options.plan, "Plan file")->required();
  app.add_option("--parameters", parameters, "Checkpoint directories and files, separated by commas");
  app.add_option("--input", inputs, "NAME=@FILE.npy; one per input")->allow_extra_args(false);
  app.add_option("--output", outputs, "NAME=@FILE.npy; without it outputs are printed")->allow_extra_args(false);
  app.add_option("--expected-output", expected, "NAME=@FILE.npy to compare with")->allow_extra_args(false);
  app.add_option("--rtol", options.rtol, "Relative tolerance of --expected-output");
  app.add_option("--atol", options.atol, "Absolute tolerance of --expected-output");
  app.add_option("--entry", options.entry, "Entry point; the first by default");
  app.add_option("--device", options.device, "cpu");
  app.add_option("--threads", options.threads, "Threads per rank")->check(CLI::Range(1, 1024));
  app.add_option("--iters", options.iters, "Timed steps")->check(CLI::Range(1, 1000000));
  app.add_option("--warmup", options.warmup, "Steps before the timed ones")->check(CLI::Range(0, 1000000));
  app.add_option("--json", options.json, "File that gets the report as JSON");
  app.add_option("--trace", options.trace, "File that gets a Chrome trace of the last step");
  app.add_option("--timeout", options.timeout, "Seconds that one op of a step may take")->check(CLI::PositiveNumber);
  CLI::Option *randomInputsFlag = app.add_option("--random-inputs", randomInputs, "Draw the inputs from this seed");
  CLI::Option *randomWeightsFlag = app.add_option("--random-weights", randomWeights, "Draw weights that no file holds from this seed");
  app.add_option("--dump-values", options.dumpValues, "Directory that gets what every op wrote");
  app.add_flag("--dry-run", options.dryRun, "Stop after everything is prepared");
  app.add_flag("--verify", options.verify, "Verify the plan for every rank and stop");
  app.add_flag("--check-collectives", options.checkCollectives, "Compare every collective among its ranks");
  app.add_flag("--check-finite", options.checkFinite, "Stop at the first op that writes a NaN or an infinity");
  app.add_flag("--local-ranks", options.localRanks, "Ranks are threads of this process");
  app.add_flag("--report", options.report, "Print times of every op and collective");
  app.add_flag("--allow-placement", options.allowPlacement, "Run even where an axis of one node crosses nodes");
  app.add_option("--inject", options.inject, "RANK:POINT:KIND, for tests")->allow_extra_args(false)->group("");
  app.add_flag("-q,--quiet", options.quiet, "Print nothing but outputs and errors");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    help = app.help();
    return options;
  } catch (const CLI::CallForVersion &) {
    help = std::string(kVersion) + "\n";
    return options;
  } catch (const CLI::ParseError &error) {
    return Status(Code::Usage, std::string(error.what()) + "; see tp-run --help");
  }
  for (size_t at = 0; at < parameters.size();) {
    size_t end = std::min(parameters.find(',', at), parameters.size());
    if (end > at)
      options.parameters.push_back(parameters.substr(at, end - at));
    at = end + 1;
  }
  if (*randomInputsFlag)
    options.randomInputs = randomInputs;
  if (*randomWeightsFlag)
    options.randomWeights = randomWeights;
  for (const auto &[texts, flag, pairs] : {std::tuple{&inputs, "--input", &options.inputs}, std::tuple{&outputs, "--output", &options.outputs},
                                           std::tuple{&expected, "--expected-output", &options.expected}})
    if (Status status = readPairs(*texts, flag, *pairs); !status)
      return status;
  if (options.device != "cpu")
    return options.device == "cuda" ? Status(Code::Plan, "this tp-run is built without CUDA; expected --device=cpu")
                                    : Status(Code::Usage, "unknown device '" + options.device + "'; expected cpu");
  return options;
}

} // namespace tenon::tools
