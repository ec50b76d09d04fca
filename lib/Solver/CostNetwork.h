// SPDX-License-Identifier: Apache-2.0
// CostNetwork: variables with finite domains and tables of costs over some of them; minimise the
// sum. It knows nothing of shardings.
//
// Variable elimination (Bertele and Brioschi 1972; Dechter 1999, bucket elimination): a variable's
// bucket is all tables that mention it; minimising over it leaves one table over its neighbours.
// Backwards, each variable takes the value that is best given those eliminated after it. The work
// is the sum of the joint tables' entries, so the order is chosen by their size, not by degree.
//
// Example: a - b - c, four values each. Eliminating a joins 16 entries and leaves a table over b;
// eliminating b first would join 64.
#pragma once

#include "TableMemo.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace tenon::solver {

/// An elimination order with what it costs, found without touching a cost.
struct EliminationOrder {
  std::vector<int32_t> variables;
  std::vector<int32_t> neighbours;    ///< At elimination, sorted; those of position i ..
  std::vector<int64_t> neighboursEnd; ///< .. end at neighboursEnd[i].
  double largest = 0;                 ///< Entries of the largest joint table; infinity on overflow.
};

class CostNetwork {
public:
  /// A table over `arity` variables whose last one is fastest.
  struct Table {
    int64_t scope = 0; ///< Into the pool of scopes.
    int32_t arity = 0;
    const double *costs = nullptr;
  };

  int32_t addVariable(int32_t size);
  /// The costs are not copied and must outlive the network. Scopes name each variable once.
  void addTable(const std::vector<int32_t> &scope, const double *costs);
  /// Returns room for the costs of a table, owned by the network.
  double *allocate(int64_t entries);
  /// Adds the slice of another network's table at the values of its variables that have no number
  /// here (local[v] < 0); the others are renamed by `local`.
  void addSlice(const CostNetwork &source, int32_t table, const std::vector<int32_t> &local,
                const std::vector<int32_t> &values);
  /// Sum of two tables of equal entries, replacing the costs of table `table`.
  void accumulate(int32_t table, int64_t entries, const double *costs);

  int32_t variableCount() const { return static_cast<int32_t>(sizes.size()); }
  int32_t tableCount() const { return static_cast<int32_t>(tables.size()); }
  int32_t size(int32_t variable) const { return sizes[variable]; }
  const Table &table(int32_t index) const { return tables[index]; }
  const int32_t *scope(const Table &table) const { return scopes.data() + table.scope; }

  /// Greedy order by the size of the joint table, ties by index. `kept` stays (-1: none).
  EliminationOrder order(int32_t kept = -1) const;
  /// The greedy order if it needs no joint table of more entries; stops as soon as one does.
  std::optional<EliminationOrder> orderWithin(int64_t entries) const;

  /// Eliminates in this order; each joint table has at most order.largest entries. Returns the
  /// minimum.
  double eliminate(const EliminationOrder &order);
  /// The same within `limit` entries: larger buckets are split (mini-buckets) and each part
  /// minimised alone, which makes the result a lower bound. Sets `split` per variable whose bucket
  /// was split.
  double eliminateWithin(const EliminationOrder &order, int64_t limit, std::vector<char> &split);
  /// Values of all eliminated variables, after one of the above; `kept` gets -1.
  std::vector<int32_t> choose() const;
  /// Sum of what is left per value of a variable that was kept.
  std::vector<double> remaining(int32_t kept) const;

private:
  EliminationOrder greedy(double limit, int32_t kept) const;
  double run(const EliminationOrder &order, double limit, std::vector<char> *split);
  void minimise(int32_t variable, const int32_t *bucket, int32_t bucketSize, const int32_t *out,
                int32_t width, double *result);
  void attach(int32_t table);
  void send(int32_t variable, std::vector<int32_t> &bucket, const int32_t *out, int32_t width,
            TableMemo &memo);

  std::vector<int32_t> sizes;
  std::vector<Table> tables;
  std::vector<int32_t> scopes;
  std::vector<std::unique_ptr<double[]>> chunks;
  int64_t chunkUsed = 0, chunkSize = 0;

  // State of an elimination.
  std::vector<int32_t> contents;              ///< Content number per table.
  std::vector<std::vector<int32_t>> touching; ///< Tables per variable, dead ones among them.
  std::vector<char> alive;
  std::vector<int32_t> eliminated; ///< Variables in order ..
  std::vector<int32_t> buckets;    ///< .. their tables ..
  std::vector<int64_t> bucketsEnd; ///< .. up to here.
  double constant = 0;

  // Scratch of minimise().
  struct Cursor {
    const double *costs;
    int64_t own, last;
  };
  std::vector<Cursor> fixed, moving;
  std::vector<int64_t> strides, one;
  std::vector<int32_t> digits, position, key;
  std::vector<double> row, base;
};

} // namespace tenon::solver
