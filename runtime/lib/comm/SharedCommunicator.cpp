// SPDX-License-Identifier: Apache-2.0
#include "SharedCommunicator.h"

#include "tenon/runtime/comm/RankOrderedSum.h"

#include <algorithm>
#include <ctime>
#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tenon::runtime {

// Above this, sharing the sum among three or more members saves more than the second round costs.
static constexpr int64_t kOneRoundBytes = 32 << 10;

static void pauseBriefly() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

static void copyBytes(void *to, const void *from, int64_t bytes) {
  if (bytes > 0 && to != from)
    std::memcpy(to, from, size_t(bytes));
}

SharedCommunicator::SharedCommunicator(int rank, int size, Segment segment,
                                       std::atomic<int> *cancelled, bool crowded)
    : rank_(rank), size_(size), segment_(segment), cancelled_(cancelled), crowded_(crowded),
      parts_(size_t(size)) {}

Status SharedCommunicator::cancelled() const {
  const int code = cancelled_->load(std::memory_order_relaxed);
  return code ? Status(Code(code), peerFailed) : Status();
}

bool SharedCommunicator::cancel(Code code) {
  int expected = 0;
  return cancelled_->compare_exchange_strong(expected, int(code));
}

// Spins for some microseconds, then yields the core, and after some milliseconds sleeps in between:
// a peer that is late by so much does not notice.
Status SharedCommunicator::waitFor(int member) {
  std::atomic<uint64_t> &posted = segment_.slot(member).posted;
  const int64_t spins = crowded_ ? 16 : 4000;
  constexpr int64_t yields = 20000;
  for (int64_t turn = 0;; ++turn) {
    if (posted.load(std::memory_order_acquire) >= round_)
      return Status();
    if (int code = cancelled_->load(std::memory_order_relaxed))
      return Status(Code(code), peerFailed);
    if (turn < spins) {
      pauseBriefly();
    } else if (turn < spins + yields) {
      sched_yield();
    } else {
      timespec nap{0, 50000};
      nanosleep(&nap, nullptr);
    }
  }
}

Status SharedCommunicator::exchange(const WireTag &tag) {
  ++round_;
  Slot &mine = segment_.slot(rank_);
  mine.tags[round_ & 1] = tag;
  mine.posted.store(round_, std::memory_order_release);
  for (int member = 0; member < size_; ++member) {
    if (member == rank_)
      continue;
    if (Status status = waitFor(member); !status)
      return status;
    if (Status status = compare(tag, segment_.slot(member).tags[round_ & 1], member); !status) {
      // All that are in this group find the same; one of them says it.
      if (!cancel(status.code()))
        return Status(status.code(), peerFailed);
      return status;
    }
  }
  noteReady();
  return Status();
}

void SharedCommunicator::begin(CollectiveTime *time) {
  time_ = time;
  if (time_)
    *time_ = {now(), 0, 0};
}

void SharedCommunicator::noteReady() {
  if (time_ && time_->ready == 0)
    time_->ready = now();
}

Status SharedCommunicator::end(Status status) {
  if (time_)
    time_->left = now();
  time_ = nullptr;
  return status;
}

Status SharedCommunicator::runBarrier(const WireTag &tag) { return exchange(tag); }

Status SharedCommunicator::reduceWhole(const WireTag &tag, const std::byte *x, std::byte *out,
                                       int64_t count, plan::DataType type, plan::ReduceKind kind) {
  copyBytes(myArea(), x, count * plan::byteWidth(type));
  if (Status status = exchange(tag); !status)
    return status;
  for (int member = 0; member < size_; ++member)
    parts_[size_t(member)] = member == rank_ ? x : areaOf(member);
  rankOrderedReduce(parts_, out, count, type, kind);
  return Status();
}

Status SharedCommunicator::reduceByShares(const WireTag &tag, const std::byte *x, std::byte *out,
                                          int64_t count, plan::DataType type,
                                          plan::ReduceKind kind) {
  const int64_t width = plan::byteWidth(type);
  copyBytes(myArea(), x, count * width);
  if (Status status = exchange(tag); !status)
    return status;
  Share mine = shareOf(count, rank_, size_);
  for (int member = 0; member < size_; ++member)
    parts_[size_t(member)] = areaOf(member) + mine.begin * width;
  rankOrderedReduce(parts_, myArea(), mine.end - mine.begin, type, kind);
  if (Status status = exchange(tag); !status)
    return status;
  for (int member = 0; member < size_; ++member) {
    Share share = shareOf(count, member, size_);
    copyBytes(out + share.begin * width, areaOf(member), (share.end - share.begin) * width);
  }
  return Status();
}

Status SharedCommunicator::allReduce(const void *x, void *out, int64_t count, plan::DataType type,
                                     plan::ReduceKind kind, CollectiveTime *time) {
  begin(time);
  WireTag tag = nextTag(code(plan::CollectiveKind::AllReduce, kind), count, type);
  const int64_t width = plan::byteWidth(type), chunk = segment_.areaBytes() / width;
  const bool whole = size_ == 2 || count * width <= kOneRoundBytes;
  for (int64_t done = 0; done == 0 || done < count; done += chunk) {
    int64_t n = std::min(chunk, count - done);
    const std::byte *from = static_cast<const std::byte *>(x) + done * width;
    std::byte *to = static_cast<std::byte *>(out) + done * width;
    Status status = whole ? reduceWhole(tag, from, to, n, type, kind)
                          : reduceByShares(tag, from, to, n, type, kind);
    if (!status)
      return end(std::move(status));
  }
  return end(Status());
}

Status SharedCommunicator::allGather(const void *x, void *out, int64_t count, plan::DataType type,
                                     CollectiveTime *time) {
  begin(time);
  WireTag tag = nextTag(code(plan::CollectiveKind::AllGather, plan::ReduceKind::Sum), count, type);
  const int64_t bytes = count * plan::byteWidth(type), chunk = segment_.areaBytes();
  std::byte *result = static_cast<std::byte *>(out);
  for (int64_t done = 0; done == 0 || done < bytes; done += chunk) {
    int64_t n = std::min(chunk, bytes - done);
    const std::byte *from = static_cast<const std::byte *>(x) + done;
    copyBytes(myArea(), from, n);
    if (Status status = exchange(tag); !status)
      return end(std::move(status));
    for (int member = 0; member < size_; ++member)
      copyBytes(result + member * bytes + done, member == rank_ ? from : areaOf(member), n);
  }
  return end(Status());
}

Status SharedCommunicator::reduceScatter(const void *x, void *out, int64_t count,
                                         plan::DataType type, plan::ReduceKind kind,
                                         CollectiveTime *time) {
  begin(time);
  WireTag tag = nextTag(code(plan::CollectiveKind::ReduceScatter, kind), count, type);
  const int64_t width = plan::byteWidth(type), block = count / size_;
  const int64_t chunk = std::max<int64_t>(1, segment_.areaBytes() / width / size_);
  const std::byte *from = static_cast<const std::byte *>(x);
  for (int64_t done = 0; done == 0 || done < block; done += chunk) {
    int64_t n = std::min(chunk, block - done);
    for (int member = 0; member < size_; ++member)
      if (member != rank_)
        copyBytes(myArea() + member * n * width, from + (member * block + done) * width, n * width);
    if (Status status = exchange(tag); !status)
      return end(std::move(status));
    for (int member = 0; member < size_; ++member)
      parts_[size_t(member)] = member == rank_ ? from + (rank_ * block + done) * width
                                               : areaOf(member) + rank_ * n * width;
    rankOrderedReduce(parts_, static_cast<std::byte *>(out) + done * width, n, type, kind);
  }
  return end(Status());
}

Status SharedCommunicator::allToAll(const void *x, void *out, int64_t count, plan::DataType type,
                                    CollectiveTime *time) {
  begin(time);
  WireTag tag = nextTag(code(plan::CollectiveKind::AllToAll, plan::ReduceKind::Sum), count, type);
  const int64_t block = count / size_ * plan::byteWidth(type);
  const int64_t chunk = std::max<int64_t>(1, segment_.areaBytes() / size_);
  const std::byte *from = static_cast<const std::byte *>(x);
  std::byte *to = static_cast<std::byte *>(out);
  for (int64_t done = 0; done == 0 || done < block; done += chunk) {
    int64_t n = std::min(chunk, block - done);
    for (int member = 0; member < size_; ++member)
      if (member != rank_)
        copyBytes(myArea() + member * n, from + member * block + done, n);
    if (Status status = exchange(tag); !status)
      return end(std::move(status));
    for (int member = 0; member < size_; ++member)
      copyBytes(to + member * block + done,
                member == rank_ ? from + rank_ * block + done : areaOf(member) + rank_ * n, n);
  }
  return end(Status());
}

Status SharedCommunicator::broadcast(const void *x, void *out, int64_t count, plan::DataType type,
                                     CollectiveTime *time) {
  begin(time);
  WireTag tag = nextTag(code(plan::CollectiveKind::Broadcast, plan::ReduceKind::Sum), count, type);
  const int64_t bytes = count * plan::byteWidth(type), chunk = segment_.areaBytes();
  for (int64_t done = 0; done == 0 || done < bytes; done += chunk) {
    int64_t n = std::min(chunk, bytes - done);
    const std::byte *from = static_cast<const std::byte *>(x) + done;
    if (rank_ == 0)
      copyBytes(myArea(), from, n);
    if (Status status = exchange(tag); !status)
      return end(std::move(status));
    copyBytes(static_cast<std::byte *>(out) + done, rank_ == 0 ? from : areaOf(0), n);
  }
  return end(Status());
}

} // namespace tenon::runtime
