// SPDX-License-Identifier: Apache-2.0
// tp-solve: a sharding problem from a JSON file, its best choice found and the bound proven to
// stdout as JSON. Reads Tenon's own text form (tp-assign-shardings{dump-problem=FILE}) and that of
// the contest on intra-operator parallelism.

#include "tenon/Solver/ShardingProblem.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

using namespace tenon::solver;
using nlohmann::ordered_json;

namespace {

constexpr int kUsage = 2, kProblem = 3;

/// The contest's files have an object under "nodes", ours a list: enough to tell them apart before
/// they are parsed in full.
bool isContest(const std::string &text) {
  const size_t key = text.find("\"nodes\"");
  const size_t value = key == std::string::npos ? key : text.find_first_of("[{", key);
  return text.find("\"intervals\"") != std::string::npos && value != std::string::npos;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app{"Chooses one strategy per node of a sharding problem at the least cost within its "
               "memory limit."};
  std::string path, output;
  SearchLimits limits;
  int64_t memory = -1;
  bool verbose = false;
  limits.rounds = std::numeric_limits<int64_t>::max();
  app.add_option("file", path, "the problem, JSON")->required();
  app.add_option("--time", limits.seconds, "seconds that a search may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--rounds", limits.rounds, "rounds that a search may take; default: until --time")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", limits.seed, "of the search")->capture_default_str();
  app.add_option("--memory", memory, "bytes, instead of the limit in the file")
      ->check(CLI::NonNegativeNumber);
  app.add_option("-o,--output", output, "where the result goes (default: stdout)");
  app.add_flag("-v,--verbose", verbose, "each better choice, with its time (stderr)");
  app.set_version_flag("--version", "tp-solve " TENON_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }

  const auto start = std::chrono::steady_clock::now();
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    std::fprintf(stderr, "tp-solve: cannot read '%s'\n", path.c_str());
    return kUsage;
  }
  ShardingProblem problem;
  std::string error;
  if (!(isContest(text.str()) ? fromContestJson : fromJson)(text.str(), problem, error)) {
    std::fprintf(stderr, "tp-solve: %s: %s\n", path.c_str(), error.c_str());
    return kProblem;
  }
  if (memory >= 0)
    problem.memoryLimit = memory;
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double reading = elapsed();
  // Reading counts: --time is what a user waits.
  limits.seconds = std::max(0.1, limits.seconds - reading);
  if (verbose)
    limits.onBetter = [&](double objective, double) {
      std::fprintf(stderr, "%8.2f s  %.17g\n", elapsed(), objective);
    };
  const Solution solution = solve(problem, limits);
  if (!solution.feasible) {
    std::fprintf(stderr,
                 solution.exact
                     ? "tp-solve: %s: infeasible: every choice is forbidden or exceeds the memory "
                       "limit\n"
                     : "tp-solve: %s: no choice within the memory limit was found\n",
                 path.c_str());
    return kProblem;
  }
  ordered_json result{{"objective", solution.objective},
                      {"bound", solution.bound},
                      {"gap", solution.objective > 0
                                  ? (solution.objective - solution.bound) / solution.objective
                                  : 0.0},
                      {"proven", solution.exact},
                      {"method", solution.method},
                      {"peak_bytes", peakMemory(problem, solution.choice)},
                      {"seconds", elapsed()},
                      {"reading_seconds", reading},
                      {"choice", solution.choice}};
  if (problem.memoryLimit != kNoLimit)
    result["memory_limit"] = problem.memoryLimit;
  const std::string written = result.dump() + "\n";
  std::ofstream target;
  if (!output.empty()) {
    target.open(output);
    target << written;
    target.close();
  }
  if (output.empty() ? std::fputs(written.c_str(), stdout) < 0 || std::fflush(stdout) != 0
                     : !target) {
    std::fprintf(stderr, "tp-solve: cannot write '%s'\n",
                 output.empty() ? "stdout" : output.c_str());
    return 7;
  }
  return 0;
}
