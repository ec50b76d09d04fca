// SPDX-License-Identifier: Apache-2.0
#include "Options.h"

#include "tenon/runtime/exec/FaultInjection.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <thread>

namespace tenon::tprun {
namespace {

Status splitNamed(const char *flag, const std::vector<std::string> &texts,
                  std::vector<NamedFile> &files) {
  for (const std::string &text : texts) {
    size_t at = text.find("=@");
    if (at == std::string::npos || at == 0 || at + 2 == text.size())
      return Status(Code::Usage, std::string(flag) + ": expected NAME=@FILE, found '" + text + "'");
    NamedFile file{text.substr(0, at), text.substr(at + 2)};
    for (const NamedFile &other : files)
      if (other.first == file.first)
        return Status(Code::Usage, std::string(flag) + ": '" + file.first + "' is given twice");
    files.push_back(std::move(file));
  }
  return Status();
}

Status parseSeed(const char *flag, const std::string &text, std::optional<uint64_t> &seed) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return Status(Code::Usage, std::string(flag) +
                                   ": expected a number from 0 to 2^64 - 1, found '" + text + "'");
  seed = value;
  return Status();
}

std::string firstLine(const std::string &text) { return text.substr(0, text.find('\n')); }

/// Options as CLI11 reads them, to be checked.
struct RawOptions {
  std::vector<std::string> inputs, outputs, expected;
  std::string inputSeed, weightSeed;
  std::string graph, reduceType = "own";
  int lone = 0;
  bool calibrate = false;
  std::string machine;
  CLI::Option *randomInputs = nullptr, *randomWeights = nullptr, *loneRank = nullptr;
  bool version = false;
};

void declare(CLI::App &app, Options &options, RawOptions &raw) {
  app.add_option("plan", options.plan, "Plan file")->type_name("PLAN");
  app.add_option("--parameters", options.parameters,
                 "Safetensors files, or directories of such, separated by commas")
      ->delimiter(',')
      ->type_name("PATHS");
  app.add_option("--input", raw.inputs, "Value of an input as .npy; once per input")
      ->type_name("NAME=@FILE");
  app.add_option("--output", raw.outputs,
                 "Where an output goes as .npy; without any, a summary is printed")
      ->type_name("NAME=@FILE");
  app.add_option("--expected-output", raw.expected,
                 "Compares an output with a .npy; exits 8 if it differs")
      ->type_name("NAME=@FILE");
  app.add_option("--rtol", options.rtol, "Tolerance relative to the expected value")
      ->capture_default_str();
  app.add_option("--atol", options.atol, "Absolute tolerance")->capture_default_str();
  app.add_option("--entry", options.entry, "Entry point (default: the plan's first)");
  app.add_option("--device", options.device, "Device: cpu or cuda")->capture_default_str();
  app.add_option("--isa", options.isa, "Highest instruction set: sse2, avx2 or avx512");
  app.add_option("--threads", options.threads, "Threads per rank (default: cores over ranks)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--iters", options.iterations, "Timed steps")
      ->check(CLI::Range(1, 1000000000))
      ->capture_default_str();
  app.add_option("--warmup", options.warmup, "Steps before them")
      ->check(CLI::Range(0, 1000000000))
      ->capture_default_str();
  app.add_option("--json", options.json, "Writes the report as JSON")->type_name("FILE");
  app.add_option("--trace", options.trace, "Writes the last step as a Chrome trace")
      ->type_name("FILE");
  app.add_option("--dump-values", options.dumpValues, "Writes what every op of the first step made")
      ->type_name("DIR");
  app.add_flag("--report", options.report, "Prints the times of all ops and collectives");
  app.add_flag("-q,--quiet", options.quiet, "Prints nothing but outputs and errors");
  app.add_option("--timeout", options.timeout, "Seconds that one op of a step may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  raw.randomInputs = app.add_option("--random-inputs", raw.inputSeed,
                                    "Makes inputs that are not given from a seed")
                         ->type_name("SEED");
  raw.randomWeights = app.add_option("--random-weights", raw.weightSeed,
                                     "Makes weights that no file holds from a seed")
                          ->type_name("SEED");
  app.add_flag("--calibrate", raw.calibrate,
               "Measures kernels and collectives on these ranks instead of running a plan");
  app.add_option("-o,--machine", raw.machine,
                 "With --calibrate: the machine file to write, for tp-opt's machine=")
      ->type_name("FILE");
  app.add_flag("--quick", options.calibrateQuick,
               "With --calibrate: a few points only, to see that it works");
  app.add_option("--ranks", options.ranks, "With --calibrate --local-ranks: how many")
      ->check(CLI::Range(1, 256));
  app.add_flag("--dry-run", options.dryRun,
               "Checks everything up to memory, loads and runs nothing");
  app.add_flag("--verify", options.verifyOnly, "Verifies the plan for every rank and exits 0 or 3");
  app.add_flag("--check-collectives", options.checkCollectives,
               "Compares what all ranks bring to each collective");
  app.add_flag(
      "--check-finite", options.checkFinite,
      "Exits 8 after the first op that makes a NaN, or an infinity in a sum (padding included)");
  app.add_flag("--local-ranks", options.localRanks, "Ranks are threads of this process");
  app.add_flag("--messages", options.messages, "MPI by messages only, without shared memory");
  app.add_flag("--allow-placement", options.allowPlacement,
               "Accepts ranks of the mesh's last axis on several nodes");
  app.add_option("--graph", raw.graph,
                 "Records a step after the first and replays it: on or off (default: on for cuda)")
      ->type_name("on|off");
  app.add_flag("--tf32", options.tf32, "cuda: f32 matmuls may round their operands to TF32");
  app.add_option("--reduce-dtype", raw.reduceType,
                 "cuda: type in which bf16 and f16 sums travel: f32, or own")
      ->type_name("f32|own")
      ->capture_default_str();
  app.add_option(
         "--collectives", options.collectives,
         "cuda: nccl, host (through host memory), or auto: nccl where it works on all ranks")
      ->type_name("auto|nccl|host")
      ->capture_default_str();
  app.add_flag("--oversubscribe-gpu", options.oversubscribeGpu,
               "cuda: several ranks may share a GPU; for tests only");
  raw.loneRank =
      app.add_option("--lone-rank", raw.lone,
                     "Runs this rank of the plan alone: collectives copy, so that values mean "
                     "nothing; for timing")
          ->type_name("RANK");
  app.add_flag("--version", raw.version, "Prints the version");
  CLI::Option *inject = app.add_option("--inject", options.inject, "Puts a fault into a rank")
                            ->type_name("RANK:POINT:KIND");
  if (!runtime::kFaultInjection)
    inject->group(""); // hidden
  for (CLI::Option *option : app.get_options())
    if (option->get_items_expected_max() > 1)
      option->allow_extra_args(false);
}

Status usage(const std::string &what) {
  return Status(Code::Usage, firstLine(what) + " (tp-run --help lists the options)");
}

/// The options that speak of graphs and GPUs.
Status checkGpu(Options &options, const RawOptions &raw) {
  if (!raw.graph.empty() && raw.graph != "on" && raw.graph != "off")
    return usage("--graph: expected on or off, found '" + raw.graph + "'");
  if (!raw.graph.empty())
    options.graph = raw.graph == "on";
  if (raw.reduceType != "f32" && raw.reduceType != "own")
    return usage("--reduce-dtype: expected f32 or own, found '" + raw.reduceType + "'");
  options.reduceF32 = raw.reduceType == "f32";
  if (options.collectives != "auto" && options.collectives != "nccl" &&
      options.collectives != "host")
    return usage("--collectives: expected auto, nccl or host, found '" + options.collectives + "'");
  if (raw.loneRank->count()) {
    if (raw.lone < 0)
      return usage("--lone-rank: expected a rank from 0, found " + std::to_string(raw.lone));
    options.loneRank = raw.lone;
    if (options.localRanks)
      return usage("--lone-rank and --local-ranks exclude each other");
  }
  if (options.device == "cuda")
    return Status();
  for (auto [flag, given] : {std::pair("--tf32", options.tf32),
                             std::pair("--oversubscribe-gpu", options.oversubscribeGpu),
                             std::pair("--reduce-dtype", options.reduceF32),
                             std::pair("--collectives", options.collectives != "auto")})
    if (given)
      return usage(std::string(flag) + " needs --device=cuda");
  return Status();
}

/// What the form of an option cannot say.
Status check(Options &options, const RawOptions &raw) {
  if (raw.calibrate) {
    if (!options.plan.empty())
      return usage("--calibrate takes no plan, found " + options.plan);
    if (raw.machine.empty())
      return usage("--calibrate needs -o FILE");
    if (options.localRanks && options.ranks == 0)
      return usage("--calibrate --local-ranks needs --ranks=N");
    options.calibrate = raw.machine;
  } else if (!raw.machine.empty() || options.calibrateQuick || options.ranks) {
    return usage("-o, --quick and --ranks go with --calibrate");
  } else if (options.plan.empty()) {
    return usage("expected a plan file");
  }
  if (raw.randomInputs->count())
    if (Status status = parseSeed("--random-inputs", raw.inputSeed, options.randomInputs); !status)
      return status;
  if (raw.randomWeights->count())
    if (Status status = parseSeed("--random-weights", raw.weightSeed, options.randomWeights);
        !status)
      return status;
  if (options.device != "cpu" && options.device != "cuda")
    return usage("--device: expected cpu or cuda, found '" + options.device + "'");
  if (Status status = checkGpu(options, raw); !status)
    return status;
  if (!std::isfinite(options.timeout) || options.timeout > 1e6)
    return usage("--timeout: expected at most 1e6 seconds");
  for (double tolerance : {options.rtol, options.atol})
    if (!(tolerance >= 0) || !std::isfinite(tolerance))
      return usage("--rtol and --atol: expected finite numbers that are not negative");
  if (options.threads > 4 * int(std::max(1u, std::thread::hardware_concurrency())))
    return usage("--threads: expected at most four per processor, found " +
                 std::to_string(options.threads));
  for (auto [flag, texts, files] :
       {std::tuple("--input", &raw.inputs, &options.inputs),
        std::tuple("--output", &raw.outputs, &options.outputs),
        std::tuple("--expected-output", &raw.expected, &options.expectedOutputs)})
    if (Status status = splitNamed(flag, *texts, *files); !status)
      return status;
  return Status();
}

} // namespace

std::string versionText() { return std::string("tp-run ") + TENON_VERSION; }

Expected<Parsed> parseOptions(int argc, char **argv) {
  Parsed parsed;
  RawOptions raw;
  CLI::App app(
      "Runs one step, or many, of a plan that tp-opt has made.\n"
      "  mpirun -n N tp-run PLAN ...      N processes, N as the plan's mesh says\n"
      "  tp-run PLAN --local-ranks ...    the same as threads of one process, without MPI\n"
      "  mpirun -n N tp-run --calibrate -o machine.json    measures this machine",
      "tp-run");
  declare(app, parsed.options, raw);
  // An empty value would take the next option for one.
  for (int i = 1; i < argc; ++i)
    if (std::string text = argv[i];
        text.size() > 2 && text.starts_with("--") && text.find('=') == text.size() - 1)
      return usage("expected a value behind " + text);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    parsed.text = app.help();
    return parsed;
  } catch (const CLI::ParseError &error) {
    return usage(error.what());
  }
  if (raw.version) {
    parsed.text = versionText() + "\n";
    return parsed;
  }
  if (Status status = check(parsed.options, raw); !status)
    return status;
  return parsed;
}

} // namespace tenon::tprun
