// SPDX-License-Identifier: Apache-2.0
// RandomValues: numbers that depend on a seed, a name and an index only, so that every rank
// computes the part it needs and all degrees of sharding see one model. Philox4x32-10 (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tenon::runtime {

/// Ten rounds on a counter under a key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Random access to the numbers of one name.
class RandomValues {
public:
  RandomValues(uint64_t seed, std::string_view name);
  /// Standard normal number at `index` (Box-Muller; four numbers per counter).
  float normal(int64_t index);
  /// Uniform 32 bits at `index`.
  uint32_t bits(int64_t index);

private:
  void compute(int64_t block);
  uint64_t seed_, hash_;
  int64_t block_ = -1;
  std::array<uint32_t, 4> words_{};
  std::array<float, 4> normals_{};
};

} // namespace tenon::runtime
