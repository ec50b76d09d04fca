// SPDX-License-Identifier: Apache-2.0
// NcclSegment: rings in POSIX shared memory, and collectives over them. Sums add rank by rank and
// round to the type after every addition, as NCCL does along a ring: the worst that f16 and bf16
// have to stand. All ranks get the same bits.
#include "NcclSegment.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tenon::emulation {

struct Segment::Ring {
  alignas(64) std::atomic<uint64_t> written;
  alignas(64) std::atomic<uint64_t> read;
  alignas(64) std::byte data[1];
};

namespace {

struct Header {
  std::atomic<int> finalized;
};

constexpr size_t kMembers = 64; // Header first.

size_t ringsAt(int ranks) {
  return (kMembers + size_t(ranks) * sizeof(Member) + 4095) / 4096 * 4096;
}

} // namespace

std::unique_ptr<Segment> Segment::open(const std::string &name, int ranks) {
  std::unique_ptr<Segment> segment(new Segment);
  segment->name_ = name;
  segment->ranks_ = ranks;
  // Small machines have 64 MiB of shared memory for everyone.
  const size_t pairs = size_t(ranks) * size_t(ranks);
  const size_t ring = std::clamp<size_t>((size_t(8) << 20) / pairs / 4096 * 4096, 4096, 65536);
  segment->capacity_ = ring - offsetof(Ring, data);
  segment->bytes_ = ringsAt(ranks) + pairs * ring;
  int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0)
    return nullptr;
  // Every rank does the same; new memory is zero, which is an empty ring and an absent member.
  void *memory = MAP_FAILED;
  if (posix_fallocate(file, 0, off_t(segment->bytes_)) == 0)
    memory = mmap(nullptr, segment->bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED)
    return nullptr;
  segment->memory_ = static_cast<std::byte *>(memory);
  return segment;
}

Segment::~Segment() {
  if (memory_)
    munmap(memory_, bytes_);
}

Member &Segment::member(int rank) const {
  return reinterpret_cast<Member *>(memory_ + kMembers)[rank];
}

std::atomic<int> &Segment::finalized() const {
  return reinterpret_cast<Header *>(memory_)->finalized;
}

Segment::Ring &Segment::ring(int from, int to) const {
  const size_t bytes = capacity_ + offsetof(Ring, data);
  return *reinterpret_cast<Ring *>(memory_ + ringsAt(ranks_) + size_t(from * ranks_ + to) * bytes);
}

void Segment::join(int rank, const std::string &host, const cudaUUID_t &uuid) {
  Member &self = member(rank);
  std::memset(self.host, 0, sizeof(self.host));
  std::memcpy(self.host, host.data(), std::min(host.size(), sizeof(self.host) - 1));
  std::memcpy(self.uuid, uuid.bytes, sizeof(self.uuid));
  self.here.store(1, std::memory_order_release);
}

bool Segment::all() const {
  for (int rank = 0; rank < ranks_; ++rank)
    if (!member(rank).here.load(std::memory_order_acquire))
      return false;
  return true;
}

void Segment::unlink() { (void)shm_unlink(name_.c_str()); }

size_t Segment::write(int from, int to, const std::byte *data, size_t bytes) {
  Ring &r = ring(from, to);
  const uint64_t written = r.written.load(std::memory_order_relaxed);
  const size_t room = capacity_ - size_t(written - r.read.load(std::memory_order_acquire));
  const size_t moved = std::min(bytes, room), at = size_t(written % capacity_);
  const size_t first = std::min(moved, capacity_ - at);
  if (moved) {
    std::memcpy(&r.data[0] + at, data, first);
    std::memcpy(&r.data[0], data + first, moved - first);
    r.written.store(written + moved, std::memory_order_release);
  }
  return moved;
}

size_t Segment::read(int from, int to, std::byte *data, size_t bytes) {
  Ring &r = ring(from, to);
  const uint64_t done = r.read.load(std::memory_order_relaxed);
  const size_t there = size_t(r.written.load(std::memory_order_acquire) - done);
  const size_t moved = std::min(bytes, there), at = size_t(done % capacity_);
  const size_t first = std::min(moved, capacity_ - at);
  if (moved) {
    std::memcpy(data, &r.data[0] + at, first);
    std::memcpy(data + first, &r.data[0], moved - first);
    r.read.store(done + moved, std::memory_order_release);
  }
  return moved;
}

//===--------------------------------------------------------------------------------------------===//
// Reductions.

size_t widthOf(ncclDataType_t type) {
  switch (type) {
  case ncclInt8:
  case ncclUint8:
    return 1;
  case ncclFloat16:
  case ncclBfloat16:
    return 2;
  case ncclInt32:
  case ncclUint32:
  case ncclFloat32:
    return 4;
  case ncclInt64:
  case ncclUint64:
  case ncclFloat64:
    return 8;
  default:
    return 0;
  }
}

namespace {

template <typename T> T combine(ncclRedOp_t op, T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    switch (op) {
    case ncclProd:
      return a * b;
    case ncclMax:
      return std::fmax(a, b);
    case ncclMin:
      return std::fmin(a, b);
    default:
      return a + b;
    }
  } else {
    using U = std::make_unsigned_t<T>; // Sums wrap.
    switch (op) {
    case ncclProd:
      return T(U(uint64_t(a) * uint64_t(b)));
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return T(U(U(a) + U(b)));
    }
  }
}

template <typename T>
void combineAll(ncclRedOp_t op, std::byte *to, const std::byte *from, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    T a, b; // Memory of the host that no type is known of.
    std::memcpy(&a, to + i * sizeof(T), sizeof(T));
    std::memcpy(&b, from + i * sizeof(T), sizeof(T));
    a = combine(op, a, b);
    std::memcpy(to + i * sizeof(T), &a, sizeof(T));
  }
}

template <float (*Widen)(uint16_t), uint16_t (*Narrow)(float)>
void combineHalves(ncclRedOp_t op, std::byte *to, const std::byte *from, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t a, b;
    std::memcpy(&a, to + i * 2, 2);
    std::memcpy(&b, from + i * 2, 2);
    a = Narrow(combine(op, Widen(a), Widen(b)));
    std::memcpy(to + i * 2, &a, 2);
  }
}

void combine(ncclDataType_t type, ncclRedOp_t op, std::byte *to, const std::byte *from,
             size_t count) {
  switch (type) {
  case ncclInt8:
    return combineAll<int8_t>(op, to, from, count);
  case ncclUint8:
    return combineAll<uint8_t>(op, to, from, count);
  case ncclInt32:
    return combineAll<int32_t>(op, to, from, count);
  case ncclUint32:
    return combineAll<uint32_t>(op, to, from, count);
  case ncclInt64:
    return combineAll<int64_t>(op, to, from, count);
  case ncclUint64:
    return combineAll<uint64_t>(op, to, from, count);
  case ncclFloat32:
    return combineAll<float>(op, to, from, count);
  case ncclFloat64:
    return combineAll<double>(op, to, from, count);
  case ncclFloat16:
    return combineHalves<runtime::f16ToF32, runtime::f32ToF16>(op, to, from, count);
  case ncclBfloat16:
    return combineHalves<runtime::bf16ToF32, runtime::f32ToBf16>(op, to, from, count);
  default:
    return;
  }
}

} // namespace

//===--------------------------------------------------------------------------------------------===//
// Runs.

NcclRun::NcclRun(Segment &segment, int rank, std::vector<NcclCall> calls)
    : segment_(segment), rank_(rank), calls_(std::move(calls)) {}

size_t NcclRun::partOf(int rank) const {
  return calls_[0].count * size_t(rank) / size_t(segment_.ranks());
}

void NcclRun::transfer(bool send, int peer, const void *data, size_t bytes, NcclKind kind) {
  if (bytes == 0)
    return;
  Transfer made;
  made.send = send;
  made.peer = peer;
  made.data = static_cast<std::byte *>(const_cast<void *>(data));
  made.bytes = bytes;
  made.kind = uint64_t(kind);
  if (send)
    made.header[0] = bytes, made.header[1] = made.kind;
  transfers_.push_back(made);
}

/// Lists the messages of the next phase.
void NcclRun::begin() {
  const NcclCall &call = calls_[0];
  const size_t width = widthOf(call.type);
  auto *from = static_cast<const std::byte *>(call.send);
  auto *to = static_cast<std::byte *>(call.receive);
  const int ranks = segment_.ranks();
  switch (call.kind) {
  case NcclKind::AllReduce:
  case NcclKind::ReduceScatter: {
    const bool scatter = call.kind == NcclKind::ReduceScatter;
    auto first = [&](int rank) { return scatter ? call.count * size_t(rank) : partOf(rank); };
    const size_t mine = first(rank_ + 1) - first(rank_);
    if (phase_ == 0) {
      received_.assign(size_t(ranks), {});
      for (int peer = 0; peer < ranks; ++peer) {
        if (peer == rank_)
          continue;
        received_[size_t(peer)].resize(mine * width);
        transfer(true, peer, from + first(peer) * width, (first(peer + 1) - first(peer)) * width,
                 call.kind);
        transfer(false, peer, received_[size_t(peer)].data(), mine * width, call.kind);
      }
      own_.assign(from + first(rank_) * width, from + (first(rank_) + mine) * width);
      return;
    }
    // The second phase of an all-reduce.
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer == rank_)
        continue;
      transfer(true, peer, own_.data(), own_.size(), call.kind);
      transfer(false, peer, to + first(peer) * width, (first(peer + 1) - first(peer)) * width,
               call.kind);
    }
    return;
  }
  case NcclKind::AllGather: {
    const size_t bytes = call.count * width;
    if (to + size_t(rank_) * bytes != from)
      std::memmove(to + size_t(rank_) * bytes, from, bytes);
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer == rank_)
        continue;
      transfer(true, peer, from, bytes, call.kind);
      transfer(false, peer, to + size_t(peer) * bytes, bytes, call.kind);
    }
    return;
  }
  case NcclKind::Broadcast:
    if (rank_ != call.peer) {
      transfer(false, call.peer, to, call.count * width, call.kind);
      return;
    }
    if (to != from)
      std::memmove(to, from, call.count * width);
    for (int peer = 0; peer < ranks; ++peer)
      if (peer != rank_)
        transfer(true, peer, from, call.count * width, call.kind);
    return;
  case NcclKind::Send:
  case NcclKind::Receive:
    for (const NcclCall &each : calls_)
      transfer(each.kind == NcclKind::Send, each.peer,
               each.kind == NcclKind::Send ? each.send : each.receive,
               each.count * widthOf(each.type), NcclKind::Send);
    return;
  }
}

/// Adds up this rank's part in the order of ranks, into own_ and where the caller wants it.
void NcclRun::reduce() {
  const NcclCall &call = calls_[0];
  const size_t width = widthOf(call.type);
  received_[size_t(rank_)] = std::move(own_);
  own_ = std::move(received_[0]);
  for (size_t rank = 1; rank < received_.size(); ++rank)
    combine(call.type, call.op, own_.data(), received_[rank].data(), own_.size() / width);
  received_.clear();
  const size_t at = call.kind == NcclKind::AllReduce ? partOf(rank_) * width : 0;
  if (!own_.empty())
    std::memcpy(static_cast<std::byte *>(call.receive) + at, own_.data(), own_.size());
}

bool NcclRun::poll() {
  const bool reduces =
      calls_[0].kind == NcclKind::AllReduce || calls_[0].kind == NcclKind::ReduceScatter;
  const int phases = calls_[0].kind == NcclKind::AllReduce ? 2 : 1;
  if (phase_ == 0 && transfers_.empty())
    begin();
  // Messages of one direction between two ranks go one after another.
  std::vector<char> busy(size_t(segment_.ranks()) * 2, 0);
  size_t left = 0;
  for (Transfer &each : transfers_) {
    if (each.headerDone == sizeof(each.header) && each.done == each.bytes)
      continue;
    ++left;
    char &channel = busy[size_t(each.peer) * 2 + each.send];
    if (channel)
      continue;
    channel = 1;
    auto move = [&](std::byte *data, size_t bytes) {
      return each.send ? segment_.write(rank_, each.peer, data, bytes)
                       : segment_.read(each.peer, rank_, data, bytes);
    };
    if (each.headerDone < sizeof(each.header))
      each.headerDone += move(reinterpret_cast<std::byte *>(each.header) + each.headerDone,
                              sizeof(each.header) - each.headerDone);
    if (each.headerDone < sizeof(each.header) || each.header[0] != each.bytes ||
        each.header[1] != each.kind)
      continue;
    each.done += move(each.data + each.done, each.bytes - each.done);
    if (each.done == each.bytes) {
      --left;
      channel = 0;
    }
  }
  if (left)
    return false;
  if (phase_ == 0 && reduces)
    reduce();
  transfers_.clear();
  if (++phase_ == phases)
    return true;
  begin();
  return transfers_.empty();
}

} // namespace tenon::emulation
