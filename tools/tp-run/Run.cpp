// SPDX-License-Identifier: Apache-2.0
#include "Run.h"
#include "Report.h"

#include "tenon/runtime/exec/Watchdog.h"
#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"
#include "tenon/runtime/plan/Resolve.h"
#include "tenon/runtime/plan/Verify.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <unistd.h>

namespace tenon::tools {

using nlohmann::json;
using runtime::Communicator;

std::string launchCommand(const Options &options, int64_t ranks) {
  std::string command = "mpirun --oversubscribe --bind-to none ";
  if (geteuid() == 0)
    command += "--allow-run-as-root ";
  return command + "-n " + std::to_string(ranks) + " tp-run " + options.plan + " ...";
}

Status agree(Communicator &world, const Status &mine) {
  // One byte string per rank: the code, then the message.
  Expected<std::vector<std::string>> all = world.gatherStrings(std::to_string(static_cast<int>(mine.code())) + "\n" + mine.message());
  if (!all)
    return all.status();
  for (size_t rank = 0; rank < all->size(); ++rank) {
    const std::string &text = (*all)[rank];
    const Code code = static_cast<Code>(std::atoi(text.c_str()));
    if (code == Code::Ok)
      continue;
    std::string message = text.substr(text.find('\n') + 1);
    if (all->size() > 1)
      message = "rank " + std::to_string(rank) + ": " + message;
    return Status(code, world.rank() == 0 ? message : std::string(runtime::peerFailed));
  }
  return {};
}

namespace {

/// Reads, decodes and verifies the plan for this rank.
Expected<plan::Plan> readPlan(const Options &options, int rank, int64_t ranks, std::string &digest) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  Expected<std::vector<std::byte>> bytes = plan::readBytes(options.plan);
  if (!bytes)
    return Status(Code::Plan, bytes.status().message() + " (on host " + host + ")");
  Expected<plan::Plan> plan = plan::read(*bytes);
  if (!plan)
    return Status(Code::Plan, "'" + options.plan + "': " + plan.status().message());
  digest = plan::digest(*bytes);
  if (!options.verify && plan::worldSize(*plan) != ranks)
    return Status(Code::Usage, "the plan is for " + std::to_string(plan::worldSize(*plan)) + " ranks, this world has " + std::to_string(ranks) +
                                   "; start it with: " + launchCommand(options, plan::worldSize(*plan)));
  if (Status status = options.verify ? plan::verifyAll(*plan) : plan::verify(*plan, rank); !status)
    return status;
  return plan;
}

/// Compares what must be equal on all ranks; the message is a table of the field that differs.
Status handshake(Communicator &world, const Options &options, const std::string &digest, const std::string &device) {
  json mine{{"version", kVersion},       {"plan", digest},
            {"device", device},          {"threads", options.threads},
            {"checked", options.checkCollectives}, {"iters", options.iters}};
  Expected<std::vector<std::string>> all = world.gatherStrings(mine.dump());
  if (!all)
    return all.status();
  std::vector<json> tables;
  for (const std::string &text : *all)
    tables.push_back(json::parse(text));
  for (const auto &[field, value] : tables.front().items()) {
    bool differs = false;
    std::string table;
    for (size_t rank = 0; rank < tables.size(); ++rank) {
      differs |= tables[rank][field] != value;
      table += "\n  rank " + std::to_string(rank) + ": " + field + " = " + tables[rank][field].dump();
    }
    if (differs)
      return Status(Code::Disagree, "ranks disagree on '" + field + "'" + table);
  }
  return {};
}

/// Bytes that this process may still use: the machine's available memory, or the cgroup's if that is less.
int64_t availableMemory() {
  int64_t available = INT64_MAX;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);)
    if (line.rfind("MemAvailable:", 0) == 0)
      available = std::atoll(line.c_str() + 13) * 1024;
  std::ifstream limit("/sys/fs/cgroup/memory.max"), used("/sys/fs/cgroup/memory.current");
  int64_t most = 0, now = 0;
  if (limit >> most && used >> now)
    available = std::min(available, most - now);
  return available;
}

Status preflight(const plan::Plan &plan, int64_t ranksHere) {
  std::vector<std::pair<int64_t, std::string>> buffers;
  int64_t arena = 0;
  for (const plan::Weight &weight : plan.weights)
    buffers.emplace_back(weight.elements * plan::byteWidth(weight.type), "weight " + weight.name);
  for (const plan::Entry &entry : plan.entries)
    arena = std::max(arena, entry.arenaBytes);
  buffers.emplace_back(arena, "arena");
  int64_t need = 0;
  for (const auto &[bytes, name] : buffers)
    need += bytes;
  const int64_t available = availableMemory();
  if (need <= available / ranksHere)
    return {};
  std::sort(buffers.rbegin(), buffers.rend());
  std::string largest;
  for (size_t i = 0; i < std::min<size_t>(3, buffers.size()); ++i)
    largest += (i ? ", " : "") + buffers[i].second + " (" + std::to_string(buffers[i].first) + " bytes)";
  return Status(Code::Memory, "needs " + std::to_string(need) + " bytes per rank, " + std::to_string(available / ranksHere) +
                                  " are available; the largest: " + largest);
}

/// Inputs from files, or drawn: integers below the declared bound, masks of ones, floats N(0, 1)-like.
Expected<runtime::Tensors> readInputs(const plan::Entry &entry, const Options &options) {
  runtime::Tensors tensors;
  for (const auto &[name, file] : options.inputs) {
    Expected<runtime::HostTensor> tensor = runtime::readNpy(file);
    if (!tensor)
      return tensor.status();
    tensors[name] = std::move(*tensor);
  }
  if (!options.randomInputs)
    return tensors;
  for (const plan::IO &io : entry.inputs) {
    if (tensors.count(io.name))
      continue;
    runtime::HostTensor tensor = runtime::HostTensor::zeros(io.type, io.shape);
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      const double value = runtime::randomElement(*options.randomInputs, io.name, i) / 0.02;
      std::byte *at = tensor.bytes.data() + i * plan::byteWidth(io.type);
      if (io.type == plan::DataType::I32 || io.type == plan::DataType::I64) {
        const int64_t range = io.low < io.high ? io.high - io.low : 2;
        int64_t drawn = io.maskRows ? 1 : io.low + static_cast<int64_t>(std::abs(value) * 1e6) % range;
        std::memcpy(at, &drawn, static_cast<size_t>(plan::byteWidth(io.type))); // Little-endian: the low bytes.
      } else if (io.type == plan::DataType::I1) {
        *at = std::byte{1};
      } else {
        runtime::fromFloat(static_cast<float>(value), io.type, at);
      }
    }
    tensors[io.name] = std::move(tensor);
  }
  return tensors;
}

Status compare(const std::string &name, const runtime::HostTensor &found, const Options &options) {
  Expected<runtime::HostTensor> expected = runtime::readNpy(options.expected.at(name));
  if (!expected)
    return expected.status();
  if (expected->shape != found.shape)
    return Status(Code::Usage, "expected output '" + name + "' is " + describe(*expected) + ", the plan gives " + describe(found));
  int64_t worst = -1;
  double worstExcess = 0, worstError = 0;
  for (int64_t i = 0; i < found.elements(); ++i) {
    const double error = std::abs(found.at(i) - expected->at(i)), allowed = options.atol + options.rtol * std::abs(expected->at(i));
    // Not "error > allowed": a NaN is a difference.
    if (!(error <= allowed) && (worst < 0 || error - allowed > worstExcess || std::isnan(error))) {
      worst = i;
      worstExcess = error - allowed;
      worstError = error;
    }
  }
  if (worst < 0)
    return {};
  return Status(Code::Differs, "output '" + name + "' differs: max error " + std::to_string(worstError) + " at element " + std::to_string(worst) +
                                   " (found " + std::to_string(found.at(worst)) + ", expected " + std::to_string(expected->at(worst)) + ")");
}

/// Writes what ops wrote: one file per op and rank, and an index that `tenon compare` reads.
class ValueDump {
public:
  ValueDump(const Options &options, int rank) : directory_(options.dumpValues), rank_(rank) {}

  Status write(const runtime::Executor &executor, int index) {
    const plan::Op &op = executor.entry().ops[index];
    for (const plan::Access &access : plan::accesses(op)) {
      if (!access.write)
        continue;
      Expected<runtime::HostTensor> tensor = executor.read(*access.operand);
      if (!tensor)
        return tensor.status();
      const std::string file = "op" + std::to_string(index) + "." + access.role + ".rank" + std::to_string(rank_) + ".npy";
      if (Status status = runtime::writeNpy(*tensor, directory_ + "/" + file); !status)
        return status;
      index_.push_back({{"op", index},
                        {"name", plan::opName(op)},
                        {"role", access.role},
                        {"location", op.location},
                        {"rank", rank_},
                        {"file", file},
                        {"shape", tensor->shape},
                        {"dtype", plan::name(tensor->type)}});
    }
    return {};
  }

  /// Rank 0 writes the index of all ranks.
  Status finish(Communicator &world) {
    Expected<std::vector<std::string>> all = world.gatherStrings(index_.dump());
    if (!all)
      return all.status();
    if (world.rank() != 0)
      return {};
    json merged = json::array();
    for (const std::string &text : *all)
      for (json &line : json::parse(text))
        merged.push_back(std::move(line));
    std::stable_sort(merged.begin(), merged.end(), [](const json &a, const json &b) { return a["op"] < b["op"]; });
    std::ofstream file(directory_ + "/index.json");
    file << merged.dump(1) << "\n";
    file.close();
    return file ? Status() : Status(Code::Device, "cannot write '" + directory_ + "/index.json'");
  }

private:
  std::string directory_;
  int rank_;
  json index_ = json::array();
};

Status writeTrace(Communicator &world, const runtime::Executor &executor, const Options &options) {
  json mine = json::array();
  double at = 0;
  for (size_t i = 0; i < executor.opSeconds().size(); ++i) {
    const plan::Op &op = executor.entry().ops[i];
    mine.push_back({{"name", plan::opName(op)},
                    {"ph", "X"},
                    {"pid", world.rank()},
                    {"tid", op.stream},
                    {"ts", at * 1e6},
                    {"dur", executor.opSeconds()[i] * 1e6},
                    {"args", {{"layer", op.location}, {"predicted_us", op.predictedUs}}}});
    at += executor.opSeconds()[i];
  }
  Expected<std::vector<std::string>> all = world.gatherStrings(mine.dump());
  if (!all)
    return all.status();
  if (world.rank() != 0)
    return {};
  json events = json::array();
  for (const std::string &text : *all)
    for (json &event : json::parse(text))
      events.push_back(std::move(event));
  std::ofstream file(options.trace);
  file << json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump() << "\n";
  file.close();
  return file ? Status() : Status(Code::Device, "cannot write '" + options.trace + "'");
}

Status checkOutputPlaces(const Options &options) {
  namespace fs = std::filesystem;
  auto check = [](const std::string &file) {
    fs::path directory = fs::path(file).parent_path();
    std::error_code error;
    if (!directory.empty() && !fs::is_directory(directory, error))
      return Status(Code::Plan, "output directory '" + directory.string() + "' does not exist");
    return Status();
  };
  for (const auto &[name, file] : options.outputs)
    if (Status status = check(file); !status)
      return status;
  for (const std::string &file : {options.json, options.trace})
    if (!file.empty())
      if (Status status = check(file); !status)
        return status;
  std::error_code error;
  if (!options.dumpValues.empty() && !fs::is_directory(options.dumpValues, error) && !fs::create_directories(options.dumpValues, error))
    return Status(Code::Plan, "cannot create '" + options.dumpValues + "'");
  return {};
}

int findEntry(const plan::Plan &plan, const Options &options, Status &status) {
  std::string names;
  for (size_t i = 0; i < plan.entries.size(); ++i) {
    if (options.entry.empty() || plan.entries[i].name == options.entry)
      return static_cast<int>(i);
    names += (names.empty() ? "" : ", ") + plan.entries[i].name;
  }
  status = Status(Code::Usage, "the plan has no entry '" + options.entry + "'; it has " + names);
  return -1;
}

/// Gathers one number per rank.
std::vector<int64_t> gatherNumbers(Communicator &world, int64_t mine) {
  std::vector<int64_t> result;
  if (Expected<std::vector<std::string>> all = world.gatherStrings(std::to_string(mine)))
    for (const std::string &text : *all)
      result.push_back(std::atoll(text.c_str()));
  return result;
}

/// Runs warm-up and timed steps; rank 0's report gets maxima over ranks and the median step's split.
Status runSteps(Communicator &world, runtime::Executor &executor, const Options &options, RunReport &report) {
  struct Sample {
    runtime::StepTimes times;
    std::vector<double> ops;
    std::vector<runtime::CollectiveTime> collectives;
  };
  std::vector<Sample> samples;
  for (int i = 0; i < options.warmup + options.iters; ++i) {
    if (Status status = executor.step(); !status)
      return status;
    if (i >= options.warmup)
      samples.push_back({executor.times(), executor.opSeconds(), executor.collectiveTimes()});
  }
  // [step][rank] of total, wait, communication.
  std::string mine;
  for (const Sample &sample : samples)
    mine.append(reinterpret_cast<const char *>(&sample.times), sizeof sample.times);
  Expected<std::vector<std::string>> all = world.gatherStrings(mine);
  if (!all)
    return all.status();
  auto at = [&](size_t rank, size_t step) {
    runtime::StepTimes times;
    std::memcpy(&times, (*all)[rank].data() + step * sizeof times, sizeof times);
    return times;
  };
  std::vector<size_t> order(samples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t step = 0; step < samples.size(); ++step) {
    double worst = 0;
    for (size_t rank = 0; rank < all->size(); ++rank)
      worst = std::max(worst, at(rank, step).total);
    report.stepSeconds.push_back(worst);
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return report.stepSeconds[a] < report.stepSeconds[b]; });
  const size_t middle = order[order.size() / 2];
  for (size_t rank = 0; rank < all->size(); ++rank)
    if (at(rank, middle).total >= report.medianSplit.total)
      report.medianSplit = at(rank, middle);
  report.opSeconds = samples[middle].ops;
  report.collectiveTimes = samples[middle].collectives;
  return {};
}

} // namespace

Status runRank(Communicator &world, const Options &options) {
  RunReport report;
  Status status = checkOutputPlaces(options);
  if (status = agree(world, status); !status)
    return status;
  Expected<plan::Plan> plan = readPlan(options, world.rank(), world.size(), report.digest);
  if (status = agree(world, plan ? Status() : plan.status()); !status)
    return status;
  if (options.verify)
    return {};
  const int entry = findEntry(*plan, options, status);
  if (status = agree(world, status); !status)
    return status;

  runtime::CpuOptions cpu;
  cpu.threads = options.threads;
  cpu.packBudget = plan->packBudget;
  Expected<std::unique_ptr<runtime::Device>> device = runtime::makeCpuDevice(cpu);
  if (status = agree(world, device ? Status() : device.status()); !status)
    return status;
  report.device = (*device)->name();
  if (status = agree(world, handshake(world, options, report.digest, report.device)); !status)
    return status;
  world.checkTags(options.checkCollectives || options.localRanks);

  if (status = agree(world, preflight(*plan, world.size())); !status)
    return status;
  runtime::WeightSource source;
  source.random = options.randomWeights.has_value();
  source.seed = options.randomWeights.value_or(0);
  if (!options.parameters.empty()) {
    Expected<std::shared_ptr<runtime::Checkpoint>> checkpoint = runtime::Checkpoint::open(options.parameters);
    if (checkpoint)
      source.checkpoint = *checkpoint;
    else
      status = checkpoint.status();
  }
  if (status = agree(world, status); !status)
    return status;

  ValueDump dump(options, world.rank());
  runtime::Executor *running = nullptr;
  runtime::ExecutorOptions executorOptions;
  executorOptions.checkFinite = options.checkFinite;
  if (!options.dumpValues.empty())
    executorOptions.inject = [&](int op, bool begin) { return begin ? Status() : dump.write(*running, op); };
  Expected<std::unique_ptr<runtime::Executor>> executor = runtime::Executor::create(*plan, **device, world, executorOptions);
  if (status = agree(world, executor ? Status() : executor.status()); !status)
    return status;
  running = executor->get();

  const double loadStart = runtime::monotonicSeconds();
  const bool progress = world.rank() == 0 && !options.quiet && isatty(2);
  status = (*executor)->loadWeights(source, [&](int64_t done, int64_t total) {
    if (progress)
      std::fprintf(stderr, "\rloading weights: %3.0f%% of %.3f GiB%s", total ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 100.0,
                   static_cast<double>(total) / (1 << 30), done == total ? "\n" : "");
  });
  report.loadSeconds = runtime::monotonicSeconds() - loadStart;
  source.checkpoint.reset();
  if (status = agree(world, status); !status)
    return status;
  if (status = agree(world, (*executor)->prepare(entry)); !status)
    return status;
  report.weightsBytes = gatherNumbers(world, (*executor)->weightBytes());
  report.arenaBytes = gatherNumbers(world, (*executor)->arenaBytes());
  report.workspaceBytes = gatherNumbers(world, (*executor)->workspaceBytes());
  report.copiedBytes = gatherNumbers(world, (*executor)->copiedBytes());
  const plan::Entry &resolved = (*executor)->entry();

  if (!options.dryRun) {
    Expected<runtime::Tensors> inputs = readInputs(resolved, options);
    status = inputs ? (*executor)->setInputs(*inputs) : inputs.status();
    for (const auto *pairs : {&options.outputs, &options.expected})
      for (const auto &[name, file] : *pairs)
        if (status.ok() && std::none_of(resolved.outputs.begin(), resolved.outputs.end(), [&](const plan::IO &io) { return io.name == name; }))
          status = Status(Code::Usage, "entry '" + resolved.name + "' has no output '" + name + "'");
    if (status = agree(world, status); !status)
      return status;
    if (status = world.barrier(); !status)
      return status;
    {
      runtime::Watchdog watchdog({{world.rank(), &(*executor)->progress(), &resolved}}, options.timeout);
      if (status = runSteps(world, **executor, options, report); !status)
        return Status(status.code(), status.message() == runtime::peerFailed ? status.message()
                                                                             : "rank " + std::to_string(world.rank()) + ": " + status.message());
    }
    if (!options.dumpValues.empty())
      if (status = agree(world, dump.finish(world)); !status)
        return status;
    if (!options.trace.empty())
      if (status = agree(world, writeTrace(world, **executor, options)); !status)
        return status;
    Expected<runtime::Tensors> outputs = (*executor)->outputs();
    if (!outputs)
      return outputs.status();
    if (world.rank() == 0) {
      for (const auto &[name, tensor] : *outputs) {
        if (status.ok() && options.outputs.count(name))
          status = runtime::writeNpy(tensor, options.outputs.at(name));
        if (options.outputs.empty() && !options.quiet)
          printOutput(name, tensor);
        if (status.ok() && options.expected.count(name))
          status = compare(name, tensor, options);
      }
      if (std::fflush(stdout) != 0)
        std::clearerr(stdout); // The reader has closed: not our failure.
    }
  }
  if (world.rank() == 0) {
    if (!options.quiet)
      printReport(*plan, resolved, report, options);
    if (!options.json.empty())
      if (Status written = writeJson(*plan, resolved, report, options); status.ok())
        status = written;
  }
  return agree(world, status);
}

} // namespace tenon::tools
