// SPDX-License-Identifier: Apache-2.0
// Rows: what kernels that go row by row share: where a row lies, how a warp or a block combines its
// values in an order that does not change from run to run, and elements that are moved exactly.
#pragma once

#include "Work.h"

#include <algorithm>

namespace tenon::runtime::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kWarp = 32;

__device__ inline float infinity() { return __uint_as_float(0x7f800000u); }
__device__ inline float notANumber() { return __uint_as_float(0x7fc00000u); }

/// A grid for `items` with `perBlock` in each block. Kernels stride over the grid: there may be
/// more items than a grid can hold.
inline dim3 gridFor(int64_t items, int64_t perBlock) {
  return dim3(unsigned(std::min<int64_t>((items + perBlock - 1) / perBlock, int64_t(1) << 30)));
}

/// Threads of a block that goes over n elements: whole warps, at most `most`.
inline int64_t threadsFor(int64_t n, int64_t most) {
  return std::clamp<int64_t>((n + kWarp - 1) / kWarp * kWarp, kWarp, most);
}

/// Whether every row of `region` begins at a multiple of 16 bytes; `rows` are the loops to a row's
/// begin, in which the region is operand j.
inline bool rowsAligned(const Region &region, const LoopNest &rows, int j) {
  bool aligned = reinterpret_cast<uintptr_t>(region.data) % 16 == 0;
  for (const std::vector<int64_t> &steps : rows.strides)
    aligned = aligned && steps[size_t(j)] * region.width() % 16 == 0;
  return aligned;
}

/// As loops.at(), with 32-bit divisions where they suffice and none for the outermost loop: 64-bit
/// divisions would cost more than the memory access that they lead to.
template <int N>
__device__ inline void offsetsAt(const Loops<N> &loops, long long iteration,
                                 long long (&offsets)[N]) {
  if (loops.depth > 1 && iteration >> 31) {
    loops.at(iteration, offsets);
    return;
  }
  for (int j = 0; j < N; ++j)
    offsets[j] = 0;
  unsigned left = static_cast<unsigned>(iteration);
  for (int d = loops.depth - 1; d > 0; --d) {
    // A loop of more than 2^32 steps is never left by so small an iteration.
    unsigned size = loops.sizes[d] >> 32 ? 0xffffffffu : static_cast<unsigned>(loops.sizes[d]);
    unsigned index = left % size;
    left /= size;
    for (int j = 0; j < N; ++j)
      offsets[j] += index * loops.strides[j][d];
  }
  if (loops.depth > 0) {
    long long index = loops.depth == 1 ? iteration : left;
    for (int j = 0; j < N; ++j)
      offsets[j] += index * loops.strides[j][0];
  }
}

/// a / b for a >= 0 and b > 0, in 32 bits where they suffice.
__device__ inline long long quotient(long long a, long long b) {
  return (a | b) >> 32 ? a / b : static_cast<unsigned>(a) / static_cast<unsigned>(b);
}

struct AddValues {
  __device__ float operator()(float a, float b) const { return a + b; }
};

/// NaN stays.
struct LargerValue {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

/// Every lane gets the same bits: `combine` must be commutative.
template <typename T, typename Combine> __device__ inline T combineWarp(T value, Combine combine) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

/// Every thread gets the combination over the block. `parts` is shared memory with a place for each
/// warp; it may be used again after the next __syncthreads().
template <typename T, typename Combine>
__device__ inline T combineBlock(T value, T *parts, Combine combine) {
  value = combineWarp(value, combine);
  const unsigned warps = blockDim.x / kWarp;
  if (warps == 1)
    return value;
  if (threadIdx.x % kWarp == 0)
    parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = parts[0];
  for (unsigned i = 1; i < warps; ++i)
    total = combine(total, parts[i]);
  return total;
}

/// Element `index` of memory that holds integers or truth values; other types are truncated.
__device__ inline long long loadInteger(Type type, const void *data, long long index) {
  switch (type) {
  case Type::I32:
    return static_cast<const int *>(data)[index];
  case Type::I64:
    return static_cast<const long long *>(data)[index];
  case Type::I1:
    return static_cast<const unsigned char *>(data)[index];
  default:
    return toInt64(loadFloat(type, data, index));
  }
}

/// Takes every value but 0 as true.
__device__ inline void storeInteger(Type type, void *data, long long index, long long value) {
  switch (type) {
  case Type::I32:
    static_cast<int *>(data)[index] = static_cast<int>(value);
    return;
  case Type::I64:
    static_cast<long long *>(data)[index] = value;
    return;
  case Type::I1:
    static_cast<unsigned char *>(data)[index] = value != 0;
    return;
  default:
    storeFloat(type, data, index, static_cast<float>(value));
  }
}

__device__ inline bool isInteger(Type type) {
  return type == Type::I32 || type == Type::I64 || type == Type::I1;
}

/// Moves one element: bits between equal types, integers exactly, all else through f32.
__device__ inline void moveElement(Type fromType, const void *from, long long fromIndex,
                                   Type toType, void *to, long long toIndex) {
  if (fromType == toType && (toType == Type::BF16 || toType == Type::F16))
    static_cast<unsigned short *>(to)[toIndex] =
        static_cast<const unsigned short *>(from)[fromIndex];
  else if (isInteger(fromType) && isInteger(toType))
    storeInteger(toType, to, toIndex, loadInteger(fromType, from, fromIndex));
  else
    storeFloat(toType, to, toIndex, loadFloat(fromType, from, fromIndex));
}

} // namespace tenon::runtime::cuda
