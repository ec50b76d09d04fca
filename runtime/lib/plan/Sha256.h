// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) of a byte string: the digest of a plan. Guards against damage and names a
// plan; it is no protection against someone who wants to deceive.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace tenon::plan {

std::array<std::byte, 32> sha256(std::span<const std::byte> data);

} // namespace tenon::plan
