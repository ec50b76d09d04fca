// SPDX-License-Identifier: Apache-2.0
#include "Calibrate.h"

#include "DeviceChoice.h"
#include "Workbench.h"

#include "tenon/runtime/AtomicFile.h"
#include "tenon/runtime/exec/Agreement.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <tuple>

namespace tenon::tprun {
namespace {

using nlohmann::ordered_json;
using plan::DataType;
using plan::Operand;

/// What is swept.
struct Sweep {
  std::vector<int64_t> m, nk;                ///< Of matmuls.
  std::vector<int64_t> queries, keys, depth; ///< Of attention.
  std::vector<int64_t> memory, collective;   ///< Bytes.
  int64_t elements = 0;                      ///< Of functions.
  double coldBytes = 0;                      ///< Of weights that are read in turn.
  double budget = 0;                         ///< Seconds per point.
};

/// Powers of two from 2^first to 2^last.
std::vector<int64_t> powers(int first, int last) {
  std::vector<int64_t> values;
  for (int bit = first; bit <= last; ++bit)
    values.push_back(int64_t{1} << bit);
  return values;
}

/// Enough to see that everything works, in a second.
Sweep quickSweep() {
  Sweep sweep;
  sweep.m = {1, 64};
  sweep.nk = {64, 512};
  sweep.queries = {1, 64};
  sweep.keys = {16, 128};
  sweep.depth = {32, 64};
  sweep.memory = {1 << 12, 1 << 20};
  sweep.collective = {1 << 12, 1 << 18};
  sweep.elements = 1 << 14;
  sweep.coldBytes = 4e6;
  sweep.budget = 0.002;
  return sweep;
}

Sweep fullSweep() {
  Sweep sweep;
  sweep.m = {1, 4, 16, 64, 128, 256, 512, 1024};
  sweep.nk = {64, 192, 512, 1024, 2048, 4096};
  sweep.queries = {1, 16, 64, 128, 512, 1024};
  sweep.keys = {16, 64, 128, 512, 1024};
  sweep.depth = {32, 64, 128};
  sweep.memory = powers(11, 28);
  sweep.collective = powers(8, 26);
  sweep.elements = 1 << 16;
  sweep.coldBytes = 9e7;
  sweep.budget = 0.02;
  return sweep;
}

// Larger products say nothing new and take seconds.
constexpr double kMostFlops = 4e10;

class Calibration {
public:
  explicit Calibration(const RankContext &context)
      : context_(context), world_(context.world),
        sweep_(context.options.calibrateQuick ? quickSweep() : fullSweep()),
        choice_(context.options, faults_, context.local) {}

  Status run() {
    if (Status status = open(); !status)
      return status;
    json_["name"] = "measured";
    for (const auto &part : {&Calibration::basics, &Calibration::matmuls, &Calibration::attentions,
                             &Calibration::functions, &Calibration::collectives})
      if (Status status = (this->*part)(); !status)
        return status;
    return agree(world_.rank() == 0 ? write() : Status());
  }

private:
  Status agree(const Status &mine) { return runtime::agree(world_, mine); }

  Status open() {
    context_.state.enterPhase("calibrate");
    if (Status status = agree(choice_.open()); !status)
      return status;
    Expected<std::vector<std::string>> hosts = world_.gatherStrings(context_.host);
    if (!hosts)
      return hosts.status();
    const int here = int(std::count(hosts->begin(), hosts->end(), context_.host));
    if (Status status = choice_.place(world_, context_.host, here); !status)
      return status;
    runtime::HandshakeFields fields = {
        {"version", versionText()},
        {"calibrate", context_.options.calibrateQuick ? "quick" : "full"}};
    for (auto &field : choice_.fields())
      fields.push_back(std::move(field));
    if (Status status = runtime::shakeHands(world_, fields, context_.host); !status)
      return status;
    Expected<std::unique_ptr<runtime::Device>> device = choice_.make();
    if (Status status = agree(device ? Status() : device.status()); !status)
      return status;
    device_ = std::move(*device);
    // Groups of neighbours, one size per divisor of the world: axis i stands for the i-th.
    for (int size = 2; size <= world_.size(); ++size)
      if (world_.size() % size == 0) {
        Expected<std::unique_ptr<runtime::Communicator>> group =
            world_.split(world_.rank() / size, world_.rank());
        if (!group)
          return group.status();
        (*group)->setName("calibration " + std::to_string(size));
        groups_[{int32_t(sizes_.size())}] = std::move(*group);
        sizes_.push_back(size);
      }
    if (Status status = agree(device_->connect(world_, groups_)); !status)
      return status;
    bench_.emplace(
        BenchDevice{*device_, world_, groups_, context_.state, choice_.cuda() ? 16 : 1, {}});
    // bf16 where the device takes it; all ranks have equal devices.
    for (DataType type : {DataType::F32, DataType::BF16})
      if (Expected<double> seconds = matmul(type, 16, 64, 64); seconds)
        types_.push_back(type);
      else if (type == DataType::F32)
        return seconds.status();
    Expected<int64_t> memory = choice_.availableMemory();
    if (!memory)
      return memory.status();
    json_["memory_bytes"] = double(std::max<int64_t>(*memory / std::max(1, here), 1));
    return Status();
  }

  /// The mean over ranks: what one of them finds, all will run with.
  Expected<double> mean(const Expected<double> &mine) {
    if (!mine)
      return mine.status();
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", *mine);
    Expected<std::vector<std::string>> all = world_.gatherStrings(text);
    if (!all)
      return all.status();
    double sum = 0;
    for (const std::string &value : *all)
      sum += std::strtod(value.c_str(), nullptr);
    return std::max(sum / double(all->size()), 1e-9);
  }

  /// Between two ops of a step others stream their weights through the caches: so does this, on
  /// devices whose ops are timed one by one.
  Status openStream() {
    if (choice_.cuda())
      return Status();
    constexpr int64_t rows = 16, n = 1024, k = 512;
    stream_.emplace(*bench_);
    plan::MatMul body;
    body.a = stream_->operand(DataType::F32, {rows, k});
    body.c = stream_->operand(DataType::F32, {rows, n});
    body.aDims = "mk";
    body.bDims = "nk";
    body.cDims = "mn";
    for (double held = 0; held < sweep_.coldBytes; held += 4 * n * k) {
      body.b = stream_->operand(DataType::F32, {n, k});
      stream_->add(body);
    }
    bench_->between = [this] { return stream_->runNext(); };
    return agree(stream_->status());
  }

  void tell(const std::string &what) {
    if (world_.rank() == 0 && !context_.options.quiet)
      std::fprintf(stderr, "calibrate: %s\n", what.c_str());
  }

  Expected<double> elementwise(int64_t elements, const std::vector<plan::ExprTerm> &expr,
                               int inputs) {
    Workbench bench(*bench_);
    plan::Elementwise body;
    for (int i = 0; i < inputs; ++i)
      body.inputs.push_back(bench.operand(DataType::F32, {elements}));
    body.out = bench.operand(DataType::F32, {elements});
    body.expr = expr;
    bench.add(body);
    bench.produce(body.inputs.front());
    return mean(bench.time(sweep_.budget));
  }

  // What an op costs before it does anything, and memory traffic from small copies to large ones.
  Status basics() {
    tell("memory");
    if (Status status = openStream(); !status)
      return status;
    Expected<double> launch = elementwise(1, {{plan::ExprOp::Input, 0, 0}, {plan::ExprOp::Neg}}, 1);
    if (!launch)
      return launch.status();
    launch_ = *launch;
    json_["launch_s"] = launch_;
    ordered_json bytes = ordered_json::array(), seconds = ordered_json::array();
    for (int64_t size : sweep_.memory) {
      Workbench bench(*bench_);
      plan::Copy body;
      body.x = bench.operand(DataType::F32, {size / 8});
      body.out = bench.operand(DataType::F32, {size / 8});
      bench.add(body);
      bench.produce(body.x);
      Expected<double> time = mean(bench.time(sweep_.budget));
      if (!time)
        return time.status();
      bytes.push_back(size);
      seconds.push_back(beyondLaunch(*time));
      json_["memory_bandwidth"] = double(size) / beyondLaunch(*time);
    }
    measured_["memory"] = {{"bytes", bytes}, {"seconds", seconds}};
    return Status();
  }

  double beyondLaunch(double seconds) const { return std::max(seconds - launch_, 0.02 * seconds); }

  Expected<double> matmul(DataType type, int64_t m, int64_t n, int64_t k) {
    Workbench bench(*bench_);
    const double weight = double(n * k * plan::byteWidth(type));
    const int copies = std::clamp(int(std::ceil(sweep_.coldBytes / weight)), 1, 24);
    plan::MatMul body;
    body.a = bench.operand(type, {m, k});
    body.c = bench.operand(type, {m, n});
    body.aDims = "mk";
    body.bDims = "nk";
    body.cDims = "mn";
    for (int i = 0; i < copies; ++i) {
      body.b = bench.operand(type, {n, k});
      bench.add(body);
    }
    return mean(bench.time(sweep_.budget));
  }

  static std::string nameOf(DataType type) { return plan::name(type); }

  Status matmuls() {
    json_["peak_flops"] = ordered_json::object();
    for (DataType type : types_) {
      ordered_json seconds = ordered_json::array();
      double peak = 0;
      for (int64_t m : sweep_.m) {
        tell("matmul " + nameOf(type) + ", " + std::to_string(m) + " rows");
        for (int64_t n : sweep_.nk)
          for (int64_t k : sweep_.nk) {
            const double flops = 2.0 * double(m) * double(n) * double(k);
            // Beyond the limit time grows with the work.
            const int64_t rows =
                std::max<int64_t>(1, int64_t(double(m) / std::max(1.0, flops / kMostFlops)));
            Expected<double> time = matmul(type, rows, n, k);
            if (!time)
              return time.status();
            seconds.push_back(*time * double(m) / double(rows));
            peak = std::max(peak, 2.0 * double(rows) * double(n) * double(k) / *time);
          }
      }
      measured_["matmul"][nameOf(type)] = {
          {"m", sweep_.m}, {"n", sweep_.nk}, {"k", sweep_.nk}, {"seconds", seconds}};
      json_["peak_flops"][nameOf(type)] = peak;
    }
    return Status();
  }

  Expected<double> attention(DataType type, int64_t queries, int64_t keys, int64_t depth,
                             bool causal, bool masked = false) {
    constexpr int64_t heads = 8;
    Workbench bench(*bench_);
    plan::Attention body;
    body.q = bench.operand(type, {1, queries, heads, 1, depth});
    body.k = bench.operand(type, {1, keys, heads, depth});
    body.v = bench.operand(type, {1, keys, heads, depth});
    body.scale = 0.125F;
    body.causal = causal;
    body.out = bench.operand(type, {1, queries, heads, 1, depth});
    if (masked)
      body.mask = {bench.operand(DataType::I1, {1, queries, keys}, {0, 0, 1})};
    bench.add(body);
    for (const Operand &made : {body.q, body.k, body.v})
      bench.produce(made);
    Expected<double> time = mean(bench.time(sweep_.budget));
    return time ? Expected<double>(*time / heads) : time;
  }

  Status attentions() {
    for (DataType type : types_) {
      tell("attention " + nameOf(type));
      ordered_json seconds = ordered_json::array();
      for (int64_t queries : sweep_.queries)
        for (int64_t keys : sweep_.keys)
          for (int64_t depth : sweep_.depth) {
            Expected<double> time = attention(type, queries, keys, depth, false);
            if (!time)
              return time.status();
            seconds.push_back(*time);
          }
      measured_["attention"][nameOf(type)] = {{"queries", sweep_.queries},
                                              {"keys", sweep_.keys},
                                              {"depth", sweep_.depth},
                                              {"seconds", seconds}};
    }
    for (DataType type : types_) {
      ordered_json seconds = ordered_json::array();
      for (int64_t queries : sweep_.queries)
        for (int64_t depth : sweep_.depth) {
          Expected<double> time = attention(type, queries, queries, depth, true);
          if (!time)
            return time.status();
          seconds.push_back(*time);
        }
      measured_["causal"][nameOf(type)] = {{"queries", sweep_.queries},
                                           {"keys", {1}},
                                           {"depth", sweep_.depth},
                                           {"seconds", seconds}};
    }
    constexpr int64_t n = 128;
    const int64_t depth = sweep_.depth.front();
    Expected<double> masked = attention(DataType::F32, n, n, depth, false, true);
    Expected<double> plain = masked ? attention(DataType::F32, n, n, depth, false) : masked;
    if (!plain)
      return plain.status();
    measured_["masked"] = *masked / *plain;
    return Status();
  }

  Status addFunction(const std::string &name, const Expected<double> &seconds, int64_t elements) {
    if (!seconds)
      return seconds.status();
    measured_["per_element"][name] = beyondLaunch(*seconds) / double(elements);
    return Status();
  }

  // Functions on operands that a cache holds, so that arithmetic is what is left.
  Status functions() {
    tell("functions");
    using plan::ExprOp;
    const plan::ExprTerm x{ExprOp::Input, 0, 0}, y{ExprOp::Input, 1, 0};
    const std::pair<const char *, ExprOp> unary[] = {{"neg", ExprOp::Neg},
                                                     {"exp", ExprOp::Exp},
                                                     {"tanh", ExprOp::Tanh},
                                                     {"sigmoid", ExprOp::Sigmoid},
                                                     {"relu", ExprOp::Relu},
                                                     {"gelu", ExprOp::Gelu},
                                                     {"gelu_tanh", ExprOp::GeluTanh},
                                                     {"silu", ExprOp::Silu},
                                                     {"sqrt", ExprOp::Sqrt},
                                                     {"sin", ExprOp::Sin},
                                                     {"cos", ExprOp::Cos},
                                                     {"erf", ExprOp::Erf}};
    for (const auto &[name, op] : unary)
      if (Status status =
              addFunction(name, elementwise(sweep_.elements, {x, {op}}, 1), sweep_.elements);
          !status)
        return status;
    const std::pair<const char *, ExprOp> binary[] = {{"add", ExprOp::Add}, {"sub", ExprOp::Sub},
                                                      {"mul", ExprOp::Mul}, {"div", ExprOp::Div},
                                                      {"pow", ExprOp::Pow}, {"max", ExprOp::Max}};
    for (const auto &[name, op] : binary)
      if (Status status =
              addFunction(name, elementwise(sweep_.elements, {x, y, {op}}, 2), sweep_.elements);
          !status)
        return status;
    return rowFunctions();
  }

  Status rowFunctions() {
    const int64_t width = 512, rows = std::max<int64_t>(1, sweep_.elements / width);
    auto timed = [&](const std::string &name, const auto &make) {
      Workbench bench(*bench_);
      bench.produce(make(bench));
      return addFunction(name, mean(bench.time(sweep_.budget)), rows * width);
    };
    auto norm = [&](plan::Norm::Kind kind, bool residual) {
      return [this, kind, residual, rows, width](Workbench &bench) {
        plan::Norm body;
        body.kind = kind;
        body.x = bench.operand(DataType::F32, {rows, width});
        body.out = bench.operand(DataType::F32, {rows, width});
        body.scale = {bench.operand(DataType::F32, {rows, width}, {0, 1})};
        if (residual) {
          body.residual = {bench.operand(DataType::F32, {rows, width})};
          body.sum = {bench.operand(DataType::F32, {rows, width})};
        }
        body.eps = 1e-6F;
        bench.add(body);
        return body.x;
      };
    };
    for (bool residual : {false, true})
      for (auto [name, kind] : {std::pair("layer_norm", plan::Norm::Kind::Layer),
                                std::pair("rms_norm", plan::Norm::Kind::Rms)})
        if (Status status =
                timed(name + std::string(residual ? "_residual" : ""), norm(kind, residual));
            !status)
          return status;
    if (Status status = timed("softmax",
                              [&](Workbench &bench) {
                                plan::Softmax body;
                                body.x = bench.operand(DataType::F32, {rows, width});
                                body.out = bench.operand(DataType::F32, {rows, width});
                                body.dim = 1;
                                bench.add(body);
                                return body.x;
                              });
        !status)
      return status;
    if (Status status = timed("reduce",
                              [&](Workbench &bench) {
                                plan::Reduce body;
                                body.x = bench.operand(DataType::F32, {rows, width});
                                body.out = bench.operand(DataType::F32, {rows, 1});
                                body.reduced = {false, true};
                                bench.add(body);
                                return body.x;
                              });
        !status)
      return status;
    if (Status status = timed("transpose",
                              [&](Workbench &bench) {
                                plan::Copy body;
                                body.x = bench.operand(DataType::F32, {width, rows}, {1, width});
                                body.out = bench.operand(DataType::F32, {width, rows});
                                bench.add(body);
                                return body.x;
                              });
        !status)
      return status;
    // Rows of 64 out of rows of 192, as heads lie in a joined projection: the cost of a run.
    constexpr int64_t run = 64;
    Workbench bench(*bench_);
    plan::Copy body;
    body.x = bench.operand(DataType::F32, {rows * width / run, 3 * run});
    body.out = bench.operand(DataType::F32, {rows * width / run, run});
    bench.produce(body.x);
    body.x.sizes[1] = run;
    bench.add(body);
    if (Status status =
            addFunction("copy_run", mean(bench.time(sweep_.budget)), rows * width / run);
        !status)
      return status;
    return timed("rope", [&](Workbench &bench) {
      plan::Rope body;
      body.x = bench.operand(DataType::F32, {1, rows, width / 64, 64});
      body.out = bench.operand(DataType::F32, {1, rows, width / 64, 64});
      body.positions = bench.operand(DataType::I32, {1, rows});
      body.cos = bench.operand(DataType::F32, {rows, 32});
      body.sin = bench.operand(DataType::F32, {rows, 32});
      bench.add(body);
      return body.x;
    });
  }

  Expected<double> collective(plan::CollectiveKind kind, size_t group, int64_t bytes) {
    Workbench bench(*bench_);
    // Whole blocks for every rank.
    const int64_t p = sizes_[group], block = std::max<int64_t>(1, bytes / 4 / p), n = block * p;
    plan::Collective body;
    body.kind = kind;
    body.axes = {int32_t(group)};
    body.x = bench.operand(DataType::F32, {kind == plan::CollectiveKind::AllGather ? block : n});
    body.out =
        bench.operand(DataType::F32, {kind == plan::CollectiveKind::ReduceScatter ? block : n});
    bench.produce(body.x);
    const int runs = bytes <= 1 << 16 ? 60 : bytes <= 1 << 20 ? 25 : 9;
    return mean(bench.timeCollective(body, runs));
  }

  Status collectives() {
    const std::pair<const char *, plan::CollectiveKind> kinds[] = {
        {"all_reduce", plan::CollectiveKind::AllReduce},
        {"all_gather", plan::CollectiveKind::AllGather},
        {"reduce_scatter", plan::CollectiveKind::ReduceScatter},
        {"all_to_all", plan::CollectiveKind::AllToAll}};
    measured_["collectives"] = ordered_json::array();
    double alpha = launch_, bandwidth = json_["memory_bandwidth"];
    for (size_t group = 0; group < sizes_.size(); ++group)
      for (const auto &[name, kind] : kinds) {
        tell(std::string(name) + " over " + std::to_string(sizes_[group]) + " ranks");
        ordered_json points = ordered_json::array(), seconds = ordered_json::array();
        for (int64_t bytes : sweep_.collective) {
          Expected<double> time = collective(kind, group, bytes);
          if (!time)
            return time.status();
          points.push_back(bytes);
          seconds.push_back(*time);
        }
        measured_["collectives"].push_back(
            {{"kind", name}, {"ranks", sizes_[group]}, {"bytes", points}, {"seconds", seconds}});
        if (group == 0 && kind == plan::CollectiveKind::AllReduce) {
          // Two ranks at least: each sends (p - 1) / p of the tensor twice.
          const double sent = 2.0 * double(sizes_[0] - 1) / double(sizes_[0]);
          alpha = seconds.front();
          bandwidth = sent * double(sweep_.collective.back()) / double(seconds.back());
        }
      }
    json_["axes"] = {{{"alpha_s", alpha}, {"hop_s", alpha / 4}, {"bandwidth", bandwidth}}};
    return Status();
  }

  Status write() {
    measured_["on"] = {{"device", device_->name()},
                       {"ranks", world_.size()},
                       {"threads", choice_.threads()},
                       {"tp-run", versionText()}};
    json_["measured"] = measured_;
    const std::string text = json_.dump() + "\n";
    return writeFileAtomically(context_.options.calibrate, text.data(), text.size(), nullptr, 0);
  }

  const RankContext &context_;
  runtime::Communicator &world_;
  const Sweep sweep_;
  runtime::FaultInjection faults_;
  DeviceChoice choice_;
  std::unique_ptr<runtime::Device> device_;
  std::map<plan::Axes, std::unique_ptr<runtime::Communicator>> groups_;
  std::vector<int> sizes_;
  std::optional<BenchDevice> bench_;
  std::optional<Workbench> stream_;
  std::vector<DataType> types_;
  double launch_ = 0;
  ordered_json json_, measured_;
};

} // namespace

Status calibrate(const RankContext &context, bool &agreed) {
  if (Status status = runtime::agree(context.world, context.world.rank() == 0
                                                        ? checkWritable(context.options.calibrate)
                                                        : Status());
      !status)
    return status;
  // A rank that fails between two agreements leaves alone: then giving up groups, which is
  // collective, would wait for the others.
  agreed = false;
  auto calibration = std::make_unique<Calibration>(context);
  Status status = calibration->run();
  agreed = bool(status);
  if (!agreed)
    std::ignore = calibration.release();
  context.state.quiet = true;
  return status;
}

} // namespace tenon::tprun
