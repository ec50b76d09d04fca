// SPDX-License-Identifier: Apache-2.0
#include "MessageCommunicator.h"

#include "tenon/runtime/comm/RankOrderedSum.h"

#include <algorithm>
#include <ctime>
#include <sched.h>

namespace tenon::runtime {

// One exchange of everything up to here, reduce-scatter and all-gather above.
static constexpr int64_t kDirectBytes = 32 << 10;
static constexpr int kDataTag = 1;

static void copyBytes(void *to, const void *from, int64_t bytes) {
  if (bytes > 0 && to != from)
    std::memcpy(to, from, size_t(bytes));
}

static std::byte *bytesOf(const void *data) {
  return static_cast<std::byte *>(const_cast<void *>(data));
}

MessageCommunicator::MessageCommunicator(MpiHandle handle, bool sharedMemory, bool crowded)
    : handle_(std::move(handle)), sharedMemory_(sharedMemory), crowded_(crowded) {
  MPI_Comm_rank(handle_.comm(), &rank_);
  MPI_Comm_size(handle_.comm(), &size_);
  parts_.resize(size_t(size_));
}

std::byte *MessageCommunicator::scratch(int64_t bytes) {
  if (int64_t(scratch_.size()) < bytes)
    scratch_.resize(size_t(bytes));
  return scratch_.data();
}

// Between tests the core is yielded when ranks exceed cores; after many, always.
static void pauseAfter(int64_t turn, bool crowded) {
  if (turn > 100000) {
    timespec nap{0, 50000};
    nanosleep(&nap, nullptr);
  } else if (crowded || turn > 1000) {
    sched_yield();
  }
}

Status MessageCommunicator::waitFor(MPI_Request *request) {
  for (int64_t turn = 0;; ++turn) {
    int done = 0;
    if (Status status = checkMpi(MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test"); !status)
      return status;
    if (done)
      return Status();
    pauseAfter(turn, crowded_);
  }
}

Status MessageCommunicator::exchange(const std::vector<Transfer> &sends,
                                     const std::vector<Transfer> &receives, CollectiveTime *time) {
  requests_.clear();
  // A message of no bytes is sent too: it says that its sender has come.
  for (const Transfer &send : sends)
    for (int64_t at = 0; at == 0 || at < send.bytes; at += kMpiPiece) {
      requests_.emplace_back();
      int n = int(std::min(kMpiPiece, send.bytes - at));
      if (Status status = checkMpi(MPI_Isend(send.data + at, n, MPI_BYTE, send.peer, kDataTag,
                                             handle_.comm(), &requests_.back()),
                                   "MPI_Isend");
          !status)
        return status;
    }
  // The first piece of each peer is looked for before it is received: `ready` is when the last of
  // them shows up.
  size_t waiting = receives.size();
  std::vector<bool> arrived(receives.size(), false);
  for (int64_t turn = 0; waiting > 0; ++turn) {
    bool progress = false;
    for (size_t i = 0; i < receives.size(); ++i) {
      if (arrived[i])
        continue;
      const Transfer &receive = receives[i];
      int found = 0;
      MPI_Message message;
      MPI_Status envelope;
      if (Status status = checkMpi(
              MPI_Improbe(receive.peer, kDataTag, handle_.comm(), &found, &message, &envelope),
              "MPI_Improbe");
          !status)
        return status;
      if (!found)
        continue;
      int expected = int(std::min(kMpiPiece, receive.bytes)), bytes = 0;
      MPI_Get_count(&envelope, MPI_BYTE, &bytes);
      if (bytes != expected)
        return Status(Code::Disagree, "collectives differ: rank " + std::to_string(rank_) + " of " +
                                          name_ + " expected " + std::to_string(expected) +
                                          " bytes from rank " + std::to_string(receive.peer) +
                                          ", found " + std::to_string(bytes));
      requests_.emplace_back();
      if (Status status =
              checkMpi(MPI_Imrecv(receive.data, expected, MPI_BYTE, &message, &requests_.back()),
                       "MPI_Imrecv");
          !status)
        return status;
      for (int64_t at = kMpiPiece; at < receive.bytes; at += kMpiPiece) {
        requests_.emplace_back();
        int n = int(std::min(kMpiPiece, receive.bytes - at));
        if (Status status = checkMpi(MPI_Irecv(receive.data + at, n, MPI_BYTE, receive.peer,
                                               kDataTag, handle_.comm(), &requests_.back()),
                                     "MPI_Irecv");
            !status)
          return status;
      }
      arrived[i] = true;
      --waiting;
      progress = true;
    }
    if (!progress)
      pauseAfter(turn, crowded_);
  }
  if (time && time->ready == 0)
    time->ready = now();
  for (MPI_Request &request : requests_)
    if (Status status = waitFor(&request); !status)
      return status;
  return Status();
}

Status MessageCommunicator::exchangeAll(const void *mine, std::byte *base, int64_t bytes,
                                        int64_t stride, CollectiveTime *time) {
  std::vector<Transfer> sends, receives;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_)
      continue;
    sends.push_back({peer, bytesOf(mine), bytes});
    receives.push_back({peer, base + peer * stride, bytes});
  }
  return exchange(sends, receives, time);
}

Status MessageCommunicator::begin(const WireTag &tag, CollectiveTime *time) {
  if (time)
    *time = {now(), 0, 0};
  if (!checking_)
    return Status();
  std::vector<WireTag> tags(static_cast<size_t>(size_));
  if (Status status = exchangeAll(&tag, reinterpret_cast<std::byte *>(tags.data()), sizeof(WireTag),
                                  sizeof(WireTag), time);
      !status)
    return status;
  // All members see the same tags, so they know without a word that the first one speaks.
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_)
      if (Status status = compare(tag, tags[size_t(peer)], peer); !status)
        return rank_ == 0 ? status : Status(status.code(), peerFailed);
  return Status();
}

Status MessageCommunicator::end(Status status, CollectiveTime *time) {
  if (time)
    time->left = now();
  return status;
}

Status MessageCommunicator::runBarrier(const WireTag &tag) {
  if (Status status = begin(tag, nullptr); !status)
    return status;
  std::byte nothing{};
  return exchangeAll(&nothing, &nothing, 0, 0, nullptr);
}

Status MessageCommunicator::allReduce(const void *x, void *out, int64_t count, plan::DataType type,
                                      plan::ReduceKind kind, CollectiveTime *time) {
  WireTag tag = nextTag(code(plan::CollectiveKind::AllReduce, kind), count, type);
  if (Status status = begin(tag, time); !status)
    return end(std::move(status), time);
  const int64_t width = plan::byteWidth(type), bytes = count * width;
  std::byte *result = static_cast<std::byte *>(out);
  if (bytes <= kDirectBytes) {
    std::byte *theirs = scratch(bytes * size_);
    if (Status status = exchangeAll(x, theirs, bytes, bytes, time); !status)
      return end(std::move(status), time);
    for (int peer = 0; peer < size_; ++peer)
      parts_[size_t(peer)] = peer == rank_ ? x : theirs + peer * bytes;
    rankOrderedReduce(parts_, out, count, type, kind);
    return end(Status(), time);
  }
  Share mine = shareOf(count, rank_, size_);
  const int64_t share = (mine.end - mine.begin) * width;
  std::byte *theirs = scratch(share * size_);
  std::vector<Transfer> sends, receives, spread, collect;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_)
      continue;
    Share other = shareOf(count, peer, size_);
    const int64_t otherBytes = (other.end - other.begin) * width;
    sends.push_back({peer, bytesOf(x) + other.begin * width, otherBytes});
    receives.push_back({peer, theirs + peer * share, share});
    spread.push_back({peer, result + mine.begin * width, share});
    collect.push_back({peer, result + other.begin * width, otherBytes});
  }
  if (Status status = exchange(sends, receives, time); !status)
    return end(std::move(status), time);
  for (int peer = 0; peer < size_; ++peer)
    parts_[size_t(peer)] = peer == rank_ ? bytesOf(x) + mine.begin * width : theirs + peer * share;
  rankOrderedReduce(parts_, result + mine.begin * width, mine.end - mine.begin, type, kind);
  return end(exchange(spread, collect, time), time);
}

Status MessageCommunicator::allGather(const void *x, void *out, int64_t count, plan::DataType type,
                                      CollectiveTime *time) {
  WireTag tag = nextTag(code(plan::CollectiveKind::AllGather, plan::ReduceKind::Sum), count, type);
  if (Status status = begin(tag, time); !status)
    return end(std::move(status), time);
  const int64_t bytes = count * plan::byteWidth(type);
  std::byte *result = static_cast<std::byte *>(out);
  copyBytes(result + rank_ * bytes, x, bytes);
  return end(exchangeAll(x, result, bytes, bytes, time), time);
}

Status MessageCommunicator::reduceScatter(const void *x, void *out, int64_t count,
                                          plan::DataType type, plan::ReduceKind kind,
                                          CollectiveTime *time) {
  WireTag tag = nextTag(code(plan::CollectiveKind::ReduceScatter, kind), count, type);
  if (Status status = begin(tag, time); !status)
    return end(std::move(status), time);
  const int64_t block = count / size_, bytes = block * plan::byteWidth(type);
  std::byte *theirs = scratch(bytes * size_);
  std::vector<Transfer> sends, receives;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_)
      continue;
    sends.push_back({peer, bytesOf(x) + peer * bytes, bytes});
    receives.push_back({peer, theirs + peer * bytes, bytes});
  }
  if (Status status = exchange(sends, receives, time); !status)
    return end(std::move(status), time);
  for (int peer = 0; peer < size_; ++peer)
    parts_[size_t(peer)] = peer == rank_ ? bytesOf(x) + rank_ * bytes : theirs + peer * bytes;
  rankOrderedReduce(parts_, out, block, type, kind);
  return end(Status(), time);
}

Status MessageCommunicator::allToAll(const void *x, void *out, int64_t count, plan::DataType type,
                                     CollectiveTime *time) {
  WireTag tag = nextTag(code(plan::CollectiveKind::AllToAll, plan::ReduceKind::Sum), count, type);
  if (Status status = begin(tag, time); !status)
    return end(std::move(status), time);
  const int64_t bytes = count / size_ * plan::byteWidth(type);
  std::byte *result = static_cast<std::byte *>(out);
  copyBytes(result + rank_ * bytes, bytesOf(x) + rank_ * bytes, bytes);
  std::vector<Transfer> sends, receives;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_)
      continue;
    sends.push_back({peer, bytesOf(x) + peer * bytes, bytes});
    receives.push_back({peer, result + peer * bytes, bytes});
  }
  return end(exchange(sends, receives, time), time);
}

Status MessageCommunicator::broadcast(const void *x, void *out, int64_t count, plan::DataType type,
                                      CollectiveTime *time) {
  WireTag tag = nextTag(code(plan::CollectiveKind::Broadcast, plan::ReduceKind::Sum), count, type);
  if (Status status = begin(tag, time); !status)
    return end(std::move(status), time);
  const int64_t bytes = count * plan::byteWidth(type);
  std::vector<Transfer> sends, receives;
  if (rank_ == 0) {
    for (int peer = 1; peer < size_; ++peer)
      sends.push_back({peer, bytesOf(x), bytes});
    copyBytes(out, x, bytes);
  } else {
    receives.push_back({0, static_cast<std::byte *>(out), bytes});
  }
  return end(exchange(sends, receives, time), time);
}

Expected<std::unique_ptr<Communicator>> MessageCommunicator::split(int color, int key) {
  MPI_Comm made = MPI_COMM_NULL;
  if (Status status = checkMpi(MPI_Comm_split(handle_.comm(), color, key, &made), "MPI_Comm_split");
      !status)
    return status;
  return makeMpiGroup(MpiHandle(handle_.library(), made), sharedMemory_, crowded_, nullptr);
}

} // namespace tenon::runtime
