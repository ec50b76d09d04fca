// SPDX-License-Identifier: Apache-2.0
// Group: what communicators of several ranks have in common: the tag of each collective, its form
// on the wire, comparison, and strings and splits in terms of all_gather.
#pragma once

#include "tenon/runtime/Communicator.h"

#include <cstring>
#include <utility>

namespace tenon::runtime {

/// What the ranks compare when collectives are checked, in 64 bytes, comparable by memcmp: sequence
/// number, kinds, elements of x, type and the names of the axes.
struct WireTag {
  uint64_t sequence;
  uint64_t count;
  uint32_t op; ///< Kind * 16 + reduction; kBarrier for a barrier.
  uint8_t type;
  char group[43]; ///< Zero-terminated; a longer name is cut and ends in its hash.
};
static_assert(sizeof(WireTag) == 64);

inline constexpr uint32_t kBarrier = 0xffff;

/// Returns e.g. "all_reduce number 7 of 4096 f32 over tp".
std::string describe(const WireTag &tag);

/// Monotonic clock in seconds.
double now();

/// Base of communicators with several members.
class Group : public Communicator {
public:
  Status barrier() override;
  Expected<std::vector<std::string>> gatherStrings(const std::string &mine) override;
  void setName(std::string name) override { name_ = std::move(name); }
  void setSequence(uint64_t sequence) override { sequence_ = sequence; }

protected:
  /// Makes the tag of the next collective and counts on.
  WireTag nextTag(uint32_t op, int64_t count, plan::DataType type);
  static uint32_t code(plan::CollectiveKind kind, plan::ReduceKind reduce) {
    return uint32_t(kind) * 16 + uint32_t(reduce);
  }
  /// Code::Disagree with both tags unless they are equal.
  Status compare(const WireTag &mine, const WireTag &other, int peer) const;
  /// The members of my colour, in order: {rank, ...}.
  Expected<std::vector<int>> splitMembers(int color, int key);
  virtual Status runBarrier(const WireTag &tag) = 0;

  std::string name_ = "world";
  uint64_t sequence_ = 1;
};

} // namespace tenon::runtime
