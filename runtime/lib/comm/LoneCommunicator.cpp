// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/comm/LoneCommunicator.h"

#include <chrono>
#include <cstring>
#include <utility>

namespace tenon::runtime {
namespace {

class LoneCommunicator : public Communicator {
public:
  LoneCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Expected<std::unique_ptr<Communicator>> split(int, int) override {
    return Status(Code::Usage, "group '" + name_ + "' cannot be split by lone rank " +
                                   std::to_string(rank_) + ": expected the colours of " +
                                   std::to_string(size_) + " ranks, found one");
  }

  Status allReduce(const void *x, void *out, int64_t count, plan::DataType type, plan::ReduceKind,
                   CollectiveTime *time) override {
    return repeat(x, out, count, type, 1, time);
  }
  Status allGather(const void *x, void *out, int64_t count, plan::DataType type,
                   CollectiveTime *time) override {
    return repeat(x, out, count, type, size_, time);
  }
  Status reduceScatter(const void *x, void *out, int64_t count, plan::DataType type,
                       plan::ReduceKind, CollectiveTime *time) override {
    const int64_t block = count / size_;
    return repeat(static_cast<const std::byte *>(x) + rank_ * block * plan::byteWidth(type), out,
                  block, type, 1, time);
  }
  Status allToAll(const void *x, void *out, int64_t count, plan::DataType type,
                  CollectiveTime *time) override {
    const int64_t block = count / size_;
    return repeat(static_cast<const std::byte *>(x) + rank_ * block * plan::byteWidth(type), out,
                  block, type, size_, time);
  }
  Status broadcast(const void *x, void *out, int64_t count, plan::DataType type,
                   CollectiveTime *time) override {
    return repeat(x, out, count, type, 1, time);
  }
  Status barrier() override { return Status(); }
  Expected<std::vector<std::string>> gatherStrings(const std::string &mine) override {
    return std::vector<std::string>(size_t(size_), mine);
  }
  void checkTags(bool) override {}
  void setName(std::string name) override { name_ = std::move(name); }

private:
  static Status repeat(const void *x, void *out, int64_t count, plan::DataType type, int times,
                       CollectiveTime *time) {
    auto now = [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
    };
    const double entered = now();
    const size_t bytes = size_t(count * plan::byteWidth(type));
    for (int i = 0; i < times && bytes > 0; ++i)
      if (void *to = static_cast<std::byte *>(out) + size_t(i) * bytes; to != x)
        std::memcpy(to, x, bytes);
    if (time)
      *time = {entered, entered, now()};
    return Status();
  }

  int rank_, size_;
  std::string name_ = "world";
};

} // namespace

std::unique_ptr<Communicator> makeLoneCommunicator(int rank, int size) {
  return std::make_unique<LoneCommunicator>(rank, size);
}

} // namespace tenon::runtime
