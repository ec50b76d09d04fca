// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/RandomValues.h"

#include <cmath>
#include <numbers>

namespace tenon::runtime {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53u) * counter[0], b = uint64_t(0xCD9E8D57u) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// FNV-1a: the same everywhere, unlike std::hash.
static uint64_t hashOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : name)
    hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

RandomValues::RandomValues(uint64_t seed, std::string_view name)
    : seed_(seed), hash_(hashOf(name)) {}

void RandomValues::compute(int64_t block) {
  block_ = block;
  words_ = philox4x32(
      {uint32_t(block), uint32_t(uint64_t(block) >> 32), uint32_t(hash_), uint32_t(hash_ >> 32)},
      {uint32_t(seed_), uint32_t(seed_ >> 32)});
  for (size_t pair = 0; pair < 4; pair += 2) {
    // In (0, 1], so that the logarithm is finite.
    double u = (double(words_[pair]) + 1) * 0x1p-32, v = double(words_[pair + 1]) * 0x1p-32;
    double radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * v;
    normals_[pair] = float(radius * std::cos(angle));
    normals_[pair + 1] = float(radius * std::sin(angle));
  }
}

float RandomValues::normal(int64_t index) {
  if (index / 4 != block_)
    compute(index / 4);
  return normals_[size_t(index % 4)];
}

uint32_t RandomValues::bits(int64_t index) {
  if (index / 4 != block_)
    compute(index / 4);
  return words_[size_t(index % 4)];
}

} // namespace tenon::runtime
