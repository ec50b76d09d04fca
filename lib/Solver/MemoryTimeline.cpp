// SPDX-License-Identifier: Apache-2.0

#include "MemoryTimeline.h"

#include <algorithm>
#include <bit>

namespace tenon::solver {

MemoryTimeline::MemoryTimeline(const ShardingProblem &problem) : byNode(problem.nodes.size()) {
  std::vector<int32_t> begins, ends, times;
  for (const MemoryUse &use : problem.uses)
    if (use.begin < use.end) {
      begins.push_back(use.begin);
      ends.push_back(use.end);
    }
  for (std::vector<int32_t> *list : {&begins, &ends}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  for (size_t i = 0; i < begins.size(); ++i) {
    const auto end = std::upper_bound(ends.begin(), ends.end(), begins[i]);
    if (i + 1 == begins.size() || *end <= begins[i + 1])
      times.push_back(begins[i]);
  }
  count = static_cast<int32_t>(times.size());
  auto at = [&](int32_t time) {
    return static_cast<int32_t>(std::lower_bound(times.begin(), times.end(), time) - times.begin());
  };
  for (const MemoryUse &use : problem.uses) {
    Span span{at(use.begin), at(use.end), use.bytes};
    if (span.begin >= span.end ||
        std::all_of(use.bytes.begin(), use.bytes.end(), [](int64_t b) { return b == 0; }))
      continue;
    std::vector<Span> &spans = byNode[use.node];
    auto same = std::find_if(spans.begin(), spans.end(), [&](const Span &other) {
      return other.begin == span.begin && other.end == span.end;
    });
    if (same == spans.end()) {
      spans.push_back(std::move(span));
      continue;
    }
    for (size_t s = 0; s < span.bytes.size(); ++s)
      same->bytes[s] += span.bytes[s];
  }
}

void MemoryTimeline::apply(std::vector<int64_t> &changes, int32_t node, int32_t strategy,
                           int64_t sign) const {
  for (const Span &span : byNode[node]) {
    changes[span.begin] += sign * span.bytes[strategy];
    changes[span.end] -= sign * span.bytes[strategy];
  }
}

std::vector<int64_t> MemoryTimeline::changes(const std::vector<int32_t> &choice) const {
  std::vector<int64_t> result(count + 1, 0);
  for (int32_t node = 0; node < static_cast<int32_t>(byNode.size()); ++node)
    apply(result, node, choice[node], 1);
  return result;
}

MemoryTimeline::Excess MemoryTimeline::excess(const std::vector<int64_t> &changes,
                                              int64_t limit) const {
  Excess result;
  int64_t held = 0;
  for (int32_t point = 0; point < count; ++point) {
    held += changes[point];
    if (held <= limit)
      continue;
    result.sum +=
        static_cast<double>(held - limit) / static_cast<double>(std::max<int64_t>(limit, 1));
    if (held - limit > result.most) {
      result.most = held - limit;
      result.worst = point;
    }
  }
  return result;
}

void forbidWhatNeverFits(ShardingProblem &problem) {
  const MemoryTimeline timeline(problem);
  auto leanest = [](const MemoryTimeline::Span &span) {
    return *std::min_element(span.bytes.begin(), span.bytes.end());
  };
  const auto nodes = static_cast<int32_t>(problem.nodes.size());
  std::vector<int64_t> base(timeline.points() + 1, 0);
  for (int32_t node = 0; node < nodes; ++node)
    for (const MemoryTimeline::Span &span : timeline.spans(node)) {
      base[span.begin] += leanest(span);
      base[span.end] -= leanest(span);
    }
  // most[k][p]: the largest of base over the points p .. p + 2^k - 1.
  std::vector<std::vector<int64_t>> most(1);
  int64_t held = 0;
  for (int32_t p = 0; p < timeline.points(); ++p)
    most[0].push_back(held += base[p]);
  for (size_t k = 1; (size_t(1) << k) <= most[0].size(); ++k) {
    std::vector<int64_t> &row = most.emplace_back();
    for (size_t p = 0; p + (size_t(1) << k) <= most[0].size(); ++p)
      row.push_back(std::max(most[k - 1][p], most[k - 1][p + (size_t(1) << (k - 1))]));
  }
  for (int32_t node = 0; node < nodes; ++node)
    for (const MemoryTimeline::Span &span : timeline.spans(node)) {
      const auto length = static_cast<uint32_t>(span.end - span.begin);
      const int k = std::bit_width(length) - 1;
      const int64_t others =
          std::max(most[k][span.begin], most[k][span.end - (int32_t(1) << k)]) - leanest(span);
      for (size_t s = 0; s < span.bytes.size(); ++s)
        if (others + span.bytes[s] > problem.memoryLimit)
          problem.nodes[node].costs[s] = kInfinity;
    }
}

} // namespace tenon::solver
