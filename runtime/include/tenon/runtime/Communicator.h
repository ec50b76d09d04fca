// SPDX-License-Identifier: Apache-2.0
// Communicator: the ranks of one group and the collectives among them, on CPU memory.
// Implementations: self (one rank), threads (ranks of one process), MPI (shared memory within a
// node, else messages). They only move bytes; sums are ours, in rank order, in f32, rounded once,
// so that all three give the same bits.
#pragma once

#include "tenon/runtime/Status.h"
#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tenon::runtime {

/// What a collective did to the clock, in seconds on the monotonic clock: `entered` when this rank
/// called, `ready` when the last peer's first byte had arrived, `left` at the end. wait = ready -
/// entered, communication = left - ready.
struct CollectiveTime {
  double entered = 0, ready = 0, left = 0;
};

/// A group of ranks. Calls are blocking and collective: all members call the same function in the
/// same order. Not thread-safe: one thread per rank. With tags checked (always under threads,
/// `--check-collectives` under MPI) a mismatch gives Code::Disagree with both tags, a failure of
/// the library beneath Code::Device. A group of size 1 is real: it copies.
class Communicator {
public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Splits into groups of equal `color`, ordered by `key`. Collective over all members.
  virtual Expected<std::unique_ptr<Communicator>> split(int color, int key) = 0;

  /// Buffer sizes as in plan::Collective, `count` = elements of x on each rank. x and out are
  /// disjoint, or equal for all_reduce and broadcast.
  virtual Status allReduce(const void *x, void *out, int64_t count, plan::DataType type,
                           plan::ReduceKind kind, CollectiveTime *time = nullptr) = 0;
  virtual Status allGather(const void *x, void *out, int64_t count, plan::DataType type,
                           CollectiveTime *time = nullptr) = 0;
  virtual Status reduceScatter(const void *x, void *out, int64_t count, plan::DataType type,
                               plan::ReduceKind kind, CollectiveTime *time = nullptr) = 0;
  virtual Status allToAll(const void *x, void *out, int64_t count, plan::DataType type,
                          CollectiveTime *time = nullptr) = 0;
  /// Root is member 0.
  virtual Status broadcast(const void *x, void *out, int64_t count, plan::DataType type,
                           CollectiveTime *time = nullptr) = 0;
  virtual Status barrier() = 0;

  /// Gathers one byte string per member, in rank order, on every member: for handshakes and
  /// reports.
  virtual Expected<std::vector<std::string>> gatherStrings(const std::string &mine) = 0;

  /// Compares tags before each collective from now on.
  virtual void checkTags(bool on) = 0;
  /// Names the group for messages.
  virtual void setName(std::string name) = 0;
  /// Number that the next collective carries in its tag. Without a call they count up from 1, which
  /// does not tell a skipped collective from its equal successor; the executor gives each its
  /// number in the plan.
  virtual void setSequence(uint64_t /*sequence*/) {}
  /// Tells the other members, as far as the transport can, that this rank fails with `code`: their
  /// next wait ends with that code and the message `peerFailed`. Returns true for the first rank to
  /// say so, whose message is the one to print.
  virtual bool cancel(Code /*code*/) { return true; }
  /// Without waiting: the code and `peerFailed` once another member has cancelled, as far as the
  /// transport can tell. For waits outside this communicator.
  virtual Status cancelled() const { return Status(); }
};

/// The message of a status that only says that another rank failed: not worth printing.
inline constexpr const char *peerFailed = "a peer failed";

/// A communicator of one rank.
std::unique_ptr<Communicator> makeSelfCommunicator();

/// Runs `body(communicator)` on `ranks` threads of this process and returns the first failing
/// status in rank order. Every wait polls `cancelled`, so a rank that fails releases the others
/// (Code::Device, "a peer failed").
Status runThreadRanks(int ranks, const std::function<Status(Communicator &)> &body);

/// How MPI ranks move bytes.
struct MpiOptions {
  /// Groups within one node exchange through shared memory; without it everything goes by messages.
  bool sharedMemory = true;
};

/// MPI_COMM_WORLD, initialised FUNNELED; finalises when the last communicator made from it dies.
/// Fails with Code::Usage when launcher variables promise more ranks than MPI sees, and with
/// Code::Device when built without MPI.
Expected<std::unique_ptr<Communicator>> makeMpiCommunicator(int *argc, char ***argv,
                                                            const MpiOptions &options = {});

/// Number of ranks that the launcher's environment variables promise; 0 when this process was not
/// started by a launcher.
int launcherRanks();

} // namespace tenon::runtime
