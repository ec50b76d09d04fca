// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Weights.h"

#include <cmath>
#include <numbers>

namespace tenon::runtime {

namespace {

struct Philox {
  uint32_t counter[4];
  uint32_t key[2];

  /// Ten rounds; constants from the paper's table 2.
  void run() {
    for (int round = 0; round < 10; ++round) {
      uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
      uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
                          static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
      for (int i = 0; i < 4; ++i)
        counter[i] = next[i];
      key[0] += 0x9E3779B9;
      key[1] += 0xBB67AE85;
    }
  }
};

uint64_t hash(const std::string &text) {
  uint64_t value = 1469598103934665603ull; // FNV-1a
  for (unsigned char c : text)
    value = (value ^ c) * 1099511628211ull;
  return value;
}

} // namespace

float randomElement(uint64_t seed, const std::string &key, int64_t index) {
  uint64_t name = hash(key), at = static_cast<uint64_t>(index);
  Philox philox{{static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
  philox.run();
  // Two uniforms in (0, 1]; Box-Muller's first output.
  double u = (static_cast<double>(philox.counter[0]) + 1.0) * 0x1p-32, v = static_cast<double>(philox.counter[1]) * 0x1p-32;
  return static_cast<float>(0.02 * std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
}

} // namespace tenon::runtime
