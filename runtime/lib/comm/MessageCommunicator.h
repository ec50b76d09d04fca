// SPDX-License-Identifier: Apache-2.0
// MessageCommunicator: collectives by point-to-point MPI messages, for groups that cross nodes. MPI
// moves bytes; sums are ours. Every exchange is direct: each member sends to each other one what
// that one needs.
#pragma once

#include "Group.h"
#include "MpiCalls.h"

#include <atomic>
#include <vector>

namespace tenon::runtime {

/// Bytes to or from one other member.
struct Transfer {
  int peer;
  std::byte *data;
  int64_t bytes;
};

class MessageCommunicator : public Group {
public:
  MessageCommunicator(MpiHandle handle, bool sharedMemory, bool crowded);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Expected<std::unique_ptr<Communicator>> split(int color, int key) override;
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
  void checkTags(bool on) override { checking_ = on; }
  // cancel() keeps its default: messages cannot interrupt a peer, the launcher does when this rank
  // exits.

protected:
  Status runBarrier(const WireTag &tag) override;

private:
  Status begin(const WireTag &tag, CollectiveTime *time);
  Status end(Status status, CollectiveTime *time);
  /// Sends and receives; every member receives from a peer exactly what that one sends it.
  Status exchange(const std::vector<Transfer> &sends, const std::vector<Transfer> &receives,
                  CollectiveTime *time);
  /// Sends the same bytes to every other member, receives its bytes at base + peer * stride.
  Status exchangeAll(const void *mine, std::byte *base, int64_t bytes, int64_t stride,
                     CollectiveTime *time);
  Status waitFor(MPI_Request *request);
  std::byte *scratch(int64_t bytes);

  MpiHandle handle_;
  bool sharedMemory_, crowded_;
  int rank_ = 0, size_ = 1;
  bool checking_ = false;
  std::vector<std::byte> scratch_;
  std::vector<const void *> parts_;
  std::vector<MPI_Request> requests_;
};

/// Makes a communicator of `handle`: through shared memory when all its members are on one node and
/// `sharedMemory`, else by messages. Collective.
Expected<std::unique_ptr<Communicator>> makeMpiGroup(MpiHandle handle, bool sharedMemory,
                                                     bool crowded, std::atomic<int> *cancelled);

} // namespace tenon::runtime
