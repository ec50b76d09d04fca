// SPDX-License-Identifier: Apache-2.0
// Twins of the sharding library: ownership as lists of elements, and ranks that hold plain local
// arrays. Slow, obvious, and free of the library's block arithmetic.
#pragma once

#include "tenon/Sharding/LocalActions.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tenon::sharding::test {

/// A mesh with axes named a, b, c.. of these sizes.
Mesh meshOf(const std::vector<int64_t> &sizes);

/// Elements of a dimension of n that the coordinates own: the list is cut in pieces, level by
/// level.
std::vector<int64_t> ownedElements(int64_t n, const std::vector<int64_t> &sizes,
                                   const std::vector<int64_t> &coordinates);

/// Block size by counting: the piece that coordinate 0 of every level gets.
int64_t blockByCounting(int64_t n, const std::vector<int64_t> &sizes);

/// Every sharding of a value of this rank: each axis in a dimension list (in any order), in
/// partial, or nowhere.
std::vector<Sharding> allShardings(int64_t rank, const Mesh &mesh, bool partial = true);

/// A dense row-major array.
struct Array {
  std::vector<int64_t> shape;
  std::vector<double> data;
};

/// What all ranks hold of one value.
class Ranks {
public:
  /// Distributes global values 1, 2, 3.. under a sharding. Where the value is partial every rank
  /// holds a random summand (or, for max and min, a candidate); padding is NaN.
  Ranks(const std::vector<int64_t> &shape, const Sharding &sharding, const Mesh &mesh,
        std::mt19937 &random);

  /// Runs the local actions of a step on every rank; collectives exchange data.
  void run(const Step &step, const Sharding &before, const std::vector<LocalAction> &actions);

  /// Returns an empty string when every rank holds the blocks of this sharding: each owned element,
  /// reduced over the partial axes, is the global value, and local shapes are the nested block
  /// sizes.
  std::string differs(const Sharding &sharding) const;

  std::vector<Array> locals;

private:
  void collective(const Step &step, Reduction reduction, const LocalAction &action);
  std::vector<int64_t> group(int64_t rank, const AxisList &axes) const;

  std::vector<int64_t> shape;
  Mesh mesh;
};

/// One action on one rank's array; not for collectives. `piece` is the rank's coordinate for
/// Select.
Array apply(const LocalAction &action, const Array &array, int64_t piece, int64_t pieces);

/// Shapes to try: [1] to [oneDimension], and every pair of `sizes`.
std::vector<std::vector<int64_t>> shapesUpTo(int64_t oneDimension,
                                             const std::vector<int64_t> &sizes);

} // namespace tenon::sharding::test
