// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/StepTimes.h"

#include <algorithm>
#include <numeric>

namespace tenon::runtime {

double medianOf(std::vector<double> values) {
  if (values.empty())
    return 0;
  auto middle = values.begin() + std::ptrdiff_t((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

StepSummary summarize(const std::vector<std::vector<StepSample>> &samples) {
  StepSummary summary;
  if (samples.empty() || samples[0].empty())
    return summary;
  const size_t steps = samples[0].size();
  std::vector<size_t> slowest(steps, 0), order(steps);
  auto timeOf = [&](size_t step) { return samples[slowest[step]][step].total; };
  for (size_t step = 0; step < steps; ++step)
    for (size_t rank = 1; rank < samples.size(); ++rank)
      if (samples[rank][step].total > timeOf(step))
        slowest[step] = rank;
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return timeOf(a) < timeOf(b); });
  size_t middle = order[(steps - 1) / 2];
  const StepSample &sample = samples[slowest[middle]][middle];
  summary.steps = int64_t(steps);
  summary.min = timeOf(order[0]);
  summary.median = sample.total;
  summary.wait = sample.wait;
  summary.communication = sample.communication;
  summary.compute = sample.total - sample.wait - sample.communication;
  summary.slowestRank = int(slowest[middle]);
  return summary;
}

} // namespace tenon::runtime
