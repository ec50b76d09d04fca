// SPDX-License-Identifier: Apache-2.0
// Memory: device memory is host memory between two red zones, filled with 0xff so that contents
// nobody wrote show (NaN, -1). Copies check that device addresses lie in an allocation. What is not
// seen: host code that reads device memory directly.
#include "Emulation.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sched.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace tenon::emulation {
namespace {

constexpr size_t kZone = 256;
constexpr unsigned char kMark = 0xa5;

struct Block {
  size_t bytes = 0;
  bool pinned = false; ///< Of the host.
  int gpu = 0;
  Timeline *timeline = nullptr;
};

struct Heap {
  std::mutex mutex;
  std::map<std::byte *, Block> blocks;
  std::map<int, size_t> used;
};

Heap &heap() {
  static Heap *all = new Heap;
  return *all;
}

enum class Place { Pageable, Pinned, Device, Outside };

/// Where [address, address + bytes) is; Outside when it begins in an allocation and leaves it.
Place placeOf(const void *address, size_t bytes) {
  Heap &all = heap();
  std::lock_guard lock(all.mutex);
  auto *at = static_cast<std::byte *>(const_cast<void *>(address));
  auto next = all.blocks.upper_bound(at);
  if (next == all.blocks.begin())
    return Place::Pageable;
  auto &[begin, block] = *std::prev(next);
  size_t offset = size_t(at - begin);
  if (offset >= block.bytes + kZone)
    return Place::Pageable;
  if (offset + bytes > block.bytes)
    return Place::Outside;
  return block.pinned ? Place::Pinned : Place::Device;
}

cudaError_t allocate(void **pointer, size_t bytes, bool pinned) {
  if (!pointer)
    return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0)
    return cudaSuccess;
  Timeline &timeline = currentTimeline();
  Heap &all = heap();
  std::lock_guard lock(all.mutex);
  // The GPU hands out whole pieces of 512 bytes.
  const size_t taken = (bytes + 511) / 512 * 512;
  size_t &used = all.used[currentGpu()];
  if (!pinned && (bytes > memoryOfGpu() || used + taken > memoryOfGpu()))
    return cudaErrorMemoryAllocation;
  void *memory = nullptr;
  if (posix_memalign(&memory, kZone, bytes + 2 * kZone))
    return cudaErrorMemoryAllocation;
  auto *data = static_cast<std::byte *>(memory) + kZone;
  std::memset(memory, kMark, kZone);
  std::memset(data, 0xff, bytes);
  std::memset(data + bytes, kMark, kZone);
  ASAN_POISON_MEMORY_REGION(memory, kZone);
  ASAN_POISON_MEMORY_REGION(data + bytes, kZone);
  if (!pinned)
    used += taken;
  all.blocks[data] = {bytes, pinned, currentGpu(), &timeline};
  *pointer = data;
  return cudaSuccess;
}

cudaError_t release(void *pointer) {
  auto *data = static_cast<std::byte *>(pointer);
  Heap &all = heap();
  std::lock_guard lock(all.mutex);
  auto found = all.blocks.find(data);
  if (found == all.blocks.end())
    return cudaErrorInvalidValue;
  const Block block = found->second;
  ASAN_UNPOISON_MEMORY_REGION(data - kZone, kZone);
  ASAN_UNPOISON_MEMORY_REGION(data + block.bytes, kZone);
  for (size_t i = 0; i < kZone; ++i)
    if (data[i - kZone] != std::byte(kMark) || data[block.bytes + i] != std::byte(kMark)) {
      std::fprintf(stderr, "emulation: memory of %zu bytes at %p was written outside, near %s\n",
                   block.bytes, pointer,
                   data[block.bytes + i] != std::byte(kMark) ? "its end" : "its beginning");
      std::abort();
    }
  if (!block.pinned)
    all.used[block.gpu] -= (block.bytes + 511) / 512 * 512;
  all.blocks.erase(found);
  std::free(data - kZone);
  return cudaSuccess;
}

/// Waits for the work of the thread that made the memory, as freeing it does.
void settle(void *pointer) {
  Timeline *timeline = nullptr;
  {
    Heap &all = heap();
    std::lock_guard lock(all.mutex);
    auto found = all.blocks.find(static_cast<std::byte *>(pointer));
    if (found == all.blocks.end())
      return;
    timeline = found->second.timeline;
  }
  for (;;) {
    {
      std::lock_guard lock(bookkeeping());
      bool empty = timeline->legacy->queue.empty();
      for (const auto &stream : timeline->streams)
        empty &= stream->queue.empty();
      if (empty)
        return;
    }
    if (!advance(*timeline))
      sched_yield();
  }
}

cudaError_t allowed() {
  if (cudaError_t error = driver())
    return error;
  std::lock_guard lock(bookkeeping());
  return forbidden();
}

cudaError_t releaseWaiting(void *pointer, bool pinned) {
  if (cudaError_t error = allowed())
    return error;
  if (!pointer)
    return cudaSuccess;
  Place place = placeOf(pointer, 1);
  if (place != (pinned ? Place::Pinned : Place::Device))
    return cudaErrorInvalidValue;
  settle(pointer);
  return release(pointer);
}

} // namespace
} // namespace tenon::emulation

using namespace tenon::emulation;

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  if (cudaError_t error = driver())
    return fail(error);
  Heap &all = heap();
  std::lock_guard lock(all.mutex);
  if (total)
    *total = memoryOfGpu();
  size_t used = all.used[currentGpu()];
  if (free)
    *free = used < memoryOfGpu() ? memoryOfGpu() - used : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
  if (cudaError_t error = allowed())
    return fail(error);
  return fail(allocate(pointer, bytes, false));
}

cudaError_t cudaFree(void *pointer) { return fail(releaseWaiting(pointer, false)); }

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  if (cudaError_t error = allowed())
    return fail(error);
  return fail(flags > 7 ? cudaErrorInvalidValue : allocate(pointer, bytes, true));
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
  return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *pointer) { return fail(releaseWaiting(pointer, true)); }

// Allocations on a stream exist at once, and graphs cannot hold them.
static cudaError_t notCapturing(cudaStream_t handle) {
  std::lock_guard lock(bookkeeping());
  CUstream_st *stream = streamOf(handle);
  if (!stream)
    return cudaErrorInvalidResourceHandle;
  if (!stream->capture)
    return cudaSuccess;
  stream->capture->invalidated = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream) {
  if (cudaError_t error = driver())
    return fail(error);
  if (cudaError_t error = notCapturing(stream))
    return fail(error);
  return fail(allocate(pointer, bytes, false));
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream) {
  if (cudaError_t error = driver())
    return fail(error);
  if (cudaError_t error = notCapturing(stream))
    return fail(error);
  if (!pointer)
    return cudaSuccess;
  if (placeOf(pointer, 1) != Place::Device)
    return fail(cudaErrorInvalidValue);
  return enqueueCall(stream, [pointer] { (void)release(pointer); });
}

//===--------------------------------------------------------------------------------------------===//
// Copies.

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  if (cudaError_t error = driver())
    return fail(error);
  bool capturing = false;
  {
    std::lock_guard lock(bookkeeping());
    CUstream_st *stream = streamOf(handle);
    if (!stream)
      return fail(cudaErrorInvalidResourceHandle);
    capturing = bool(stream->capture);
  }
  if (kind > cudaMemcpyDefault)
    return fail(cudaErrorInvalidMemcpyDirection);
  if (bytes == 0)
    return cudaSuccess;
  if (!to || !from)
    return fail(cudaErrorInvalidValue);
  const Place target = placeOf(to, bytes), source = placeOf(from, bytes);
  if (target == Place::Outside || source == Place::Outside)
    return fail(cudaErrorInvalidValue);
  const bool toDevice = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool fromDevice = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault &&
      (toDevice != (target == Place::Device) || fromDevice != (source == Place::Device)))
    return fail(cudaErrorInvalidValue);
  // Pageable memory is copied aside before the call returns, and is filled before it returns.
  if (source == Place::Pageable && !capturing) {
    auto *begin = static_cast<const std::byte *>(from);
    auto aside = std::make_shared<std::vector<std::byte>>(begin, begin + bytes);
    return enqueueCall(handle, [to, aside] { std::memcpy(to, aside->data(), aside->size()); });
  }
  cudaError_t error = enqueueCall(handle, [to, from, bytes] { std::memmove(to, from, bytes); });
  if (!error && target == Place::Pageable && !capturing)
    return cudaStreamSynchronize(handle);
  return error;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  if (cudaError_t error = allowed())
    return fail(error);
  if (cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr))
    return error;
  return cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
  if (cudaError_t error = driver())
    return fail(error);
  if (bytes == 0)
    return cudaSuccess;
  const Place place = to ? placeOf(to, bytes) : Place::Outside;
  if (place != Place::Device && place != Place::Pinned)
    return fail(cudaErrorInvalidValue);
  return enqueueCall(stream, [to, value, bytes] { std::memset(to, value, bytes); });
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) {
  if (cudaError_t error = allowed())
    return fail(error);
  return cudaMemsetAsync(to, value, bytes, nullptr); // Asynchronous on the GPU too.
}
