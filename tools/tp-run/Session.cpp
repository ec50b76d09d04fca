// SPDX-License-Identifier: Apache-2.0
#include "Session.h"
#include "DeviceChoice.h"
#include "NamedTensors.h"
#include "Report.h"

#include "tenon/runtime/AtomicFile.h"
#include "tenon/runtime/comm/LoneCommunicator.h"
#include "tenon/runtime/exec/Agreement.h"
#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/exec/OutputAssembly.h"
#include "tenon/runtime/exec/ValueDump.h"
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"
#include "tenon/runtime/plan/Resolve.h"
#include "tenon/runtime/plan/Verify.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace tenon::tprun {

using nlohmann::json;
using runtime::HostArray;

std::string rightCommand(const Options &options, int64_t ranks) {
  std::string command = "mpirun --oversubscribe --bind-to none ";
  if (geteuid() == 0)
    command += "--allow-run-as-root ";
  return command + "-n " + std::to_string(ranks) + " tp-run " + options.plan + " ...";
}

namespace {

struct PlanFile {
  plan::Plan plan;
  std::string digest;
};

/// `reader` is who reads, for messages; empty where there is one process.
Expected<PlanFile> readPlan(const std::string &path, const std::string &reader) {
  const std::string where = reader.empty() ? "" : " (" + reader + ")";
  Expected<std::vector<std::byte>> bytes = plan::readBytes(path);
  if (!bytes)
    return Status(Code::Plan, bytes.status().message() + where);
  Expected<plan::Plan> plan = plan::read(*bytes);
  if (!plan)
    return Status(Code::Plan, path + ": " + plan.status().message() + where);
  return PlanFile{std::move(*plan), plan::digest(*bytes)};
}

/// Hash of the program itself, so that ranks of two builds notice.
std::string binaryDigest() {
  int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat info{};
  void *bytes = MAP_FAILED;
  if (file >= 0 && fstat(file, &info) == 0 && info.st_size > 0)
    bytes = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  if (file >= 0)
    ::close(file);
  if (bytes == MAP_FAILED)
    return "unknown";
  size_t hash = std::hash<std::string_view>()(
      std::string_view(static_cast<const char *>(bytes), size_t(info.st_size)));
  munmap(bytes, size_t(info.st_size));
  char text[24];
  std::snprintf(text, sizeof(text), "%016zx", hash);
  return text;
}

/// One run of one rank, phase by phase.
class Session {
public:
  explicit Session(const RankContext &context)
      : options_(context.options), world_(context.world), state_(context.state),
        host_(context.host), local_(context.local) {}

  Status run(bool &agreed);

private:
  // A lone rank's mesh only pretends to have others.
  Status agree(const Status &mine) {
    return runtime::agree(mesh_ && !options_.loneRank ? *mesh_ : world_, mine);
  }
  Status load();
  Status meet();
  Status readValues(const plan::Entry &entry);
  Status prepare();
  Status takeSteps();
  Status captureStep(const std::vector<const HostArray *> &inputs);
  Status finish();
  Status gatherFacts();
  Status tell();
  bool first() const { return options_.loneRank || mesh_->rank() == 0; }
  bool loud() const { return first() && !options_.quiet; }

  const Options &options_;
  runtime::Communicator &world_;
  runtime::RunState &state_;
  std::string host_;
  bool local_;

  PlanFile file_;
  size_t entryIndex_ = 0;
  runtime::FaultInjection faults_;
  std::optional<DeviceChoice> choice_;
  std::unique_ptr<runtime::Communicator> mesh_;
  std::vector<int64_t> coordinates_;
  std::unique_ptr<runtime::Device> device_;
  std::optional<runtime::Groups> groups_;
  runtime::LoadedWeights weights_;
  runtime::DeviceMemory arena_;
  std::unique_ptr<runtime::Executor> executor_;
  std::unique_ptr<runtime::ValueDump> dump_;
  std::vector<HostArray> inputs_, references_, outputs_;
  std::vector<runtime::StepSample> samples_;
  std::vector<std::vector<double>> opSeconds_, opWait_, opCommunication_;
  bool captured_ = false;
  RankFacts mine_;
  RunFacts facts_;
};

std::string seedText(const std::optional<uint64_t> &seed) {
  return seed ? std::to_string(*seed) : "none";
}

/// Hash of all values, so that ranks that were given different ones notice.
std::string digestOf(const std::vector<HostArray> &values) {
  size_t hash = values.size();
  for (const HostArray &value : values)
    hash = hash * 1099511628211u ^
           std::hash<std::string_view>()(std::string_view(
               reinterpret_cast<const char *>(value.bytes.data()), value.bytes.size()));
  char text[24];
  std::snprintf(text, sizeof(text), "%016zx", hash);
  return text;
}

double now() { return double(runtime::monotonicNanoseconds()) * 1e-9; }

// The plan as this rank sees it: read, right size, names, places, verified.
Status Session::load() {
  Expected<runtime::FaultInjection> faults = runtime::FaultInjection::parse(options_.inject);
  if (!faults)
    return faults.status();
  faults_ = faults->of(world_.rank());
  host_ = faults_.text("host", "pretend").value_or(host_);
  choice_.emplace(options_, faults_, local_);
  if (Status status = choice_->open(); !status)
    return status;
  Expected<PlanFile> file = readPlan(
      options_.plan, local_ ? "" : "rank " + std::to_string(world_.rank()) + " on " + host_);
  if (!file)
    return file.status();
  file_ = std::move(*file);
  const plan::Plan &plan = file_.plan;
  if (options_.loneRank && (world_.size() > 1 || *options_.loneRank >= plan::worldSize(plan)))
    return Status(Code::Usage, "--lone-rank: expected one process and a rank below " +
                                   std::to_string(plan::worldSize(plan)) + ", found " +
                                   std::to_string(world_.size()) + " and rank " +
                                   std::to_string(*options_.loneRank));
  if (!options_.loneRank && plan::worldSize(plan) != world_.size())
    return Status(Code::Usage, "the plan is for " + std::to_string(plan::worldSize(plan)) +
                                   " ranks, found " + std::to_string(world_.size()) +
                                   "; run: " + rightCommand(options_, plan::worldSize(plan)));
  std::string names;
  bool found = false;
  for (size_t i = 0; i < plan.entries.size() && !found; ++i) {
    names += (i ? ", " : "") + plan.entries[i].name;
    if (options_.entry.empty() || plan.entries[i].name == options_.entry) {
      entryIndex_ = i;
      found = true;
    }
  }
  if (!found)
    return Status(Code::Usage,
                  "--entry: the plan has no '" + options_.entry + "'; it has " + names);
  if (Status status = checkNames(plan.entries[entryIndex_], options_); !status)
    return status;
  return world_.rank() == 0 ? checkPlaces(options_) : Status();
}

// Who is where: mesh ranks by node, then everything that must be equal.
Status Session::meet() {
  Expected<std::vector<std::string>> hosts = world_.gatherStrings(host_);
  if (!hosts)
    return hosts.status();
  std::vector<int> order = runtime::meshOrder(*hosts);
  int place = int(std::find(order.begin(), order.end(), world_.rank()) - order.begin());
  Expected<std::unique_ptr<runtime::Communicator>> mesh =
      options_.loneRank
          ? runtime::makeLoneCommunicator(*options_.loneRank, int(plan::worldSize(file_.plan)))
          : world_.split(0, place);
  if (!mesh)
    return mesh.status();
  mesh_ = std::move(*mesh);
  state_.rank = mesh_->rank();
  if (!options_.allowPlacement && !options_.loneRank) {
    std::vector<std::string> byMeshRank;
    for (int rank : order)
      byMeshRank.push_back((*hosts)[size_t(rank)]);
    if (Status status = runtime::checkPlacement(file_.plan.mesh, byMeshRank); !status)
      return mesh_->rank() == 0 ? status : Status(status.code(), runtime::peerFailed);
  }
  coordinates_ = plan::coordinates(file_.plan.mesh, mesh_->rank());
  const int ranksHere =
      options_.loneRank ? 1 : int(std::count(hosts->begin(), hosts->end(), host_));
  if (Status status = choice_->place(*mesh_, host_, ranksHere); !status)
    return status;
  runtime::HandshakeFields fields = {
      {"version", TENON_VERSION},
      {"binary", faults_.has("handshake", "binary") ? "another" : binaryDigest()},
      {"plan", file_.digest},
      {"entry", file_.plan.entries[entryIndex_].name},
      {"steps", std::to_string(options_.warmup) + "+" + std::to_string(options_.iterations)},
      {"random-inputs", seedText(options_.randomInputs)},
      {"random-weights", seedText(options_.randomWeights)},
      {"dry-run", options_.dryRun ? "on" : "off"},
      {"dump-values", options_.dumpValues.empty() ? "off" : "on"},
      {"check-collectives", options_.checkCollectives ? "on" : "off"}};
  for (auto &field : choice_->fields())
    fields.push_back(std::move(field));
  if (Status status = runtime::shakeHands(*mesh_, fields, host_); !status)
    return status;
  // Only now: a wrong plan on one rank is a disagreement first.
  if (faults_.has("verify", "skip"))
    return Status();
  return plan::verify(file_.plan, mesh_->rank());
}

// Weights, arena and kernels.
Status Session::prepare() {
  const plan::Plan &plan = file_.plan;
  Expected<runtime::Checkpoint> checkpoint = runtime::Checkpoint::open(options_.parameters);
  if (Status status = agree(checkpoint ? Status() : checkpoint.status()); !status)
    return status;
  // Copies on each node may differ: then every rank would compute its part of another model.
  if (Status status = runtime::shakeHands(
          *mesh_, {{"inputs", digestOf(inputs_)}, {"parameters", checkpoint->fingerprint()}},
          host_);
      !status)
    return status;
  Expected<std::unique_ptr<runtime::Device>> device = choice_->make();
  if (Status status = agree(device ? Status() : device.status()); !status)
    return status;
  device_ = std::move(*device);
  Expected<runtime::Groups> groups =
      options_.loneRank ? Expected<runtime::Groups>(runtime::Groups::createLone(plan, coordinates_))
                        : runtime::Groups::create(plan, coordinates_, *mesh_);
  if (Status status = agree(groups ? Status() : groups.status()); !status)
    return status;
  groups_ = std::move(*groups);
  groups_->checkTags(local_ || options_.checkCollectives);
  state_.enterPhase("connect");
  if (Status status = agree(device_->connect(*mesh_, groups_->all())); !status)
    return status;
  device_->timeAllOps(options_.report || !options_.trace.empty() || !options_.json.empty());

  state_.enterPhase("weights");
  double begin = now();
  const bool progress = loud() && isatty(STDERR_FILENO);
  runtime::LoadOptions load;
  load.randomSeed = options_.randomWeights;
  load.threads = choice_->threads();
  load.progress = [&](int64_t done, int64_t all) {
    state_.touch();
    if (progress)
      std::fprintf(stderr, "\rloading weights: %s of %s%s", runtime::readableBytes(done).c_str(),
                   runtime::readableBytes(all).c_str(), done == all ? "\n" : "");
  };
  Expected<runtime::LoadedWeights> weights =
      runtime::loadWeights(plan, coordinates_, *checkpoint, *device_, load);
  if (Status status = agree(weights ? Status() : weights.status()); !status)
    return status;
  weights_ = std::move(*weights);
  mine_.loadSeconds = now() - begin;

  state_.enterPhase("prepare");
  begin = now();
  Expected<runtime::DeviceMemory> arena = runtime::DeviceMemory::allocate(
      *device_, runtime::arenaBytes(plan), runtime::MemoryUse::Arena);
  if (arena)
    arena_ = std::move(*arena);
  Status status = arena ? Status()
                        : Status(arena.status().code(), "arena: " + arena.status().message() +
                                                            "; " + runtime::largestBuffers(plan));
  if (status = agree(status); !status)
    return status;
  runtime::ExecutorOptions options;
  options.poison = faults_.has("arena", "poison");
  options.checkFinite = options_.checkFinite;
  options.state = &state_;
  options.faults = faults_;
  Expected<std::unique_ptr<runtime::Executor>> executor = runtime::Executor::create(
      {plan, mesh_->rank(), coordinates_, *device_, *mesh_, *groups_, weights_, arena_},
      entryIndex_, std::move(options));
  if (status = agree(executor ? Status() : executor.status()); !status)
    return status;
  executor_ = std::move(*executor);
  if (status = agree(device_->settle(*mesh_)); !status)
    return status;
  mine_.prepareSeconds = now() - begin;
  return Status();
}

// A step as usual, so that everything has run once, then one that is recorded.
Status Session::captureStep(const std::vector<const HostArray *> &inputs) {
  if (Status status = executor_->step(inputs); !status)
    return status;
  Expected<std::string> why = executor_->capture();
  if (!why)
    return why.status();
  if (!why->empty() && first())
    std::fprintf(stderr, "tp-run: all ranks run uncaptured: %s\n", why->c_str());
  captured_ = why->empty();
  return Status();
}

Status Session::takeSteps() {
  std::vector<const HostArray *> inputs;
  for (const HostArray &value : inputs_)
    inputs.push_back(&value);
  // Medians need no more: those of ops the first steps, that of a step the last ones. Memory stays
  // bounded over long runs.
  constexpr size_t kept = 256, keptSteps = 65536;
  const size_t ops = executor_->entry().ops.size();
  opSeconds_.resize(ops);
  opWait_.resize(ops);
  opCommunication_.resize(ops);
  if (dump_)
    executor_->setAfterOp([this](int op) { return dump_->write(*executor_, op); });
  if (choice_->graph())
    if (Status status = captureStep(inputs); !status)
      return status;
  for (int64_t step = 0; step < options_.warmup + options_.iterations; ++step) {
    if (Status status = executor_->step(inputs); !status)
      return status;
    if (dump_ && step == 0)
      executor_->setAfterOp(nullptr);
    if (step < options_.warmup)
      continue;
    runtime::StepSample sample;
    sample.total = executor_->stepEnd() - executor_->stepBegin();
    const std::vector<runtime::OpTime> &times = executor_->opTimes();
    for (size_t op = 0; op < ops; ++op) {
      const runtime::CollectiveTime &collective = times[op].collective;
      sample.wait += collective.ready - collective.entered;
      sample.communication += collective.left - collective.ready;
      if (opSeconds_[op].size() == kept)
        continue;
      opSeconds_[op].push_back(times[op].end - times[op].begin);
      opWait_[op].push_back(collective.ready - collective.entered);
      opCommunication_[op].push_back(collective.left - collective.ready);
    }
    const size_t place = size_t(step - options_.warmup) % keptSteps;
    if (place == samples_.size())
      samples_.push_back(sample);
    else
      samples_[place] = sample;
  }
  return Status();
}

// Rank 0 learns what the others measured.
Status Session::gatherFacts() {
  mine_.host = host_;
  mine_.weightBytes = weights_.heldBytes;
  mine_.arenaBytes = arena_.bytes();
  mine_.workspaceBytes = executor_ ? executor_->workspaceBytes() : 0;
  mine_.paddingBytes = weights_.paddingBytes;
  mine_.copiedBytes = weights_.copiedBytes;
  if (executor_ && !options_.trace.empty())
    mine_.lastStep = executor_->opTimes();
  json text = {{"host", mine_.host},
               {"numbers",
                {mine_.weightBytes, mine_.arenaBytes, mine_.workspaceBytes, mine_.paddingBytes,
                 mine_.copiedBytes}},
               {"seconds", {mine_.loadSeconds, mine_.prepareSeconds}},
               {"ops", json::array()}};
  for (const runtime::OpTime &time : mine_.lastStep)
    text["ops"].push_back({time.begin, time.end, time.collective.entered, time.collective.ready,
                           time.collective.left});
  Expected<std::vector<std::string>> all =
      mesh_->gatherStrings(text.dump(-1, ' ', false, json::error_handler_t::replace));
  if (!all)
    return all.status();
  std::string raw(samples_.size() * sizeof(runtime::StepSample), '\0');
  if (!samples_.empty())
    std::memcpy(raw.data(), samples_.data(), raw.size());
  Expected<std::vector<std::string>> steps = mesh_->gatherStrings(raw);
  if (!steps)
    return steps.status();
  if (!first())
    return Status();
  std::vector<std::vector<runtime::StepSample>> samples;
  for (const std::string &bytes : *steps) {
    samples.emplace_back(bytes.size() / sizeof(runtime::StepSample));
    if (!bytes.empty())
      std::memcpy(samples.back().data(), bytes.data(), bytes.size());
  }
  for (const std::string &line : *all) {
    json parsed = json::parse(line);
    RankFacts rank;
    rank.host = parsed["host"];
    rank.weightBytes = parsed["numbers"][0];
    rank.arenaBytes = parsed["numbers"][1];
    rank.workspaceBytes = parsed["numbers"][2];
    rank.paddingBytes = parsed["numbers"][3];
    rank.copiedBytes = parsed["numbers"][4];
    rank.loadSeconds = parsed["seconds"][0];
    rank.prepareSeconds = parsed["seconds"][1];
    for (const json &time : parsed["ops"])
      rank.lastStep.push_back({time[0], time[1], {time[2], time[3], time[4]}});
    facts_.ranks.push_back(std::move(rank));
  }
  facts_.plan = &file_.plan;
  facts_.planPath = options_.plan;
  facts_.digest = file_.digest;
  facts_.device = device_ ? device_->name() : "cpu";
  facts_.transport = options_.loneRank ? "none" : local_ ? "threads" : "mpi";
  facts_.threads = choice_->threads();
  facts_.limits = device_ ? device_->limits() : runtime::DeviceLimits();
  facts_.tf32 = options_.tf32;
  facts_.timed = executor_ != nullptr;
  facts_.warmup = options_.warmup;
  facts_.randomWeights = weights_.randomWeights;
  facts_.steps = runtime::summarize(samples);
  for (size_t op = 0; op < opSeconds_.size(); ++op) {
    facts_.opSeconds.push_back(runtime::medianOf(opSeconds_[op]));
    facts_.opWaitSeconds.push_back(runtime::medianOf(opWait_[op]));
    facts_.opCommunicationSeconds.push_back(runtime::medianOf(opCommunication_[op]));
  }
  return Status();
}

// Outputs whole again, written, compared; the reports.
Status Session::finish() {
  double begin = now();
  Status status;
  for (size_t i = 0; i < executor_->entry().outputs.size(); ++i) {
    const plan::IO &io = executor_->entry().outputs[i];
    Expected<HostArray> block = executor_->outputBlock(i);
    if (status = agree(block ? Status() : block.status()); !status)
      return status;
    Expected<HostArray> whole = runtime::assembleOutput(file_.plan, io, *block, *mesh_);
    if (!whole)
      return whole.status();
    outputs_.push_back(std::move(*whole));
    facts_.assemblyBytes += runtime::assemblyBytes(file_.plan, io);
  }
  facts_.assemblySeconds = now() - begin;
  if (dump_)
    if (status =
            agree(dump_->finish(file_.plan, executor_->entry(), file_.digest, outputs_, *mesh_));
        !status)
      return status;
  if (status = gatherFacts(); !status)
    return status;
  facts_.entry = &executor_->entry();
  if (first()) {
    status = showOutputs(*facts_.entry, options_, outputs_);
    if (status)
      status = compareOutputs(*facts_.entry, options_, outputs_, references_, facts_.checks);
  }
  return status;
}

// Inputs on every rank, references on the first, the place of the dump: all before any work.
Status Session::readValues(const plan::Entry &entry) {
  Expected<std::vector<HostArray>> inputs = makeInputs(entry, options_);
  if (Status status = agree(inputs ? Status() : inputs.status()); !status)
    return status;
  inputs_ = std::move(*inputs);
  Status references;
  if (first()) {
    Expected<std::vector<HostArray>> read = readReferences(entry, options_);
    references = read.status();
    if (read)
      references_ = std::move(*read);
  }
  if (Status status = agree(references); !status)
    return status;
  if (options_.dumpValues.empty())
    return Status();
  Expected<std::unique_ptr<runtime::ValueDump>> dump =
      runtime::ValueDump::create(options_.dumpValues, mesh_->rank());
  if (Status status = agree(dump ? Status() : dump.status()); !status)
    return status;
  dump_ = std::move(*dump);
  return Status();
}

// The reports, by the first rank.
Status Session::tell() {
  Status written;
  if (first()) {
    if (!options_.quiet)
      std::fputs(shortReport(facts_).c_str(), stderr);
    if (options_.report && facts_.timed)
      std::fputs(longReport(facts_).c_str(), stderr);
    auto write = [&](const std::string &path, const std::string &text) {
      if (!path.empty() && written)
        written = writeFileAtomically(path, text.data(), text.size(), nullptr, 0);
    };
    write(options_.json, options_.json.empty() ? "" : jsonReport(facts_));
    if (facts_.timed)
      write(options_.trace, options_.trace.empty() ? "" : chromeTrace(facts_));
  }
  return agree(written);
}

Status Session::run(bool &agreed) {
  agreed = true;
  state_.rank = world_.rank();
  state_.enterPhase("plan");
  if (Status status = agree(load()); !status)
    return status;
  state_.enterPhase("handshake");
  if (Status status = agree(meet()); !status)
    return status;
  state_.enterPhase("memory");
  const plan::Plan &plan = file_.plan;
  std::optional<int64_t> limit = faults_.number("memory", "limit");
  Expected<int64_t> available = limit ? Expected<int64_t>(*limit) : choice_->availableMemory();
  if (Status status = agree(available ? runtime::checkMemory(plan, choice_->sharers(), *available)
                                      : available.status());
      !status)
    return status;
  plan::Entry resolved = plan::resolve(plan, plan.entries[entryIndex_], coordinates_);
  if (options_.dryRun) {
    facts_.entry = &resolved;
    if (Status status = agree(gatherFacts()); !status)
      return status;
    return tell();
  }
  if (Status status = readValues(resolved); !status)
    return status;
  if (Status status = prepare(); !status)
    return status;
  // From here to the end of the last step a failing rank leaves alone.
  agreed = false;
  if (Status status = mesh_->barrier(); !status)
    return status;
  if (Status status = takeSteps(); !status)
    return status;
  if (Status status = mesh_->barrier(); !status)
    return status;
  agreed = true;
  state_.enterPhase("outputs");
  // A difference is reported like everything else before it ends the run.
  Status finished = agree(finish());
  if (!finished && finished.code() != Code::Differs)
    return finished;
  Status told = tell();
  return told ? finished : told;
}

} // namespace

Status runRank(const RankContext &context, bool &agreed) {
  auto session = std::make_unique<Session>(context);
  Status status;
  try {
    status = session->run(agreed);
  } catch (const std::bad_alloc &) {
    agreed = false;
    status = Status(Code::Memory,
                    "rank " + std::to_string(context.world.rank()) + ": out of host memory");
  } catch (const std::exception &error) {
    agreed = false;
    status =
        Status(Code::Device, "rank " + std::to_string(context.world.rank()) + ": " + error.what());
  }
  // Giving up groups is collective under MPI, and a GPU's memory is given back when its work is
  // done: both would wait for ranks that wait for this one.
  if (!agreed && !status && (!context.local || context.options.device == "cuda"))
    std::ignore = session.release();
  // What is printed from here on is the message, not where this rank was.
  context.state.quiet = true;
  return status;
}

Status verifyPlan(const Options &options) {
  Expected<PlanFile> file = readPlan(options.plan, "");
  if (!file)
    return file.status();
  if (Status status = plan::verifyAll(file->plan); !status)
    return Status(status.code(), options.plan + ": " + status.message());
  if (!options.quiet)
    std::fprintf(stderr, "tp-run: %s is accepted for all %lld ranks\n", options.plan.c_str(),
                 static_cast<long long>(plan::worldSize(file->plan)));
  return Status();
}

Expected<int64_t> ranksOfPlan(const std::string &path) {
  Expected<PlanFile> file = readPlan(path, "");
  if (!file)
    return file.status();
  return plan::worldSize(file->plan);
}

} // namespace tenon::tprun
