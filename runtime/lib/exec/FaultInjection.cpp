// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/FaultInjection.h"

#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <unistd.h>

namespace tenon::runtime {

const bool kFaultInjection = true;

namespace {

struct Known {
  const char *point, *kind;
  bool argument;
};
constexpr Known kKnown[] = {
    {"op", "sleep", true},          {"op", "error", true},       {"op", "exit", true},
    {"op", "kill", true},           {"op", "segv", true},        {"op", "abort", true},
    {"op", "stop", true},           {"op", "skip", true},        {"op", "count", true},
    {"op", "dtype", true},          {"op", "group", true},       {"op", "stubborn", true},
    {"step", "sleep", true},        {"step", "error", true},     {"step", "exit", true},
    {"step", "kill", true},         {"alloc", "fail", true},     {"memory", "limit", true},
    {"handshake", "binary", false}, {"handshake", "isa", false}, {"handshake", "graph", false},
    {"verify", "skip", false},      {"capture", "fail", false},  {"capture", "starve0", false},
    {"capture", "starve1", false},  {"arena", "poison", false},  {"host", "pretend", true},
    {"device", "emulated", false},
};

bool parseNumber(const std::string &text, int64_t &value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0;
}

[[noreturn]] void sleepForEver() {
  for (;;) {
    timespec nap{3600, 0};
    nanosleep(&nap, nullptr);
  }
}

/// Passes everything on, but fails one allocation (none when negative), or every capture.
class FailingDevice : public Device {
public:
  FailingDevice(std::unique_ptr<Device> device, int64_t failing, bool captures)
      : device_(std::move(device)), left_(failing), captures_(captures) {}
  std::string name() const override { return device_->name(); }
  DeviceLimits limits() const override { return device_->limits(); }
  Expected<std::byte *> allocate(int64_t bytes, MemoryUse use) override {
    if (left_-- == 0)
      return Status(Code::Memory, "cannot allocate " + std::to_string(bytes) + " bytes (injected)");
    return device_->allocate(bytes, use);
  }
  void release(std::byte *memory) override { device_->release(memory); }
  Status copyIn(std::byte *device, const void *host, int64_t bytes) override {
    return device_->copyIn(device, host, bytes);
  }
  Status copyOut(void *host, const std::byte *device, int64_t bytes) override {
    return device_->copyOut(host, device, bytes);
  }
  Expected<std::byte *> stage(std::byte *device, int64_t bytes) override {
    return device_->stage(device, bytes);
  }
  Status submit(std::byte *device, int64_t bytes) override {
    return device_->submit(device, bytes);
  }
  Status connect(Communicator &mesh,
                 const std::map<plan::Axes, std::unique_ptr<Communicator>> &groups) override {
    return device_->connect(mesh, groups);
  }
  Expected<std::unique_ptr<Kernel>> prepare(const plan::Op &op, const Binding &binding) override {
    return device_->prepare(op, binding);
  }
  Status settle(Communicator &mesh) override { return device_->settle(mesh); }
  void setObserver(std::function<Status(int, bool)> observer, Observation observation) override {
    device_->setObserver(std::move(observer), observation);
  }
  void setOpIndex(int op) override { device_->setOpIndex(op); }
  Status synchronize() override { return device_->synchronize(); }
  Status beginCapture() override { return device_->beginCapture(); }
  Expected<std::unique_ptr<Capture>> endCapture() override {
    Expected<std::unique_ptr<Capture>> capture = device_->endCapture();
    if (capture && captures_)
      return Status(Code::Device, "injected");
    return capture;
  }
  void timeAllOps(bool on) override { device_->timeAllOps(on); }
  void readTimes(const std::function<void(int, double, double)> &visit) override {
    device_->readTimes(visit);
  }

private:
  std::unique_ptr<Device> device_;
  int64_t left_;
  bool captures_;
};

} // namespace

Expected<FaultInjection> FaultInjection::parse(const std::vector<std::string> &specifications) {
  FaultInjection result;
  for (const std::string &text : specifications) {
    auto wrong = [&](const std::string &what) {
      return Status(Code::Usage, "--inject=" + text + ": " + what);
    };
    size_t first = text.find(':'), second = text.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      return wrong("expected RANK:POINT:KIND");
    Fault fault;
    int64_t rank = -1;
    std::string who = text.substr(0, first);
    if (who != "*" && !parseNumber(who, rank))
      return wrong("expected a rank or '*', found '" + who + "'");
    fault.rank = int(rank);
    fault.point = text.substr(first + 1, second - first - 1);
    fault.kind = text.substr(second + 1);
    if (size_t equals = fault.point.find('='); equals != std::string::npos) {
      fault.argument = fault.point.substr(equals + 1);
      fault.point.resize(equals);
    }
    const Known *known = nullptr;
    for (const Known &candidate : kKnown)
      if (fault.point == candidate.point && fault.kind == candidate.kind)
        known = &candidate;
    if (!known)
      return wrong("unknown point or kind");
    if (known->argument == fault.argument.empty())
      return wrong(known->argument ? "expected POINT=VALUE" : "expected no value");
    result.faults_.push_back(std::move(fault));
  }
  return result;
}

FaultInjection FaultInjection::of(int rank) const {
  FaultInjection result;
  for (const Fault &fault : faults_)
    if (fault.rank < 0 || fault.rank == rank)
      result.faults_.push_back(fault);
  return result;
}

bool FaultInjection::has(const char *point, const char *kind) const {
  return std::any_of(faults_.begin(), faults_.end(), [&](const Fault &fault) {
    return fault.point == point && fault.kind == kind;
  });
}

std::optional<int64_t> FaultInjection::number(const char *point, const char *kind) const {
  for (const Fault &fault : faults_)
    if (int64_t value = 0;
        fault.point == point && fault.kind == kind && parseNumber(fault.argument, value))
      return value;
  return std::nullopt;
}

std::optional<std::string> FaultInjection::text(const char *point, const char *kind) const {
  for (const Fault &fault : faults_)
    if (fault.point == point && fault.kind == kind)
      return fault.argument;
  return std::nullopt;
}

namespace {

/// The op that `argument` names: an index, or `collectiveN`. -1 when there is none.
int64_t findOp(const std::vector<plan::Op> &ops, const std::string &argument) {
  const std::string prefix = "collective";
  int64_t number = 0;
  if (argument.rfind(prefix, 0) != 0)
    return parseNumber(argument, number) && number < int64_t(ops.size()) ? number : -1;
  if (parseNumber(argument.substr(prefix.size()), number))
    for (size_t op = 0; op < ops.size(); ++op)
      if (std::holds_alternative<plan::Collective>(ops[op].body) && number-- == 0)
        return int64_t(op);
  return -1;
}

Status takeElement(plan::Collective &collective) {
  if (collective.kind != plan::CollectiveKind::AllReduce)
    return Status(Code::Usage, "--inject: count needs an all_reduce");
  int64_t fewer = plan::elements(collective.x) - 1;
  for (plan::Operand *operand : {&collective.x, &collective.out})
    operand->sizes = {fewer}, operand->strides = {1};
  return Status();
}

/// The same bytes under another type.
void retype(plan::Entry &entry, plan::Collective &collective) {
  for (plan::Operand *operand : {&collective.x, &collective.out}) {
    plan::Buffer other = entry.buffers[size_t(operand->buffer)];
    other.type = plan::DataType::I32;
    operand->buffer = int32_t(entry.buffers.size());
    entry.buffers.push_back(other);
  }
}

Status regroup(const std::vector<plan::Op> &ops, plan::Collective &collective) {
  for (const plan::Op &op : ops)
    if (const auto *other = std::get_if<plan::Collective>(&op.body);
        other && other->axes != collective.axes) {
      collective.axes = other->axes;
      return Status();
    }
  return Status(Code::Usage, "--inject: the plan has no other group");
}

} // namespace

Status FaultInjection::changeOps(plan::Entry &entry, std::vector<bool> &skipped) {
  for (const Fault &fault : faults_) {
    if (fault.point != "op")
      continue;
    const size_t at = fault.argument.find('@');
    int64_t step = -1;
    const bool known = at == std::string::npos || parseNumber(fault.argument.substr(at + 1), step);
    const int64_t index = known ? findOp(entry.ops, fault.argument.substr(0, at)) : -1;
    if (index < 0)
      return Status(Code::Usage, "--inject: no op '" + fault.argument + "' among " +
                                     std::to_string(entry.ops.size()));
    if (fault.kind == "skip") {
      skipped[size_t(index)] = true;
      continue;
    }
    if (fault.kind != "count" && fault.kind != "dtype" && fault.kind != "group") {
      atOps_.push_back({int(index), step, fault.kind});
      continue;
    }
    auto *collective = std::get_if<plan::Collective>(&entry.ops[size_t(index)].body);
    if (!collective)
      return Status(Code::Usage, "--inject: " + fault.kind + " needs a collective");
    Status status;
    if (fault.kind == "count")
      status = takeElement(*collective);
    else if (fault.kind == "group")
      status = regroup(entry.ops, *collective);
    else
      retype(entry, *collective);
    if (!status)
      return status;
  }
  return Status();
}

namespace {

/// What one kind does to this rank.
Status strike(const std::string &kind) {
  if (kind == "sleep")
    sleepForEver();
  if (kind == "stubborn") {
    std::signal(SIGTERM, SIG_IGN);
    sleepForEver();
  }
  if (kind == "exit")
    _exit(0);
  if (kind == "kill")
    kill(getpid(), SIGKILL);
  if (kind == "segv")
    raise(SIGSEGV); // At this thread, as a crash is: it goes no further.
  if (kind == "abort")
    std::abort();
  if (kind == "stop")
    kill(getpid(), SIGSTOP);
  if (kind == "error")
    return Status(Code::Device, "injected error");
  return Status();
}

} // namespace

Status FaultInjection::atOp(int index, int64_t step) const {
  for (const AtOp &fault : atOps_)
    if (fault.op == index && (fault.step < 0 || fault.step == step))
      if (Status status = strike(fault.kind); !status)
        return status;
  return Status();
}

Status FaultInjection::atStep(int64_t step) const {
  for (const Fault &fault : faults_)
    if (int64_t when = 0;
        fault.point == "step" && parseNumber(fault.argument, when) && when == step)
      if (Status status = strike(fault.kind); !status)
        return status;
  return Status();
}

std::unique_ptr<Device> FaultInjection::wrap(std::unique_ptr<Device> device) const {
  std::optional<int64_t> failing = number("alloc", "fail");
  const bool captures = has("capture", "fail");
  if (failing || captures)
    return std::make_unique<FailingDevice>(std::move(device), failing.value_or(-1), captures);
  return device;
}

} // namespace tenon::runtime
