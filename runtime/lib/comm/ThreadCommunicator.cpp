// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process: a SharedCommunicator whose segment is ordinary memory.
#include "SharedCommunicator.h"

#include <new>
#include <system_error>
#include <thread>

namespace tenon::runtime {
namespace {

// Small enough that the tests' "large" payloads need many chunks, large enough to amortise a round.
constexpr int64_t kAreaBytes = 128 << 10;

/// Memory of one group, and the flag of the run.
class ThreadSegment {
public:
  static std::shared_ptr<ThreadSegment> make(int members, std::shared_ptr<std::atomic<int>> flag) {
    int64_t bytes = Segment::bytes(members, kAreaBytes);
    void *memory = ::operator new(size_t(bytes), std::align_val_t(64), std::nothrow);
    if (!memory)
      return nullptr;
    // The areas need no initial value; touching them here would cost more than most tests use.
    std::memset(memory, 0, size_t(Segment::bytes(members, 0)));
    auto result = std::shared_ptr<ThreadSegment>(new ThreadSegment());
    result->base_ = static_cast<std::byte *>(memory);
    result->view = Segment(result->base_, members, kAreaBytes);
    result->flag = std::move(flag);
    return result;
  }
  ~ThreadSegment() { ::operator delete(base_, std::align_val_t(64)); }
  ThreadSegment(const ThreadSegment &) = delete;
  ThreadSegment &operator=(const ThreadSegment &) = delete;

  Segment view;
  std::shared_ptr<std::atomic<int>> flag;

private:
  ThreadSegment() = default;
  std::byte *base_ = nullptr;
};

class ThreadCommunicator : public SharedCommunicator {
public:
  ThreadCommunicator(int rank, int size, std::shared_ptr<ThreadSegment> memory, bool crowded)
      : SharedCommunicator(rank, size, memory->view, memory->flag.get(), crowded),
        memory_(std::move(memory)) {}

  Expected<std::unique_ptr<Communicator>> split(int color, int key) override {
    Expected<std::vector<int>> members = splitMembers(color, key);
    if (!members)
      return members.status();
    int place = 0;
    while ((*members)[size_t(place)] != rank())
      ++place;
    // The first member makes the memory and shows the others where its handle is. All have taken a
    // copy when the barrier is passed; if it fails the handle stays, for somebody may still read
    // it.
    auto *made = new std::shared_ptr<ThreadSegment>();
    if (place == 0)
      *made = ThreadSegment::make(int(members->size()), memory_->flag);
    int64_t handle = int64_t(reinterpret_cast<intptr_t>(made));
    std::vector<int64_t> handles(size_t(size()), 0);
    if (Status status = allGather(&handle, handles.data(), 1, plan::DataType::I64, nullptr);
        !status)
      return status;
    std::shared_ptr<ThreadSegment> memory =
        *reinterpret_cast<std::shared_ptr<ThreadSegment> *>(handles[size_t(members->front())]);
    if (Status status = barrier(); !status)
      return status;
    delete made;
    if (!memory)
      return Status(Code::Memory, "cannot allocate memory for a group of ranks");
    return std::unique_ptr<Communicator>(
        new ThreadCommunicator(place, int(members->size()), std::move(memory), crowded_));
  }

private:
  std::shared_ptr<ThreadSegment> memory_;
};

} // namespace

Status runThreadRanks(int ranks, const std::function<Status(Communicator &)> &body) {
  auto flag = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<ThreadSegment> memory = ThreadSegment::make(ranks, flag);
  if (!memory)
    return Status(Code::Memory, "cannot allocate memory for the ranks");
  const bool crowded = unsigned(ranks) > std::thread::hardware_concurrency();
  std::vector<Status> results(static_cast<size_t>(ranks));
  auto runRank = [&](int rank) {
    ThreadCommunicator communicator(rank, ranks, memory, crowded);
    try {
      results[size_t(rank)] = body(communicator);
    } catch (const std::bad_alloc &) {
      results[size_t(rank)] = Status(Code::Memory, "out of memory");
    } catch (const std::exception &error) {
      results[size_t(rank)] = Status(Code::Device, error.what());
    }
    if (!results[size_t(rank)])
      communicator.cancel(results[size_t(rank)].code());
  };
  std::vector<std::thread> threads;
  Status started;
  for (int rank = 0; rank < ranks && started; ++rank)
    try {
      threads.emplace_back(runRank, rank);
    } catch (const std::system_error &error) {
      started = Status(Code::Memory, "cannot start the thread of rank " + std::to_string(rank) +
                                         " of " + std::to_string(ranks) + ": " + error.what());
      // The others wait for a rank that never comes.
      flag->store(int(started.code()));
    }
  for (std::thread &thread : threads)
    thread.join();
  if (!started)
    return started;
  Status second;
  for (Status &status : results) {
    if (status)
      continue;
    if (status.message() != peerFailed)
      return std::move(status);
    second = std::move(status);
  }
  return second;
}

} // namespace tenon::runtime
