// SPDX-License-Identifier: Apache-2.0
#include "Ownership.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

namespace tenon::sharding::test {

Mesh meshOf(const std::vector<int64_t> &sizes) {
  Mesh mesh;
  for (size_t i = 0; i < sizes.size(); ++i) {
    std::string name(1, static_cast<char>('a' + i));
    mesh.axes.push_back({name, sizes[i], name});
  }
  return mesh;
}

int64_t blockByCounting(int64_t n, const std::vector<int64_t> &sizes) {
  for (int64_t p : sizes) {
    int64_t block = 0;
    while (block * p < n)
      ++block;
    n = block;
  }
  return n;
}

std::vector<int64_t> ownedElements(int64_t n, const std::vector<int64_t> &sizes,
                                   const std::vector<int64_t> &coordinates) {
  std::vector<int64_t> elements;
  for (int64_t i = 0; i < n; ++i)
    elements.push_back(i);
  std::vector<int64_t> levels;
  for (size_t level = 0; level < sizes.size(); ++level) {
    levels.push_back(sizes[level]);
    int64_t block = blockByCounting(n, levels);
    std::vector<int64_t> piece;
    for (size_t i = 0; i < elements.size(); ++i)
      if (static_cast<int64_t>(i) >= coordinates[level] * block &&
          static_cast<int64_t>(i) < (coordinates[level] + 1) * block)
        piece.push_back(elements[i]);
    elements = piece;
  }
  return elements;
}

static void place(size_t axis, Sharding &sharding, const Mesh &mesh, bool partial,
                  std::vector<Sharding> &result) {
  if (axis == mesh.axes.size()) {
    result.push_back(sharding);
    return;
  }
  place(axis + 1, sharding, mesh, partial, result);
  for (AxisList &list : sharding.dims)
    for (size_t at = 0; at <= list.size(); ++at) {
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), static_cast<int>(axis));
      place(axis + 1, sharding, mesh, partial, result);
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
    }
  if (partial) {
    sharding.partial.push_back(static_cast<int>(axis));
    place(axis + 1, sharding, mesh, partial, result);
    sharding.partial.pop_back();
  }
}

std::vector<Sharding> allShardings(int64_t rank, const Mesh &mesh, bool partial) {
  std::vector<Sharding> result;
  Sharding sharding = Sharding::replicated(rank);
  place(0, sharding, mesh, partial, result);
  return result;
}

static int64_t count(const std::vector<int64_t> &shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

/// Advances an index within a shape; false at the end.
static bool next(std::vector<int64_t> &index, const std::vector<int64_t> &shape) {
  for (size_t i = shape.size(); i-- > 0;) {
    if (++index[i] < shape[i])
      return true;
    index[i] = 0;
  }
  return false;
}

static int64_t offset(const std::vector<int64_t> &index, const std::vector<int64_t> &shape) {
  int64_t result = 0;
  for (size_t i = 0; i < shape.size(); ++i)
    result = result * shape[i] + index[i];
  return result;
}

static std::vector<int64_t> pick(const std::vector<int64_t> &values, const AxisList &axes) {
  std::vector<int64_t> result;
  for (int axis : axes)
    result.push_back(values[axis]);
  return result;
}

/// Lists (local offset, global offset) of the elements that a rank owns.
static std::vector<std::pair<int64_t, int64_t>> owned(const std::vector<int64_t> &shape,
                                                      const Sharding &sharding, const Mesh &mesh,
                                                      int64_t rank, std::vector<int64_t> &local) {
  std::vector<int64_t> coordinates = mesh.coordinates(rank), lengths;
  std::vector<std::vector<int64_t>> elements;
  local.clear();
  for (size_t d = 0; d < shape.size(); ++d) {
    elements.push_back(
        ownedElements(shape[d], mesh.sizes(sharding.dims[d]), pick(coordinates, sharding.dims[d])));
    lengths.push_back(static_cast<int64_t>(elements.back().size()));
    local.push_back(blockByCounting(shape[d], mesh.sizes(sharding.dims[d])));
  }
  std::vector<std::pair<int64_t, int64_t>> result;
  if (count(lengths) == 0)
    return result;
  std::vector<int64_t> index(shape.size(), 0), global(shape.size());
  do {
    for (size_t d = 0; d < shape.size(); ++d)
      global[d] = elements[d][index[d]];
    result.push_back({offset(index, local), offset(global, shape)});
  } while (next(index, lengths));
  return result;
}

Ranks::Ranks(const std::vector<int64_t> &shape, const Sharding &sharding, const Mesh &mesh,
             std::mt19937 &random)
    : shape(shape), mesh(mesh) {
  // Summands (or candidates) per element and coordinate along the partial axes.
  const int64_t parts = mesh.size(sharding.partial), total = count(shape);
  std::vector<std::vector<double>> terms(parts, std::vector<double>(total));
  for (int64_t e = 0; e < total; ++e) {
    double sum = 0;
    for (int64_t k = 0; k < parts; ++k) {
      double term = static_cast<double>(random() % 201) - 100;
      terms[k][e] = term;
      sum += term;
    }
    const double value = static_cast<double>(e + 1);
    const int64_t special = static_cast<int64_t>(random() % static_cast<unsigned>(parts));
    if (sharding.reduction == Reduction::Sum)
      terms[special][e] += value - sum;
    else
      for (int64_t k = 0; k < parts; ++k) {
        double slack = k == special ? 0 : static_cast<double>(random() % 10);
        terms[k][e] = sharding.reduction == Reduction::Max ? value - slack : value + slack;
      }
  }
  for (int64_t rank = 0; rank < mesh.size(); ++rank) {
    std::vector<int64_t> coordinates = mesh.coordinates(rank);
    int64_t part = offset(pick(coordinates, sharding.partial), mesh.sizes(sharding.partial));
    Array array;
    auto pairs = owned(shape, sharding, mesh, rank, array.shape);
    array.data.assign(count(array.shape), std::numeric_limits<double>::quiet_NaN());
    for (auto [to, from] : pairs)
      array.data[to] = terms[part][from];
    locals.push_back(std::move(array));
  }
}

std::vector<int64_t> Ranks::group(int64_t rank, const AxisList &axes) const {
  // Ranks that differ on these axes only, row-major in the order given.
  std::vector<int64_t> mine = mesh.coordinates(rank), members;
  std::vector<int64_t> sizes = mesh.sizes(axes), index(axes.size(), 0);
  do {
    std::vector<int64_t> theirs = mine;
    for (size_t i = 0; i < axes.size(); ++i)
      theirs[axes[i]] = index[i];
    int64_t number = 0;
    for (size_t i = 0; i < theirs.size(); ++i)
      number = number * mesh.axes[i].size + theirs[i];
    members.push_back(number);
  } while (next(index, sizes));
  return members;
}

Array apply(const LocalAction &action, const Array &array, int64_t piece, int64_t pieces) {
  using Kind = LocalAction::Kind;
  Array result{array.shape, {}};
  switch (action.kind) {
  case Kind::Reshape:
    return {action.shape, array.data};
  case Kind::Transpose:
    for (size_t i = 0; i < action.permutation.size(); ++i)
      result.shape[i] = array.shape[action.permutation[i]];
    break;
  case Kind::Pad:
  case Kind::Cut:
    result.shape[action.dim] = action.size;
    break;
  case Kind::Select:
    result.shape[action.dim] = array.shape[action.dim] / pieces;
    break;
  case Kind::Collective:
    return array;
  }
  result.data.assign(count(result.shape), 0);
  if (result.data.empty())
    return result;
  std::vector<int64_t> index(result.shape.size(), 0);
  do {
    std::vector<int64_t> from = index;
    if (action.kind == Kind::Transpose)
      for (size_t i = 0; i < index.size(); ++i)
        from[action.permutation[i]] = index[i];
    if (action.kind == Kind::Select)
      from[action.dim] += piece * result.shape[action.dim];
    if (action.kind == Kind::Pad && index[action.dim] >= array.shape[action.dim])
      continue;
    result.data[offset(index, result.shape)] = array.data[offset(from, array.shape)];
  } while (next(index, result.shape));
  return result;
}

void Ranks::collective(const Step &step, Reduction reduction, const LocalAction &action) {
  std::vector<Array> results(locals.size());
  for (int64_t rank = 0; rank < static_cast<int64_t>(locals.size()); ++rank) {
    std::vector<int64_t> members = group(rank, action.axes);
    const int64_t me = std::find(members.begin(), members.end(), rank) - members.begin();
    const int64_t size = static_cast<int64_t>(locals[rank].data.size());
    const int64_t block = size / static_cast<int64_t>(members.size());
    Array &out = results[rank];
    out.shape = action.shape;
    auto reduce = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double value = locals[members[0]].data[i];
        for (size_t m = 1; m < members.size(); ++m) {
          double other = locals[members[m]].data[i];
          // NaN marks padding: it must never be dropped by a comparison.
          value =
              reduction == Reduction::Sum ? value + other
              : std::isnan(value) || std::isnan(other)
                  ? std::numeric_limits<double>::quiet_NaN()
                  : (reduction == Reduction::Max ? std::max(value, other) : std::min(value, other));
        }
        out.data.push_back(value);
      }
    };
    switch (step.kind) {
    case StepKind::AllReduce:
      reduce(0, size);
      break;
    case StepKind::ReduceScatter:
      reduce(me * block, (me + 1) * block);
      break;
    case StepKind::AllGather:
      for (int64_t member : members)
        out.data.insert(out.data.end(), locals[member].data.begin(), locals[member].data.end());
      break;
    case StepKind::AllToAll:
      for (int64_t member : members)
        out.data.insert(out.data.end(), locals[member].data.begin() + me * block,
                        locals[member].data.begin() + (me + 1) * block);
      break;
    case StepKind::Slice:
      break;
    }
  }
  locals = std::move(results);
}

void Ranks::run(const Step &step, const Sharding &before, const std::vector<LocalAction> &actions) {
  for (const LocalAction &action : actions) {
    if (action.kind == LocalAction::Kind::Collective) {
      collective(step, before.reduction, action);
      continue;
    }
    for (int64_t rank = 0; rank < static_cast<int64_t>(locals.size()); ++rank) {
      int64_t piece = offset(pick(mesh.coordinates(rank), action.axes), mesh.sizes(action.axes));
      locals[rank] = apply(action, locals[rank], piece, mesh.size(action.axes));
    }
  }
}

std::string Ranks::differs(const Sharding &sharding) const {
  std::ostringstream why;
  // Per coordinate outside the partial axes, per global element: the reduced value.
  for (int64_t rank = 0; rank < static_cast<int64_t>(locals.size()); ++rank) {
    std::vector<int64_t> local;
    auto pairs = owned(shape, sharding, mesh, rank, local);
    if (locals[rank].shape != local ||
        static_cast<int64_t>(locals[rank].data.size()) != count(local)) {
      why << "rank " << rank << " has a local array of another shape";
      return why.str();
    }
    std::vector<int64_t> members = group(rank, sharding.partial);
    for (auto [at, global] : pairs) {
      double value = locals[members[0]].data[at];
      for (size_t m = 1; m < members.size(); ++m) {
        double other = locals[members[m]].data[at];
        value = sharding.reduction == Reduction::Sum   ? value + other
                : sharding.reduction == Reduction::Max ? std::max(value, other)
                                                       : std::min(value, other);
      }
      if (value != static_cast<double>(global + 1)) {
        why << "rank " << rank << " holds " << value << " for element " << global << ", expected "
            << global + 1;
        return why.str();
      }
    }
  }
  return {};
}

std::vector<std::vector<int64_t>> shapesUpTo(int64_t oneDimension,
                                             const std::vector<int64_t> &sizes) {
  std::vector<std::vector<int64_t>> shapes;
  for (int64_t n = 1; n <= oneDimension; ++n)
    shapes.push_back({n});
  for (int64_t n : sizes)
    for (int64_t m : sizes)
      shapes.push_back({n, m});
  return shapes;
}

} // namespace tenon::sharding::test
