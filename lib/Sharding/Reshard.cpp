// SPDX-License-Identifier: Apache-2.0
// Shortest paths over sharding states. It knows which steps exist; what they cost comes from
// outside.

#include "tenon/Sharding/Reshard.h"

#include <algorithm>
#include <limits>
#include <map>
#include <queue>
#include <set>
#include <tuple>
#include <unordered_map>

namespace tenon::sharding {

namespace {

constexpr double kUnreached = std::numeric_limits<double>::infinity();

bool contains(const AxisList &list, int axis) {
  return std::find(list.begin(), list.end(), axis) != list.end();
}

/// Non-empty subsets of a list, each in the list's order; larger ones first, so that one step over
/// many axes comes before many steps.
std::vector<AxisList> subsets(const AxisList &list) {
  std::vector<AxisList> result;
  for (size_t mask = 1; mask < (size_t{1} << list.size()); ++mask) {
    AxisList subset;
    for (size_t i = 0; i < list.size(); ++i)
      if (mask >> i & 1)
        subset.push_back(list[i]);
    result.push_back(std::move(subset));
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const AxisList &a, const AxisList &b) { return a.size() > b.size(); });
  return result;
}

/// A value that is partial over nothing has no reduction kind.
Sharding normalised(Sharding sharding) {
  if (sharding.partial.empty())
    sharding.reduction = Reduction::Sum;
  return sharding;
}

struct Hash {
  size_t operator()(const Sharding &sharding) const {
    size_t hash = static_cast<size_t>(sharding.reduction);
    auto add = [&](size_t word) { hash = (hash ^ word) * 0x9e3779b97f4a7c15u; };
    auto addList = [&](const AxisList &axes) {
      for (int axis : axes)
        add(static_cast<size_t>(axis) + 1);
      add(0);
    };
    for (const AxisList &axes : sharding.dims)
      addList(axes);
    addList(sharding.partial);
    return hash ^ hash >> 32;
  }
};

struct Arc {
  int32_t to;
  double seconds;
  Step step;
};

/// Search from one state; settled states are final, so a later question goes on where the last one
/// stopped.
struct Search {
  struct Reached {
    double seconds = kUnreached;
    int32_t steps = 0;
    int32_t before = -1;
    int32_t arc = -1;
    bool settled = false;
  };
  struct Entry {
    double seconds;
    int32_t steps;
    int64_t order;
    int32_t state;
    bool operator>(const Entry &other) const {
      return std::tie(seconds, steps, order) > std::tie(other.seconds, other.steps, other.order);
    }
  };
  std::vector<Reached> reached;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  int64_t order = 0;
};

} // namespace

struct ReshardGraph::Impl {
  std::vector<int64_t> shape;
  Mesh mesh;
  StepPrice price;
  std::vector<Sharding> states;
  std::unordered_map<Sharding, int32_t, Hash> numbers;
  std::unordered_map<Sharding, int32_t, Hash> asked; ///< As given, not normalised.
  std::vector<std::vector<Arc>> arcs;                ///< Valid where expanded.
  std::vector<char> expanded;
  std::map<int32_t, Search> searches;
  /// Lists longer than their dimension that somebody asked for, all the same.
  std::set<std::pair<int, AxisList>> oversized;

  int32_t number(const Sharding &sharding) {
    auto [it, isNew] = numbers.try_emplace(sharding, static_cast<int32_t>(states.size()));
    if (isNew) {
      states.push_back(sharding);
      arcs.emplace_back();
      expanded.push_back(false);
    }
    return it->second;
  }

  bool fits(int dim, const AxisList &axes) const {
    return mesh.size(axes) <= shape[dim] || oversized.count({dim, axes}) != 0;
  }

  /// Admits the lists of a sharding that somebody asks for. What was searched without them starts
  /// anew.
  void admit(const Sharding &sharding) {
    bool isNew = false;
    for (size_t dim = 0; dim < sharding.dims.size(); ++dim) {
      AxisList prefix;
      for (int axis : sharding.dims[dim]) {
        prefix.push_back(axis);
        if (!fits(static_cast<int>(dim), prefix))
          isNew |= oversized.insert({static_cast<int>(dim), prefix}).second;
      }
    }
    if (isNew) {
      searches.clear();
      std::fill(expanded.begin(), expanded.end(), 0);
    }
  }

  void addArc(std::vector<Arc> &list, Step step, const Sharding &before) {
    double seconds = price(step, before);
    int32_t to = number(step.after);
    list.push_back({to, seconds, std::move(step)});
  }

  /// Lists the steps from a state, in the order that breaks ties.
  void expand(int32_t state) {
    if (expanded[state])
      return;
    const Sharding now = states[state];
    const int rank = static_cast<int>(now.dims.size());
    std::vector<Arc> list;
    AxisList unused;
    for (int axis = 0; axis < static_cast<int>(mesh.axes.size()); ++axis)
      if (mesh.axes[axis].size > 1 && !contains(now.partial, axis) &&
          std::none_of(now.dims.begin(), now.dims.end(),
                       [&](const AxisList &axes) { return contains(axes, axis); }))
        unused.push_back(axis);

    auto extended = [&](Sharding after, int dim, const AxisList &run) -> std::optional<Sharding> {
      after.dims[dim].insert(after.dims[dim].end(), run.begin(), run.end());
      if (!fits(dim, after.dims[dim]))
        return std::nullopt;
      return after;
    };
    auto reduced = [&](const AxisList &run) {
      Sharding after = now;
      std::erase_if(after.partial, [&](int axis) { return contains(run, axis); });
      return normalised(std::move(after));
    };

    const std::vector<AxisList> reductions = subsets(now.partial);
    if (now.reduction == Reduction::Sum)
      for (const AxisList &run : reductions)
        for (int dim = 0; dim < rank; ++dim)
          if (auto after = extended(reduced(run), dim, run))
            addArc(list, {StepKind::ReduceScatter, run, dim, -1, std::move(*after)}, now);
    for (const AxisList &run : reductions)
      addArc(list, {StepKind::AllReduce, run, -1, -1, reduced(run)}, now);
    for (const AxisList &run : subsets(unused))
      for (int dim = 0; dim < rank; ++dim)
        if (auto after = extended(now, dim, run))
          addArc(list, {StepKind::Slice, run, dim, -1, std::move(*after)}, now);

    std::vector<Step> gathers;
    for (int dim = 0; dim < rank; ++dim)
      for (size_t length = now.dims[dim].size(); length >= 1; --length) {
        const AxisList run(now.dims[dim].end() - static_cast<std::ptrdiff_t>(length),
                           now.dims[dim].end());
        Sharding shorter = now;
        shorter.dims[dim].resize(now.dims[dim].size() - length);
        for (int other = 0; other < rank; ++other)
          if (other != dim)
            if (auto after = extended(shorter, other, run))
              addArc(list, {StepKind::AllToAll, run, other, dim, std::move(*after)}, now);
        gathers.push_back({StepKind::AllGather, run, dim, -1, std::move(shorter)});
      }
    for (Step &step : gathers)
      addArc(list, std::move(step), now);
    arcs[state] = std::move(list);
    expanded[state] = true;
  }

  /// Searches from one state until another is settled; returns nullptr when it cannot be reached.
  const Search *search(int32_t from, int32_t to) {
    auto [it, isNew] = searches.try_emplace(from);
    Search &search = it->second;
    if (isNew) {
      search.reached.resize(states.size());
      search.reached[from].seconds = 0;
      search.queue.push({0, 0, search.order++, from});
    }
    search.reached.resize(std::max(search.reached.size(), states.size()));
    while (!search.reached[to].settled && !search.queue.empty()) {
      const Search::Entry entry = search.queue.top();
      search.queue.pop();
      if (search.reached[entry.state].settled)
        continue;
      search.reached[entry.state].settled = true;
      expand(entry.state);
      search.reached.resize(states.size());
      for (size_t a = 0; a < arcs[entry.state].size(); ++a) {
        const Arc &arc = arcs[entry.state][a];
        Search::Reached &there = search.reached[arc.to];
        const double seconds = entry.seconds + arc.seconds;
        const int32_t steps = entry.steps + 1;
        if (there.settled || !(std::tie(seconds, steps) < std::tie(there.seconds, there.steps)))
          continue;
        there = {seconds, steps, entry.state, static_cast<int32_t>(a), false};
        search.queue.push({seconds, steps, search.order++, arc.to});
      }
    }
    return search.reached[to].settled ? &search : nullptr;
  }

  /// The number of a sharding that somebody asks for.
  int32_t endOf(const Sharding &sharding) {
    auto [at, isNew] = asked.try_emplace(sharding);
    if (isNew) {
      admit(sharding);
      at->second = number(normalised(sharding));
    }
    return at->second;
  }

  const Search *ask(const Sharding &from, const Sharding &to, int32_t &start, int32_t &end) {
    start = endOf(from);
    end = endOf(to);
    return search(start, end);
  }
};

ReshardGraph::ReshardGraph(std::vector<int64_t> shape, Mesh mesh, StepPrice price)
    : impl(new Impl{
          std::move(shape), std::move(mesh), std::move(price), {}, {}, {}, {}, {}, {}, {}}) {}
ReshardGraph::~ReshardGraph() = default;
ReshardGraph::ReshardGraph(ReshardGraph &&) noexcept = default;
ReshardGraph &ReshardGraph::operator=(ReshardGraph &&) noexcept = default;

double ReshardGraph::seconds(const Sharding &from, const Sharding &to) {
  int32_t start, end;
  const Search *search = impl->ask(from, to, start, end);
  return search ? search->reached[end].seconds : kUnreached;
}

std::optional<ReshardPath> ReshardGraph::path(const Sharding &from, const Sharding &to) {
  int32_t start, end;
  const Search *search = impl->ask(from, to, start, end);
  if (!search)
    return std::nullopt;
  ReshardPath path;
  path.seconds = search->reached[end].seconds;
  for (int32_t state = end; state != start; state = search->reached[state].before) {
    const Search::Reached &reached = search->reached[state];
    path.steps.push_back(impl->arcs[reached.before][reached.arc].step);
  }
  std::reverse(path.steps.begin(), path.steps.end());
  return path;
}

std::optional<ReshardPath> reshardPath(const Sharding &from, const Sharding &to,
                                       const std::vector<int64_t> &shape, const Mesh &mesh,
                                       const StepPrice &price) {
  return ReshardGraph(shape, mesh, price).path(from, to);
}

bool ReshardPath::communicates() const {
  return std::any_of(steps.begin(), steps.end(),
                     [](const Step &step) { return step.kind != StepKind::Slice; });
}

double stepBytes(const Step &step, const Sharding &before, const std::vector<int64_t> &shape,
                 const Mesh &mesh, int64_t elementBytes) {
  auto bytes = [&](const Sharding &sharding) {
    double product = static_cast<double>(elementBytes);
    for (int64_t size : localShape(shape, sharding, mesh))
      product *= static_cast<double>(size);
    return product;
  };
  const double p = static_cast<double>(mesh.size(step.axes)), share = (p - 1) / p;
  switch (step.kind) {
  case StepKind::Slice:
    return 0;
  case StepKind::AllReduce:
    return 2 * share * bytes(before);
  case StepKind::AllGather:
    return share * p * bytes(before);
  case StepKind::ReduceScatter:
    return share * p * bytes(step.after);
  case StepKind::AllToAll: {
    // Each rank holds p pieces: its block with the new dimension cut, and sends all but one.
    Sharding piece = before;
    piece.dims[step.dim] = step.after.dims[step.dim];
    return share * p * bytes(piece);
  }
  }
  return 0;
}

} // namespace tenon::sharding
