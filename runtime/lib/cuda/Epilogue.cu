// SPDX-License-Identifier: Apache-2.0
#include "Epilogue.h"

#include <algorithm>

namespace tenon::runtime::cuda {
namespace {

enum class Act : unsigned char { None, Gelu, GeluTanh, Silu, Relu, Tanh }; ///< plan::Activation.

struct EpilogueArguments {
  const float *product;
  void *result;
  const void *bias, *residual;
  Type resultType, biasType, residualType;
  Act activation;
  bool hasBias, hasResidual;
  Loops<kEpilogueSlots> outer;
  long long columns;
  long long strides[kEpilogueSlots]; ///< Along the columns.
  long long iterations;              ///< Of the outer loops.
};

__device__ inline float activate(Act activation, float x) {
  switch (activation) {
  case Act::None:
    return x;
  case Act::Gelu:
    return 0.5f * x * erfcf(x * -0.70710678118654752f);
  case Act::GeluTanh: // (1 + tanh u) / 2 is the sigmoid of 2u, which keeps digits in its tail.
    return x / (1 + expf(-1.59576912160573071f * (x + 0.044715f * x * x * x)));
  case Act::Silu:
    return x / (1 + expf(-x));
  case Act::Relu:
    return x > 0 || x != x ? x : 0.0f;
  case Act::Tanh:
    return tanhf(x);
  }
  return x;
}

// Eight columns per thread where all operands step by 1 (or stand still) and are aligned.
__global__ void epiloguePacks(EpilogueArguments a) {
  const long long packs = a.columns / 8, all = packs * a.iterations;
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < all;
       i += (long long)gridDim.x * blockDim.x) {
    long long at[kEpilogueSlots];
    a.outer.at(i / packs, at);
    const long long column = i % packs * 8;
    Pack8 value = loadPack(Type::F32, a.product, at[kProduct] + column);
    if (a.hasBias) {
      Pack8 bias;
      if (a.strides[kEpilogueBias])
        bias = loadPack(a.biasType, a.bias, at[kEpilogueBias] + column);
      else
        for (float &v : bias.v)
          v = loadFloat(a.biasType, a.bias, at[kEpilogueBias]);
#pragma unroll
      for (int j = 0; j < 8; ++j)
        value.v[j] += bias.v[j];
    }
#pragma unroll
    for (int j = 0; j < 8; ++j)
      value.v[j] = activate(a.activation, value.v[j]);
    if (a.hasResidual) {
      Pack8 residual;
      if (a.strides[kResidual])
        residual = loadPack(a.residualType, a.residual, at[kResidual] + column);
      else
        for (float &v : residual.v)
          v = loadFloat(a.residualType, a.residual, at[kResidual]);
#pragma unroll
      for (int j = 0; j < 8; ++j)
        value.v[j] += residual.v[j];
    }
    storePack(a.resultType, a.result, at[kResult] + column, value);
  }
}

__global__ void epilogueElements(EpilogueArguments a) {
  const long long all = a.columns * a.iterations;
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < all;
       i += (long long)gridDim.x * blockDim.x) {
    long long at[kEpilogueSlots];
    a.outer.at(i / a.columns, at);
    const long long column = i % a.columns;
    for (int j = 0; j < kEpilogueSlots; ++j)
      at[j] += column * a.strides[j];
    float value = a.product[at[kProduct]];
    if (a.hasBias)
      value += loadFloat(a.biasType, a.bias, at[kEpilogueBias]);
    value = activate(a.activation, value);
    if (a.hasResidual)
      value += loadFloat(a.residualType, a.residual, at[kResidual]);
    storeFloat(a.resultType, a.result, at[kResult], value);
  }
}

bool isAligned(const void *address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

} // namespace

cudaError_t Epilogue::enqueue(const float *product, std::byte *result, const std::byte *biasTile,
                              const std::byte *residualTile, cudaStream_t stream) const {
  LoopNest outer = loops;
  outer.collapse();
  LoopNest inner = outer.popInner();
  EpilogueArguments a = {};
  a.product = product;
  a.result = result;
  a.bias = biasTile;
  a.residual = residualTile;
  a.resultType = static_cast<Type>(resultType);
  a.biasType = static_cast<Type>(biasType);
  a.residualType = static_cast<Type>(residualType);
  a.activation = static_cast<Act>(activation);
  a.hasBias = bias;
  a.hasResidual = residual;
  a.outer = loopsOf<kEpilogueSlots>(outer);
  a.columns = inner.sizes[0];
  a.iterations = outer.iterations();
  for (int j = 0; j < kEpilogueSlots; ++j)
    a.strides[j] = inner.strides[0][size_t(j)];
  if (a.columns * a.iterations == 0)
    return cudaSuccess;
  // Every run of eight must start on 16 bytes, in every row.
  auto packs = [&](int slot, const void *data, plan::DataType type, bool mayStandStill) {
    if (a.strides[slot] == 0 && mayStandStill)
      return true;
    bool whole = a.strides[slot] == 1 && isAligned(data) && plan::isFloat(type);
    for (const std::vector<int64_t> &steps : outer.strides)
      whole = whole && steps[size_t(slot)] % 8 == 0;
    return whole;
  };
  const bool wide = a.columns % 8 == 0 && packs(kProduct, product, plan::DataType::F32, false) &&
                    packs(kResult, result, resultType, false) &&
                    (!bias || packs(kEpilogueBias, biasTile, biasType, true)) &&
                    (!residual || packs(kResidual, residualTile, residualType, true));
  const long long items = a.iterations * (wide ? a.columns / 8 : a.columns);
  const unsigned blocks = unsigned(std::min<long long>((items + 255) / 256, 1 << 20));
  return launch(wide ? epiloguePacks : epilogueElements, dim3(blocks), dim3(256), 0, stream, a);
}

} // namespace tenon::runtime::cuda
