// SPDX-License-Identifier: Apache-2.0
// NcclSegment: the shared memory of one emulated communicator: who has come, and a ring of bytes
// from every rank to every rank. Ranks may be processes or threads. And one collective as a state
// machine over these rings, which never waits: it is called until it is done.
#pragma once

#include "nccl.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace tenon::emulation {

struct Member {
  std::atomic<int> here;
  char host[64], uuid[16];
};

class Segment {
public:
  /// Maps the segment of that name, making it if it is not there; null when the system refuses.
  static std::unique_ptr<Segment> open(const std::string &name, int ranks);
  ~Segment();

  /// Tells the others; all() says whether everyone has come.
  void join(int rank, const std::string &host, const cudaUUID_t &uuid);
  bool all() const;
  void unlink();
  Member &member(int rank) const;
  /// How many ranks have finished with the communicator.
  std::atomic<int> &finalized() const;

  /// Moves as many bytes as fit or are there; returns how many.
  size_t write(int from, int to, const std::byte *data, size_t bytes);
  size_t read(int from, int to, std::byte *data, size_t bytes);
  int ranks() const { return ranks_; }

private:
  Segment() = default;
  struct Ring;
  Ring &ring(int from, int to) const;

  std::string name_;
  int ranks_ = 0;
  size_t capacity_ = 0, bytes_ = 0;
  std::byte *memory_ = nullptr;
};

/// A message on its way. The receiver compares length and kind with what it expects: if they
/// differ, neither rank ever gets on, which is what NCCL does at best.
struct Transfer {
  bool send = false;
  int peer = 0;
  std::byte *data = nullptr;
  size_t bytes = 0;
  uint64_t kind = 0;
  uint64_t header[2] = {};
  size_t headerDone = 0, done = 0;
};

enum class NcclKind { AllReduce, AllGather, ReduceScatter, Broadcast, Send, Receive };

/// One call, or one of the sends and receives of a group.
struct NcclCall {
  NcclKind kind;
  const void *send = nullptr;
  void *receive = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int peer = 0; ///< Or root.
};

size_t widthOf(ncclDataType_t type); ///< 0 for a type that is not emulated.

/// Runs a collective, or several sends and receives at the same time.
class NcclRun {
public:
  NcclRun(Segment &segment, int rank, std::vector<NcclCall> calls);
  /// Whether it is over.
  bool poll();

private:
  void begin();
  void reduce();
  void transfer(bool send, int peer, const void *data, size_t bytes, NcclKind kind);
  size_t partOf(int rank) const; ///< First element of a rank's part of an all-reduce.

  Segment &segment_;
  int rank_, phase_ = 0;
  std::vector<NcclCall> calls_;
  std::vector<Transfer> transfers_;
  std::vector<std::vector<std::byte>> received_;
  std::vector<std::byte> own_;
};

} // namespace tenon::emulation
