// SPDX-License-Identifier: Apache-2.0
// Collectives: hands contiguous buffers to the group's communicator.
#include "Work.h"

namespace tenon::runtime::cpu {
namespace {

class CollectiveWork : public Work {
public:
  CollectiveWork(const plan::Collective &op, Region x, Region out, Communicator &group,
                 CollectiveTime *time)
      : kind_(op.kind), reduce_(op.reduce), x_(std::move(x)), out_(std::move(out)), group_(group),
        time_(time), count_(x_.elements()) {}

  Status run() override {
    using plan::CollectiveKind;
    switch (kind_) {
    case CollectiveKind::AllReduce:
      return group_.allReduce(x_.data, out_.data, count_, x_.type, reduce_, time_);
    case CollectiveKind::AllGather:
      return group_.allGather(x_.data, out_.data, count_, x_.type, time_);
    case CollectiveKind::ReduceScatter:
      return group_.reduceScatter(x_.data, out_.data, count_, x_.type, reduce_, time_);
    case CollectiveKind::AllToAll:
      return group_.allToAll(x_.data, out_.data, count_, x_.type, time_);
    case CollectiveKind::Broadcast:
      return group_.broadcast(x_.data, out_.data, count_, x_.type, time_);
    }
    return Status(Code::Plan, "unknown collective");
  }

private:
  plan::CollectiveKind kind_;
  plan::ReduceKind reduce_;
  Region x_, out_;
  Communicator &group_;
  CollectiveTime *time_;
  int64_t count_;
};

} // namespace

PreparedWork prepare(const plan::Collective &op, const Binding &binding, Context &) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  auto found = binding.groups.find(op.axes);
  bind.require(found != binding.groups.end() && found->second, "no communicator for its axes");
  bind.require(x.isContiguous() && out.isContiguous(), "expected contiguous operands");
  bind.require(x.type == out.type, "expected one element type");
  if (!bind.status().ok())
    return bind.status();
  int64_t p = found->second->size(), n = x.elements(), expected = n;
  if (op.kind == plan::CollectiveKind::AllGather)
    expected = n * p;
  if (op.kind == plan::CollectiveKind::ReduceScatter)
    expected = n / p;
  bind.require(out.elements() == expected, "expected " + std::to_string(expected) +
                                               " elements of output, found " +
                                               std::to_string(out.elements()));
  bool blocks =
      op.kind == plan::CollectiveKind::ReduceScatter || op.kind == plan::CollectiveKind::AllToAll;
  bind.require(!blocks || n % p == 0, "expected a multiple of " + std::to_string(p) +
                                          " elements, found " + std::to_string(n));
  if (!bind.status().ok())
    return bind.status();
  return std::unique_ptr<Work>(
      new CollectiveWork(op, std::move(x), std::move(out), *found->second, binding.time));
}

} // namespace tenon::runtime::cpu
