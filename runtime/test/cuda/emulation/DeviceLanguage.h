// SPDX-License-Identifier: Apache-2.0
// DeviceLanguage: the words of CUDA C++ that kernels are written in, for a host compiler. A block's
// threads are fibers of one host thread (Fibers.cpp), so shared memory is thread_local and atomics
// are plain accesses.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Alignments are CUDA's: a load from a less aligned address faults on the GPU. Here the undefined
// behaviour sanitizer reports it (-fsanitize=alignment).
struct alignas(4) uchar4 {
  unsigned char x, y, z, w;
};
struct alignas(4) ushort2 {
  unsigned short x, y;
};
struct alignas(8) ushort4 {
  unsigned short x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) longlong2 {
  long long x, y;
};

inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline longlong2 make_longlong2(long long x, long long y) { return {x, y}; }
inline ushort2 make_ushort2(unsigned short x, unsigned short y) { return {x, y}; }
inline ushort4 make_ushort4(unsigned short x, unsigned short y, unsigned short z,
                            unsigned short w) {
  return {x, y, z, w};
}

inline constinit thread_local uint3 threadIdx = {0, 0, 0};
inline constinit thread_local uint3 blockIdx = {0, 0, 0};
inline constinit thread_local dim3 blockDim;
inline constinit thread_local dim3 gridDim;
inline constexpr int warpSize = 32;

namespace tenon::emulation {

/// The running block's dynamic shared memory.
inline constinit thread_local unsigned char *dynamicShared = nullptr;

/// Waits for every thread of the block.
void meetBlock();

/// The calling thread's lane in its warp.
unsigned lane();

/// What lanes of a warp hand each other when they meet.
enum class Exchange { None, Lane, Ballot };

/// Waits for the lanes of `mask`. Lane: the bits that lane `source` brought; Ballot: one bit per
/// lane that brought something other than 0.
uint64_t meetWarp(unsigned mask, Exchange exchange, unsigned source, uint64_t bits);

template <typename T> T shuffle(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = meetWarp(mask, Exchange::Lane, source, bits);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

} // namespace tenon::emulation

inline void __syncthreads() { tenon::emulation::meetBlock(); }
inline void __syncwarp(unsigned mask = 0xffffffff) {
  tenon::emulation::meetWarp(mask, tenon::emulation::Exchange::None, 0, 0);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  unsigned first = tenon::emulation::lane() & ~unsigned(width - 1);
  return tenon::emulation::shuffle(mask, value, first + (unsigned(source) & unsigned(width - 1)));
}

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  unsigned lane = tenon::emulation::lane(), source = lane ^ unsigned(bits);
  // A lane of a later segment gives the caller's own value; an earlier segment may be read.
  return tenon::emulation::shuffle(mask, value,
                                   source > (lane | unsigned(width - 1)) ? lane : source);
}

template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  unsigned lane = tenon::emulation::lane(), source = lane + delta;
  return tenon::emulation::shuffle(mask, value,
                                   source > (lane | unsigned(width - 1)) ? lane : source);
}

template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  unsigned lane = tenon::emulation::lane(), first = lane & ~unsigned(width - 1);
  return tenon::emulation::shuffle(mask, value, lane - first < delta ? lane : lane - delta);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return unsigned(tenon::emulation::meetWarp(mask, tenon::emulation::Exchange::Ballot, 0,
                                             uint64_t(predicate != 0)));
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a < 0 ? 0 : a > 1 ? 1 : a; }
#if !defined(__GLIBC_PREREQ) || !__GLIBC_PREREQ(2, 42)
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline double rsqrt(double a) { return 1 / sqrt(a); }
#endif
// The C library declares functions of these names that it does not export.
#define __expf(a) expf(a)
#define __exp2f(a) exp2f(a)
#define __logf(a) logf(a)
#define __log2f(a) log2f(a)
#define __sinf(a) sinf(a)
#define __cosf(a) cosf(a)
#define __tanf(a) tanf(a)
#define __powf(a, b) powf(a, b)

inline int __popc(unsigned a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(unsigned(a)); }
inline int __ffs(int a) { return a ? std::countr_zero(unsigned(a)) + 1 : 0; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }

template <typename T> T __ldg(const T *address) { return *address; }

template <typename T> T atomicAdd(T *address, T value) {
  T old = *address;
  *address = old + value;
  return old;
}
template <typename T> T atomicMax(T *address, T value) {
  T old = *address;
  *address = old < value ? value : old;
  return old;
}
template <typename T> T atomicMin(T *address, T value) {
  T old = *address;
  *address = value < old ? value : old;
  return old;
}
template <typename T> T atomicExch(T *address, T value) {
  T old = *address;
  *address = value;
  return old;
}
template <typename T> T atomicCAS(T *address, T expected, T value) {
  T old = *address;
  *address = old == expected ? value : old;
  return old;
}

// Overloads, not templates: arguments of different types convert as in CUDA.
#define TENON_EMULATION_MINMAX(T)                                                                  \
  inline T min(T a, T b) { return b < a ? b : a; }                                                 \
  inline T max(T a, T b) { return a < b ? b : a; }
TENON_EMULATION_MINMAX(int)
TENON_EMULATION_MINMAX(unsigned)
TENON_EMULATION_MINMAX(long)
TENON_EMULATION_MINMAX(unsigned long)
TENON_EMULATION_MINMAX(long long)
TENON_EMULATION_MINMAX(unsigned long long)
#undef TENON_EMULATION_MINMAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
