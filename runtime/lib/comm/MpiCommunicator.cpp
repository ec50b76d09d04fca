// SPDX-License-Identifier: Apache-2.0
// MPI: start-up, and the choice between shared memory and messages for each group.
#include "MessageCommunicator.h"
#include "SharedCommunicator.h"

#include <cstdlib>
#include <unistd.h>

namespace tenon::runtime {
namespace {

// Two areas of one member fit the second-level cache of current processors.
constexpr int64_t kAreaBytes = 512 << 10;

/// Memory that MPI shares among the members of one node.
class MpiWindow {
public:
  MpiWindow(MPI_Win window, std::byte *base) : window_(window), base_(base) {}
  ~MpiWindow() { MPI_Win_free(&window_); }
  MpiWindow(const MpiWindow &) = delete;
  MpiWindow &operator=(const MpiWindow &) = delete;
  std::byte *base() const { return base_; }

private:
  MPI_Win window_;
  std::byte *base_;
};

class MpiSharedCommunicator : public SharedCommunicator {
public:
  MpiSharedCommunicator(MpiHandle handle, std::unique_ptr<MpiWindow> window, int rank, int size,
                        std::atomic<int> *cancelled, bool crowded)
      : SharedCommunicator(rank, size, Segment(window->base(), size, kAreaBytes),
                           cancelled ? cancelled : &Segment(window->base(), size, 0).cancelled(),
                           crowded),
        handle_(std::move(handle)), window_(std::move(window)) {}

  Expected<std::unique_ptr<Communicator>> split(int color, int key) override {
    MPI_Comm made = MPI_COMM_NULL;
    if (Status status =
            checkMpi(MPI_Comm_split(handle_.comm(), color, key, &made), "MPI_Comm_split");
        !status)
      return status;
    return makeMpiGroup(MpiHandle(handle_.library(), made), true, crowded_, cancelled_);
  }

private:
  // The window goes before the communicator that it was made from.
  MpiHandle handle_;
  std::unique_ptr<MpiWindow> window_;
};

/// True when every member is on this node.
Expected<bool> onOneNode(MPI_Comm comm) {
  MPI_Comm node = MPI_COMM_NULL;
  if (Status status =
          checkMpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
                   "MPI_Comm_split_type");
      !status)
    return status;
  int here = 0, all = 0;
  MPI_Comm_size(node, &here);
  MPI_Comm_size(comm, &all);
  MPI_Comm_free(&node);
  return here == all;
}

/// The shared segment of all members; null on all of them when one cannot have it.
Expected<std::unique_ptr<MpiWindow>> makeWindow(MPI_Comm comm, int rank, int size) {
  // One piece, owned by member 0: the others map it where they like. Open MPI gives addresses that
  // are multiples of 8 only, so there is room to begin at a multiple of 64.
  constexpr MPI_Aint kAlignment = 64;
  const MPI_Aint needed = MPI_Aint(Segment::bytes(size, kAreaBytes)) + kAlignment;
  MPI_Aint bytes = rank == 0 ? needed : 0;
  MPI_Win window = MPI_WIN_NULL;
  void *base = nullptr;
  int ok = MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, comm, static_cast<void *>(&base),
                                   &window) == MPI_SUCCESS;
  if (ok) {
    MPI_Aint size0 = 0;
    int unit = 0;
    ok =
        MPI_Win_shared_query(window, 0, &size0, &unit, static_cast<void *>(&base)) == MPI_SUCCESS &&
        size0 >= needed;
  }
  // Pages are mapped, so the place within 64 bytes is the same for all; each checks.
  int32_t shift = int32_t(-reinterpret_cast<uintptr_t>(base) % kAlignment);
  if (Status status = checkMpi(MPI_Bcast(&shift, 1, MPI_INT32_T, 0, comm), "MPI_Bcast"); !status)
    return status;
  std::byte *begin = ok ? static_cast<std::byte *>(base) + shift : nullptr;
  ok = ok && reinterpret_cast<uintptr_t>(begin) % kAlignment == 0;
  if (ok && rank == 0)
    std::memset(begin, 0, size_t(Segment::bytes(size, 0)));
  int all = 0;
  // Also the barrier behind which the segment is zero.
  if (Status status =
          checkMpi(MPI_Allreduce(&ok, &all, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce");
      !status)
    return status;
  if (!all) {
    if (window != MPI_WIN_NULL)
      MPI_Win_free(&window);
    return std::unique_ptr<MpiWindow>();
  }
  return std::make_unique<MpiWindow>(window, begin);
}

} // namespace

Expected<std::unique_ptr<Communicator>> makeMpiGroup(MpiHandle handle, bool sharedMemory,
                                                     bool crowded, std::atomic<int> *cancelled) {
  int rank = 0, size = 1;
  MPI_Comm_set_errhandler(handle.comm(), MPI_ERRORS_RETURN);
  MPI_Comm_rank(handle.comm(), &rank);
  MPI_Comm_size(handle.comm(), &size);
  if (size == 1 && cancelled)
    return makeSelfCommunicator();
  // Members that were started with different options agree: what follows is collective.
  int wanted = sharedMemory, all = 0;
  if (Status status = checkMpi(MPI_Allreduce(&wanted, &all, 1, MPI_INT, MPI_MIN, handle.comm()),
                               "MPI_Allreduce");
      !status)
    return status;
  sharedMemory = all;
  if (sharedMemory) {
    Expected<bool> near = onOneNode(handle.comm());
    if (!near)
      return near.status();
    if (*near) {
      Expected<std::unique_ptr<MpiWindow>> window = makeWindow(handle.comm(), rank, size);
      if (!window)
        return window.status();
      if (*window)
        return std::unique_ptr<Communicator>(new MpiSharedCommunicator(
            std::move(handle), std::move(*window), rank, size, cancelled, crowded));
    }
  }
  return std::unique_ptr<Communicator>(
      new MessageCommunicator(std::move(handle), sharedMemory, crowded));
}

Expected<std::unique_ptr<Communicator>> makeMpiCommunicator(int *argc, char ***argv,
                                                            const MpiOptions &options) {
  int provided = 0;
  if (Status status =
          checkMpi(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
      !status)
    return status;
  auto library = std::make_shared<MpiLibrary>();
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (int promised = launcherRanks(); promised > size)
    return Status(Code::Usage,
                  "the launcher promises " + std::to_string(promised) + " ranks, MPI sees " +
                      std::to_string(size) +
                      ": this tp-run was started by another MPI than it was built with");
  if (provided < MPI_THREAD_FUNNELED && size > 1)
    return Status(Code::Device, "this MPI does not allow threads beside it (MPI_THREAD_FUNNELED)");
  MPI_Comm node = MPI_COMM_NULL, world = MPI_COMM_NULL;
  int here = 1;
  if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node) ==
      MPI_SUCCESS) {
    MPI_Comm_size(node, &here);
    MPI_Comm_free(&node);
  }
  if (Status status = checkMpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup"); !status)
    return status;
  const bool crowded = here > sysconf(_SC_NPROCESSORS_ONLN);
  return makeMpiGroup(MpiHandle(std::move(library), world), options.sharedMemory, crowded, nullptr);
}

} // namespace tenon::runtime
