// SPDX-License-Identifier: Apache-2.0
// StepTimes: what a run's steps took. wait = from entering a collective to the arrival of the last
// peer's first byte; communication = from then to its end; compute = the rest. A step takes as long
// as its slowest rank; the split shown is that rank's, in the median step.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::runtime {

/// One step on one rank, in seconds.
struct StepSample {
  double total = 0, wait = 0, communication = 0;
};

struct StepSummary {
  int64_t steps = 0;
  double min = 0, median = 0; ///< Seconds.
  double compute = 0, communication = 0, wait = 0;
  int slowestRank = 0; ///< In the median step.
};

/// `samples[rank][step]`, the same number of steps on every rank. The median of an even number of
/// steps is the lower middle, so that it is a step that happened.
StepSummary summarize(const std::vector<std::vector<StepSample>> &samples);

/// Lower median.
double medianOf(std::vector<double> values);

} // namespace tenon::runtime
