// SPDX-License-Identifier: Apache-2.0
// The recipe of each step. Padding goes in major first, cutting minor first: blocks nest.

#include "tenon/Sharding/LocalActions.h"

#include "tenon/runtime/plan/Blocks.h"

#include <numeric>

namespace tenon::sharding {

namespace {

/// Builds a list of actions while it tracks the local shape.
class Recipe {
public:
  explicit Recipe(std::vector<int64_t> shape) : shape(std::move(shape)) {}

  void pad(int dim, int64_t size) {
    if (shape[dim] != size) {
      shape[dim] = size;
      push({LocalAction::Kind::Pad, dim, size, {}, {}, {}});
    }
  }
  void cut(int dim, int64_t size) {
    if (shape[dim] != size) {
      shape[dim] = size;
      push({LocalAction::Kind::Cut, dim, size, {}, {}, {}});
    }
  }
  void select(int dim, int64_t pieces, const AxisList &axes) {
    shape[dim] /= pieces;
    push({LocalAction::Kind::Select, dim, shape[dim], axes, {}, {}});
  }
  void reshape(std::vector<int64_t> to) {
    if (shape != to) {
      shape = std::move(to);
      push({LocalAction::Kind::Reshape, -1, 0, {}, {}, {}});
    }
  }
  void transpose(std::vector<int> permutation) {
    bool identity = true;
    std::vector<int64_t> to(shape.size());
    for (size_t i = 0; i < permutation.size(); ++i) {
      identity &= permutation[i] == static_cast<int>(i);
      to[i] = shape[permutation[i]];
    }
    if (identity)
      return;
    shape = to;
    push({LocalAction::Kind::Transpose, -1, 0, {}, std::move(permutation), {}});
  }
  void collective(const AxisList &axes, std::vector<int64_t> to) {
    shape = std::move(to);
    push({LocalAction::Kind::Collective, -1, 0, axes, {}, {}});
  }

  /// Splits dimension `dim` into [p1, .., pk, block], padding at every level, major first. Returns
  /// the block size.
  int64_t split(int dim, const std::vector<int64_t> &sizes) {
    for (size_t level = 0; level < sizes.size(); ++level) {
      int at = dim + static_cast<int>(level);
      int64_t block = (shape[at] + sizes[level] - 1) / sizes[level];
      pad(at, block * sizes[level]);
      std::vector<int64_t> to = shape;
      to[at] = block;
      to.insert(to.begin() + at, sizes[level]);
      reshape(to);
    }
    return shape[dim + sizes.size()];
  }

  /// Merges [p1, .., pk, block] at `dim` back into one dimension, cutting to the parent's block at
  /// every level, minor first. `blocks` are the sizes to cut to: blocks[0] the whole dimension,
  /// blocks[i] the block after i levels.
  void merge(int dim, const std::vector<int64_t> &sizes, const std::vector<int64_t> &blocks) {
    for (size_t level = sizes.size(); level-- > 0;) {
      int at = dim + static_cast<int>(level);
      std::vector<int64_t> to = shape;
      to[at] *= to[at + 1];
      to.erase(to.begin() + at + 1);
      reshape(to);
      cut(at, blocks[level]);
    }
  }

  /// Moves `count` dimensions from position `from` to position `to` (positions in the shape without
  /// them).
  void move(int from, int count, int to) {
    std::vector<int> order(shape.size());
    std::iota(order.begin(), order.end(), 0);
    std::vector<int> moved(order.begin() + from, order.begin() + from + count);
    order.erase(order.begin() + from, order.begin() + from + count);
    order.insert(order.begin() + to, moved.begin(), moved.end());
    transpose(order);
  }

  std::vector<int64_t> shape;
  std::vector<LocalAction> actions;

private:
  void push(LocalAction action) {
    action.shape = shape;
    actions.push_back(std::move(action));
  }
};

/// Sizes after 0, 1, .., k levels of a dimension whose block before the run is `whole`.
std::vector<int64_t> levels(int64_t whole, const std::vector<int64_t> &sizes) {
  std::vector<int64_t> result{whole};
  for (int64_t size : sizes)
    result.push_back((result.back() + size - 1) / size);
  return result;
}

bool even(int64_t whole, const std::vector<int64_t> &sizes) {
  for (int64_t size : sizes) {
    if (whole % size != 0)
      return false;
    whole /= size;
  }
  return true;
}

} // namespace

std::vector<LocalAction> expand(const Step &step, const Sharding &before,
                                const std::vector<int64_t> &shape, const Mesh &mesh) {
  Recipe recipe(localShape(shape, before, mesh));
  const std::vector<int64_t> sizes = mesh.sizes(step.axes),
                             after = localShape(shape, step.after, mesh);
  const int64_t p = mesh.size(step.axes);
  const int k = static_cast<int>(sizes.size());
  auto withFront = [&](std::vector<int64_t> front, const std::vector<int64_t> &rest) {
    front.insert(front.end(), rest.begin(), rest.end());
    return front;
  };

  switch (step.kind) {
  case StepKind::AllReduce:
    recipe.collective(step.axes, recipe.shape);
    break;
  case StepKind::Slice:
    if (even(recipe.shape[step.dim], sizes)) {
      recipe.select(step.dim, p, step.axes);
      break;
    }
    for (int level = 0; level < k; ++level) {
      int64_t block = (recipe.shape[step.dim] + sizes[level] - 1) / sizes[level];
      recipe.pad(step.dim, block * sizes[level]);
      recipe.select(step.dim, sizes[level], {step.axes[level]});
    }
    break;
  case StepKind::AllGather: {
    std::vector<int64_t> local = recipe.shape;
    recipe.collective(step.axes, withFront({p}, local));
    recipe.reshape(withFront(sizes, local));
    recipe.move(0, k, step.dim);
    recipe.merge(step.dim, sizes, levels(after[step.dim], sizes));
    break;
  }
  case StepKind::ReduceScatter: {
    recipe.split(step.dim, sizes);
    recipe.move(step.dim, k, 0);
    std::vector<int64_t> rest(recipe.shape.begin() + k, recipe.shape.end());
    recipe.reshape(withFront({p}, rest));
    recipe.collective(step.axes, rest);
    break;
  }
  case StepKind::AllToAll: {
    recipe.split(step.dim, sizes);
    recipe.move(step.dim, k, 0);
    std::vector<int64_t> rest(recipe.shape.begin() + k, recipe.shape.end());
    recipe.reshape(withFront({p}, rest));
    recipe.collective(step.axes, recipe.shape);
    recipe.reshape(withFront(sizes, rest));
    recipe.move(0, k, step.fromDim);
    recipe.merge(step.fromDim, sizes, levels(after[step.fromDim], sizes));
    break;
  }
  }
  return recipe.actions;
}

} // namespace tenon::sharding
