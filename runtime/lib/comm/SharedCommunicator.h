// SPDX-License-Identifier: Apache-2.0
// SharedCommunicator: collectives through memory that all members see, without locks. Every
// collective is a series of rounds. In round k a member copies its bytes into one of its two areas
// (k odd or even), posts k, waits until all have posted k, and reads the others' areas. Nobody can
// be two rounds ahead, so the area of round k - 2 has been read by all when round k overwrites it:
// a round costs one synchronisation.
//
// Small all_reduces take one round, in which everybody sums everything; larger ones two, in which
// everybody sums one share. Payloads beyond an area go in chunks.
#pragma once

#include "Group.h"

#include <atomic>
#include <cstddef>

namespace tenon::runtime {

/// Control block of one member in the shared segment.
struct alignas(64) Slot {
  std::atomic<uint64_t> posted;
  WireTag tags[2];
};

/// Where the pieces of a segment lie: header, slots, areas of `areaBytes` (two per member).
class Segment {
public:
  Segment() = default;
  Segment(std::byte *base, int members, int64_t areaBytes)
      : base_(base), members_(members), areaBytes_(areaBytes) {}
  static int64_t bytes(int members, int64_t areaBytes) {
    return 64 + members * int64_t(sizeof(Slot)) + 2 * members * areaBytes;
  }
  /// Code of a member that failed; 0 while all go well.
  std::atomic<int> &cancelled() const { return *reinterpret_cast<std::atomic<int> *>(base_); }
  Slot &slot(int member) const {
    return *reinterpret_cast<Slot *>(base_ + 64 + member * int64_t(sizeof(Slot)));
  }
  std::byte *area(int member, uint64_t round) const {
    return base_ + 64 + members_ * int64_t(sizeof(Slot)) +
           (int64_t(member) * 2 + int64_t(round & 1)) * areaBytes_;
  }
  int64_t areaBytes() const { return areaBytes_; }

private:
  std::byte *base_ = nullptr;
  int members_ = 0;
  int64_t areaBytes_ = 0;
};

class SharedCommunicator : public Group {
public:
  /// `segment` starts zero-filled and outlives the communicator; `cancelled` is the flag of the
  /// whole run. Waits yield at once when `crowded` (more ranks than cores).
  SharedCommunicator(int rank, int size, Segment segment, std::atomic<int> *cancelled,
                     bool crowded);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Status allReduce(const void *x, void *out, int64_t count, plan::DataType type,
                   plan::ReduceKind kind, CollectiveTime *time) override;
  Status allGather(const void *x, void *out, int64_t count, plan::DataType type,
                   CollectiveTime *time) override;
  Status reduceScatter(const void *x, void *out, int64_t count, plan::DataType type,
                       plan::ReduceKind kind, CollectiveTime *time) override;
  Status allToAll(const void *x, void *out, int64_t count, plan::DataType type,
                  CollectiveTime *time) override;
  Status broadcast(const void *x, void *out, int64_t count, plan::DataType type,
                   CollectiveTime *time) override;
  /// Tags are always compared here: it costs nothing.
  void checkTags(bool) override {}
  bool cancel(Code code) override;
  Status cancelled() const override;

protected:
  Status runBarrier(const WireTag &tag) override;
  std::byte *myArea() const { return segment_.area(rank_, round_ + 1); }
  const std::byte *areaOf(int member) const { return segment_.area(member, round_); }
  /// Posts what lies in myArea() and waits for all; then areaOf() gives everybody's.
  Status exchange(const WireTag &tag);

  int rank_, size_;
  Segment segment_;
  std::atomic<int> *cancelled_;
  bool crowded_;

private:
  Status waitFor(int member);
  /// One round of a chunk that every member reduces whole, or by shares in two rounds.
  Status reduceWhole(const WireTag &tag, const std::byte *x, std::byte *out, int64_t count,
                     plan::DataType type, plan::ReduceKind kind);
  Status reduceByShares(const WireTag &tag, const std::byte *x, std::byte *out, int64_t count,
                        plan::DataType type, plan::ReduceKind kind);
  /// Notes the first arrival of all peers, and the end.
  void noteReady();
  void begin(CollectiveTime *time);
  Status end(Status status);

  uint64_t round_ = 0;
  CollectiveTime *time_ = nullptr;
  std::vector<const void *> parts_;
};

} // namespace tenon::runtime
