// SPDX-License-Identifier: Apache-2.0
// Values: elements of every type to f32 and back in kernels, alone and in packs of 128 bits.
// Includes nothing but the platform, because NVRTC compiles it too.
#pragma once

#include <CudaPlatform.h>

namespace tenon::runtime::cuda {

/// As plan::DataType, in the same order.
enum class Type : unsigned char { F32, BF16, F16, I32, I64, I1 };

// Host code includes this file for the type alone.
#if defined(__CUDACC__) || defined(TENON_CUDA_EMULATED)

__device__ inline float bf16ToFloat(unsigned short bits) {
  return __uint_as_float(unsigned(bits) << 16);
}

/// Rounds to the nearest, ties to even; NaN stays NaN.
__device__ inline unsigned short floatToBf16(float value) {
  unsigned bits = __float_as_uint(value);
  unsigned rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<unsigned short>(value != value ? (bits >> 16) | 0x40 : rounded);
}

/// Truncates; what does not fit saturates, and NaN becomes 0, as on the CPU.
__device__ inline int toInt32(float value) {
  return value != value            ? 0
         : value >= 2147483648.0f  ? 2147483647
         : value <= -2147483648.0f ? -2147483647 - 1
                                   : int(value);
}
__device__ inline long long toInt64(float value) {
  return value != value                     ? 0
         : value >= 9223372036854775808.0f  ? 9223372036854775807
         : value <= -9223372036854775808.0f ? -9223372036854775807 - 1
                                            : (long long)value;
}

/// Element `index` of memory that holds `type`, as f32; I1 as 0 or 1.
__device__ inline float loadFloat(Type type, const void *data, long long index) {
  switch (type) {
  case Type::F32:
    return static_cast<const float *>(data)[index];
  case Type::BF16:
    return bf16ToFloat(static_cast<const unsigned short *>(data)[index]);
  case Type::F16:
    return halfToFloat(static_cast<const unsigned short *>(data)[index]);
  case Type::I32:
    return float(static_cast<const int *>(data)[index]);
  case Type::I64:
    return float(static_cast<const long long *>(data)[index]);
  case Type::I1:
    return static_cast<const unsigned char *>(data)[index] ? 1.0f : 0.0f;
  }
  return 0;
}

/// Rounds floats to the nearest, truncates to integers, takes every value but 0 as true.
__device__ inline void storeFloat(Type type, void *data, long long index, float value) {
  switch (type) {
  case Type::F32:
    static_cast<float *>(data)[index] = value;
    return;
  case Type::BF16:
    static_cast<unsigned short *>(data)[index] = floatToBf16(value);
    return;
  case Type::F16:
    static_cast<unsigned short *>(data)[index] = floatToHalf(value);
    return;
  case Type::I32:
    static_cast<int *>(data)[index] = toInt32(value);
    return;
  case Type::I64:
    static_cast<long long *>(data)[index] = toInt64(value);
    return;
  case Type::I1:
    static_cast<unsigned char *>(data)[index] = value != 0;
    return;
  }
}

/// The nearest value that a float type holds.
__device__ inline float roundTo(Type type, float value) {
  if (type == Type::BF16)
    return bf16ToFloat(floatToBf16(value));
  return type == Type::F16 ? halfToFloat(floatToHalf(value)) : value;
}

/// Eight neighbouring elements as f32. Two-byte types move as one access of 128 bits, f32 as two;
/// `data + index` must be aligned to 16 bytes. Float types only.
struct Pack8 {
  float v[8];
};

__device__ inline Pack8 loadPack(Type type, const void *data, long long index) {
  Pack8 pack;
  if (type == Type::F32) {
    const float4 *from = reinterpret_cast<const float4 *>(static_cast<const float *>(data) + index);
    float4 a = from[0], b = from[1];
    pack.v[0] = a.x, pack.v[1] = a.y, pack.v[2] = a.z, pack.v[3] = a.w;
    pack.v[4] = b.x, pack.v[5] = b.y, pack.v[6] = b.z, pack.v[7] = b.w;
    return pack;
  }
  uint4 bits = *reinterpret_cast<const uint4 *>(static_cast<const unsigned short *>(data) + index);
  unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    unsigned short low = static_cast<unsigned short>(words[i]);
    unsigned short high = static_cast<unsigned short>(words[i] >> 16);
    pack.v[2 * i] = type == Type::BF16 ? bf16ToFloat(low) : halfToFloat(low);
    pack.v[2 * i + 1] = type == Type::BF16 ? bf16ToFloat(high) : halfToFloat(high);
  }
  return pack;
}

__device__ inline void storePack(Type type, void *data, long long index, const Pack8 &pack) {
  if (type == Type::F32) {
    float4 *to = reinterpret_cast<float4 *>(static_cast<float *>(data) + index);
    to[0] = make_float4(pack.v[0], pack.v[1], pack.v[2], pack.v[3]);
    to[1] = make_float4(pack.v[4], pack.v[5], pack.v[6], pack.v[7]);
    return;
  }
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float a = pack.v[2 * i], b = pack.v[2 * i + 1];
    unsigned low = type == Type::BF16 ? floatToBf16(a) : floatToHalf(a);
    unsigned high = type == Type::BF16 ? floatToBf16(b) : floatToHalf(b);
    words[i] = low | high << 16;
  }
  *reinterpret_cast<uint4 *>(static_cast<unsigned short *>(data) + index) =
      make_uint4(words[0], words[1], words[2], words[3]);
}

#endif

} // namespace tenon::runtime::cuda
