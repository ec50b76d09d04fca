// SPDX-License-Identifier: Apache-2.0
// Random plan entries for the scheduler and the packer: correct list programs without streams,
// events and offsets.
#pragma once

#include "tenon/runtime/plan/Plan.h"

namespace tenon::test {

/// A plan over 2 ranks with one entry of `ops` instructions: copies, elementwise ops and
/// all_reduces over earlier values or parts of them, of random sizes. Every value that nobody reads
/// is an output.
plan::Plan randomPlan(unsigned seed, int ops);

} // namespace tenon::test
