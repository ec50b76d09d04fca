// SPDX-License-Identifier: Apache-2.0

#include "tenon/Sharding/Reshard.h"

#include "tenon/runtime/plan/Blocks.h"

#include <algorithm>
#include <map>
#include <queue>

namespace tenon::sharding {

namespace {

bool endsWith(const AxisList &list, const AxisList &run) {
  return list.size() >= run.size() && std::equal(run.begin(), run.end(), list.end() - static_cast<std::ptrdiff_t>(run.size()));
}

/// All steps from a state. `wanted` bounds them: only axes that the target names in some dimension are sliced in.
std::vector<Step> stepsFrom(const Sharding &now, const Sharding &to, const std::vector<int64_t> &shape, const Mesh &mesh) {
  std::vector<Step> steps;
  const int rank = static_cast<int>(now.dims.size());
  std::vector<char> used(mesh.axes.size(), 0);
  for (int axis : now.partial)
    used[axis] = 1;
  for (const AxisList &axes : now.dims)
    for (int axis : axes)
      used[axis] = 1;
  auto fits = [&](int dim, const AxisList &run) { return mesh.size(now.dims[dim]) * mesh.size(run) <= std::max<int64_t>(shape[dim], 1); };

  // Runs that the target wants next in a dimension: prefixes of what follows the present list there.
  auto wantedRuns = [&](int dim) {
    std::vector<AxisList> runs;
    const AxisList &have = now.dims[dim], &want = to.dims[dim];
    if (want.size() > have.size() && std::equal(have.begin(), have.end(), want.begin()))
      for (size_t end = have.size() + 1; end <= want.size(); ++end)
        runs.push_back({want.begin() + static_cast<std::ptrdiff_t>(have.size()), want.begin() + static_cast<std::ptrdiff_t>(end)});
    return runs;
  };

  // Reductions of partial axes that the target no longer has: all at once, or any one of them.
  AxisList extra;
  for (int axis : now.partial)
    if (std::find(to.partial.begin(), to.partial.end(), axis) == to.partial.end())
      extra.push_back(axis);
  auto without = [&](const AxisList &run) {
    Sharding after = now;
    std::erase_if(after.partial, [&](int axis) { return std::find(run.begin(), run.end(), axis) != run.end(); });
    if (after.partial.empty())
      after.reduction = Reduction::Sum;
    return after;
  };
  // Reduce-scatter wherever the target wants reduced axes, or into any dimension (as half of a cheaper all-reduce).
  for (int dim = 0; dim < rank; ++dim)
    for (const AxisList &run : wantedRuns(dim))
      if (std::all_of(run.begin(), run.end(), [&](int axis) { return std::find(extra.begin(), extra.end(), axis) != extra.end(); }) &&
          fits(dim, run) && now.reduction == Reduction::Sum) {
        Sharding after = without(run);
        after.dims[dim].insert(after.dims[dim].end(), run.begin(), run.end());
        steps.push_back({StepKind::ReduceScatter, run, dim, -1, after});
      }
  if (!extra.empty()) {
    if (now.reduction == Reduction::Sum)
      for (int dim = 0; dim < rank; ++dim)
        if (fits(dim, extra) && shape[dim] % (mesh.size(now.dims[dim]) * mesh.size(extra)) == 0) {
          Sharding after = without(extra);
          after.dims[dim].insert(after.dims[dim].end(), extra.begin(), extra.end());
          Step step{StepKind::ReduceScatter, extra, dim, -1, after};
          if (std::find(steps.begin(), steps.end(), step) == steps.end())
            steps.push_back(step);
        }
    steps.push_back({StepKind::AllReduce, extra, -1, -1, without(extra)});
    if (extra.size() > 1)
      for (int axis : extra)
        steps.push_back({StepKind::AllReduce, {axis}, -1, -1, without({axis})});
  }

  for (int dim = 0; dim < rank; ++dim) {
    const AxisList &have = now.dims[dim];
    for (size_t length = 1; length <= have.size(); ++length) {
      AxisList run(have.end() - static_cast<std::ptrdiff_t>(length), have.end());
      Sharding after = now;
      after.dims[dim].resize(have.size() - length);
      // Moving the run to another dimension.
      for (int other = 0; other < rank; ++other)
        if (other != dim && fits(other, run)) {
          Sharding moved = after;
          moved.dims[other].insert(moved.dims[other].end(), run.begin(), run.end());
          steps.push_back({StepKind::AllToAll, run, other, dim, moved});
        }
      steps.push_back({StepKind::AllGather, run, dim, -1, after});
    }
    for (const AxisList &run : wantedRuns(dim))
      if (std::none_of(run.begin(), run.end(), [&](int axis) { return used[axis]; }) && fits(dim, run)) {
        Sharding after = now;
        after.dims[dim].insert(after.dims[dim].end(), run.begin(), run.end());
        steps.push_back({StepKind::Slice, run, dim, -1, after});
      }
  }
  return steps;
}

} // namespace

bool ReshardPath::communicates() const {
  return std::any_of(steps.begin(), steps.end(), [](const Step &step) { return step.kind != StepKind::Slice; });
}

std::optional<ReshardPath> reshardPath(const Sharding &from, const Sharding &to, const std::vector<int64_t> &shape, const Mesh &mesh,
                                       const StepPrice &price) {
  if (from == to)
    return ReshardPath{};
  for (int axis : to.partial)
    if (std::find(from.partial.begin(), from.partial.end(), axis) == from.partial.end())
      return std::nullopt;
  if (!to.partial.empty() && from.reduction != to.reduction)
    return std::nullopt;

  // Dijkstra; ties by fewer steps, then by the order in which states were reached.
  struct Entry {
    double seconds;
    size_t steps, order;
    Sharding state;
    bool operator>(const Entry &other) const {
      return std::tie(seconds, steps, order) > std::tie(other.seconds, other.steps, other.order);
    }
  };
  struct Reached {
    double seconds;
    size_t steps;
    Sharding before;
    Step step;
    bool done = false;
  };
  std::map<Sharding, Reached> reached;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  size_t order = 0;
  reached[from] = {0, 0, from, {}, false};
  queue.push({0, 0, order++, from});
  while (!queue.empty()) {
    Entry entry = queue.top();
    queue.pop();
    Reached &here = reached[entry.state];
    if (here.done)
      continue;
    here.done = true;
    if (entry.state == to)
      break;
    for (Step &step : stepsFrom(entry.state, to, shape, mesh)) {
      double seconds = entry.seconds + price(step, entry.state);
      auto it = reached.find(step.after);
      if (it != reached.end() && std::tie(it->second.seconds, it->second.steps) <= std::make_tuple(seconds, entry.steps + 1))
        continue;
      Sharding after = step.after;
      reached[after] = {seconds, entry.steps + 1, entry.state, std::move(step), false};
      queue.push({seconds, entry.steps + 1, order++, std::move(after)});
    }
  }
  auto found = reached.find(to);
  if (found == reached.end())
    return std::nullopt;
  ReshardPath path;
  path.seconds = found->second.seconds;
  for (auto it = found; it->second.steps > 0; it = reached.find(it->second.before))
    path.steps.push_back(it->second.step);
  std::reverse(path.steps.begin(), path.steps.end());
  return path;
}

double stepBytes(const Step &step, const Sharding &before, const std::vector<int64_t> &shape, const Mesh &mesh, int64_t elementBytes) {
  if (step.kind == StepKind::Slice)
    return 0;
  auto bytes = [&](const Sharding &sharding) {
    double product = static_cast<double>(elementBytes);
    for (int64_t size : localShape(shape, sharding, mesh))
      product *= static_cast<double>(size);
    return product;
  };
  double p = static_cast<double>(mesh.size(step.axes)), share = (p - 1) / p;
  switch (step.kind) {
  case StepKind::AllReduce:
    return 2 * share * bytes(before);
  case StepKind::AllGather:
    return share * p * bytes(before);
  case StepKind::ReduceScatter:
    return share * p * bytes(step.after);
  case StepKind::AllToAll:
    return share * std::max(bytes(before), bytes(step.after));
  case StepKind::Slice:
    break;
  }
  return 0;
}

} // namespace tenon::sharding
