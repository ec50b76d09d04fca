// SPDX-License-Identifier: Apache-2.0
// Elimination, within a limit or without, and its way back. The order comes from
// EliminationOrder.cpp.

#include "CostNetwork.h"

#include <algorithm>
#include <limits>

namespace tenon::solver {

int32_t CostNetwork::addVariable(int32_t size) {
  sizes.push_back(size);
  return static_cast<int32_t>(sizes.size()) - 1;
}

void CostNetwork::addTable(const std::vector<int32_t> &scope, const double *costs) {
  tables.push_back(
      {static_cast<int64_t>(scopes.size()), static_cast<int32_t>(scope.size()), costs});
  scopes.insert(scopes.end(), scope.begin(), scope.end());
}

double *CostNetwork::allocate(int64_t entries) {
  if (chunkUsed + entries > chunkSize) {
    chunkSize = std::max<int64_t>(entries, 1 << 15);
    chunks.emplace_back(new double[static_cast<size_t>(chunkSize)]);
    chunkUsed = 0;
  }
  double *result = chunks.back().get() + chunkUsed;
  chunkUsed += entries;
  return result;
}

void CostNetwork::addSlice(const CostNetwork &source, int32_t index,
                           const std::vector<int32_t> &local, const std::vector<int32_t> &values) {
  const Table &table = source.table(index);
  const int32_t *scope = source.scope(table);
  std::vector<int32_t> free;
  std::vector<int64_t> strides;
  int64_t offset = 0, stride = 1, entries = 1;
  for (int32_t i = table.arity; i-- > 0; stride *= source.size(scope[i])) {
    if (local[scope[i]] < 0) {
      offset += stride * values[scope[i]];
      continue;
    }
    free.insert(free.begin(), scope[i]);
    strides.insert(strides.begin(), stride);
    entries *= source.size(scope[i]);
  }
  double *costs = allocate(entries);
  std::vector<int32_t> digits(free.size(), 0), renamed;
  for (int64_t e = 0; e < entries; ++e) {
    costs[e] = table.costs[offset];
    for (size_t i = free.size(); i-- > 0;) {
      offset += strides[i];
      if (++digits[i] < source.size(free[i]))
        break;
      offset -= strides[i] * digits[i];
      digits[i] = 0;
    }
  }
  for (int32_t v : free)
    renamed.push_back(local[v]);
  addTable(renamed, costs);
}

void CostNetwork::accumulate(int32_t table, int64_t entries, const double *costs) {
  double *sum = allocate(entries);
  for (int64_t i = 0; i < entries; ++i)
    sum[i] = tables[table].costs[i] + costs[i];
  tables[table].costs = sum;
}

/// Sums the tables of a bucket and minimises over its variable. `out` is sorted and holds every
/// other variable of the bucket. The row of the last output variable is the unit of work: tables
/// that do not mention it are summed once per row.
void CostNetwork::minimise(int32_t variable, const int32_t *bucket, int32_t bucketSize,
                           const int32_t *out, int32_t width, double *result) {
  const int64_t own = sizes[variable];
  const int64_t n = width > 0 ? sizes[out[width - 1]] : 1;
  const int32_t outer = std::max(0, width - 1);
  for (int32_t i = 0; i < width; ++i)
    position[out[i]] = i;

  // Strides of the outer variables, per table; tables that move along the last variable after those
  // that do not.
  fixed.clear();
  moving.clear();
  strides.assign(static_cast<size_t>(outer) * bucketSize, 0);
  auto cursorOf = [&](int32_t index, int64_t *outerStrides, int64_t &ownStride,
                      int64_t &lastStride) {
    const Table &table = tables[index];
    const int32_t *vars = scope(table);
    int64_t stride = 1;
    for (int32_t i = table.arity; i-- > 0; stride *= sizes[vars[i]]) {
      if (vars[i] == variable)
        ownStride = stride;
      else if (position[vars[i]] < outer)
        outerStrides[position[vars[i]]] = stride;
      else
        lastStride = stride;
    }
  };
  // Fixed tables take their strides from the front, moving ones from the back.
  int32_t front = 0, back = bucketSize;
  one.resize(outer);
  for (int32_t b = 0; b < bucketSize; ++b) {
    int64_t ownStride = 0, lastStride = 0;
    std::fill(one.begin(), one.end(), 0);
    cursorOf(bucket[b], one.data(), ownStride, lastStride);
    const bool moves = width > 0 && lastStride != 0;
    (moves ? moving : fixed).push_back({tables[bucket[b]].costs, ownStride, lastStride});
    std::copy(one.begin(), one.end(),
              strides.begin() + static_cast<int64_t>(moves ? --back : front++) * outer);
  }
  auto fixedStrides = [&](size_t t) { return strides.data() + static_cast<int64_t>(t) * outer; };
  auto movingStrides = [&](size_t t) {
    return strides.data() + (bucketSize - 1 - static_cast<int64_t>(t)) * outer;
  };

  digits.assign(outer, 0);
  row.resize(static_cast<size_t>(own * n));
  base.resize(static_cast<size_t>(own));
  for (;;) {
    std::fill(base.begin(), base.end(), 0.0);
    for (const Cursor &cursor : fixed)
      for (int64_t s = 0; s < own; ++s)
        base[s] += cursor.costs[s * cursor.own];
    if (moving.empty()) {
      const double least = *std::min_element(base.begin(), base.end());
      for (int64_t j = 0; j < n; ++j)
        *result++ = least;
    } else {
      const Cursor &first = moving.front();
      for (int64_t j = 0; j < n; ++j)
        for (int64_t s = 0; s < own; ++s)
          row[j * own + s] = base[s] + first.costs[j * first.last + s * first.own];
      for (size_t t = 1; t < moving.size(); ++t) {
        const Cursor &cursor = moving[t];
        for (int64_t j = 0; j < n; ++j)
          for (int64_t s = 0; s < own; ++s)
            row[j * own + s] += cursor.costs[j * cursor.last + s * cursor.own];
      }
      for (int64_t j = 0; j < n; ++j) {
        double least = row[j * own];
        for (int64_t s = 1; s < own; ++s)
          least = std::min(least, row[j * own + s]);
        *result++ = least;
      }
    }
    int32_t i = outer;
    while (i > 0) {
      --i;
      const int64_t step = digits[i] + 1 < sizes[out[i]] ? 1 : -digits[i];
      for (size_t t = 0; t < fixed.size(); ++t)
        fixed[t].costs += step * fixedStrides(t)[i];
      for (size_t t = 0; t < moving.size(); ++t)
        moving[t].costs += step * movingStrides(t)[i];
      digits[i] += static_cast<int32_t>(step);
      if (step == 1)
        break;
      if (i == 0)
        return;
    }
    if (outer == 0)
      return;
  }
}

void CostNetwork::attach(int32_t index) {
  const Table &table = tables[index];
  for (int32_t i = 0; i < table.arity; ++i)
    touching[scope(table)[i]].push_back(index);
}

/// Minimises a bucket and hands the table on, or takes over the table of an equal bucket. The
/// bucket is sorted by content, so that equal buckets also add up in the same order.
void CostNetwork::send(int32_t variable, std::vector<int32_t> &bucket, const int32_t *out,
                       int32_t width, TableMemo &memo) {
  for (int32_t i = 0; i < width; ++i)
    position[out[i]] = i;
  position[variable] = -1;
  std::sort(bucket.begin(), bucket.end(), [&](int32_t a, int32_t b) {
    if (contents[a] != contents[b])
      return contents[a] < contents[b];
    const int32_t *x = scope(tables[a]), *y = scope(tables[b]);
    return std::lexicographical_compare(
        x, x + tables[a].arity, y, y + tables[b].arity,
        [&](int32_t v, int32_t w) { return position[v] < position[w]; });
  });
  key.assign({sizes[variable], width});
  for (int32_t i = 0; i < width; ++i)
    key.push_back(sizes[out[i]]);
  for (int32_t t : bucket) {
    key.push_back(contents[t]);
    for (int32_t i = 0; i < tables[t].arity; ++i)
      key.push_back(position[scope(tables[t])[i]]);
  }
  TableMemo::Result result = memo.find(key);
  if (!result.costs) {
    int64_t entries = 1;
    for (int32_t i = 0; i < width; ++i)
      entries *= sizes[out[i]];
    double *costs = allocate(entries);
    minimise(variable, bucket.data(), static_cast<int32_t>(bucket.size()), out, width, costs);
    result = {memo.remember(key, costs), costs};
  }
  if (width == 0) {
    constant += result.costs[0];
    return;
  }
  tables.push_back({static_cast<int64_t>(scopes.size()), width, result.costs});
  scopes.insert(scopes.end(), out, out + width);
  alive.push_back(1);
  contents.push_back(result.id);
  attach(tableCount() - 1);
}

double CostNetwork::run(const EliminationOrder &order, double limit, std::vector<char> *split) {
  touching.assign(sizes.size(), {});
  alive.assign(tables.size(), 1);
  position.assign(sizes.size(), 0);
  eliminated.clear();
  buckets.clear();
  bucketsEnd.clear();
  constant = 0;
  TableMemo memo;
  contents.clear();
  std::vector<int32_t> dimensions;
  for (int32_t t = 0; t < tableCount(); ++t) {
    attach(t);
    dimensions.clear();
    int64_t entries = 1;
    for (int32_t i = 0; i < tables[t].arity; ++i) {
      dimensions.push_back(sizes[scope(tables[t])[i]]);
      entries *= dimensions.back();
    }
    contents.push_back(memo.number(dimensions, tables[t].costs, entries));
  }

  struct Part {
    std::vector<int32_t> tables, scope;
    double entries;
  };
  std::vector<Part> parts;
  std::vector<int32_t> scratch;
  auto entriesOf = [&](int32_t variable, const int32_t *begin, const int32_t *end) {
    double product = sizes[variable];
    for (const int32_t *it = begin; it != end; ++it)
      product *= sizes[*it];
    return product;
  };
  std::vector<int32_t> bucket;
  for (size_t at = 0; at < order.variables.size(); ++at) {
    const int32_t variable = order.variables[at];
    bucket.clear();
    for (int32_t t : touching[variable])
      if (alive[t]) {
        alive[t] = 0;
        bucket.push_back(t);
      }
    eliminated.push_back(variable);
    buckets.insert(buckets.end(), bucket.begin(), bucket.end());
    bucketsEnd.push_back(static_cast<int64_t>(buckets.size()));
    const int32_t *out = order.neighbours.data() + (at == 0 ? 0 : order.neighboursEnd[at - 1]);
    const int32_t *outEnd = order.neighbours.data() + order.neighboursEnd[at];
    if (!split || entriesOf(variable, out, outEnd) <= limit) {
      // After splits, tables may be narrower than the order foresaw: take the scope that is there.
      if (split) {
        scratch.clear();
        for (int32_t t : bucket)
          for (int32_t i = 0; i < tables[t].arity; ++i)
            if (int32_t v = scope(tables[t])[i]; v != variable)
              scratch.push_back(v);
        std::sort(scratch.begin(), scratch.end());
        scratch.erase(std::unique(scratch.begin(), scratch.end()), scratch.end());
        out = scratch.data();
        outEnd = out + scratch.size();
      }
      send(variable, bucket, out, static_cast<int32_t>(outEnd - out), memo);
      continue;
    }
    // First fit, widest tables first.
    std::stable_sort(bucket.begin(), bucket.end(),
                     [&](int32_t a, int32_t b) { return tables[a].arity > tables[b].arity; });
    parts.clear();
    for (int32_t t : bucket) {
      std::vector<int32_t> own;
      for (int32_t i = 0; i < tables[t].arity; ++i)
        if (int32_t v = scope(tables[t])[i]; v != variable)
          own.push_back(v);
      std::sort(own.begin(), own.end());
      bool placed = false;
      for (Part &part : parts) {
        scratch.clear();
        std::set_union(part.scope.begin(), part.scope.end(), own.begin(), own.end(),
                       std::back_inserter(scratch));
        if (entriesOf(variable, scratch.data(), scratch.data() + scratch.size()) <= limit) {
          part.tables.push_back(t);
          part.scope = scratch;
          placed = true;
          break;
        }
      }
      if (!placed)
        parts.push_back({{t}, own, 0});
    }
    if (parts.size() > 1)
      (*split)[variable] = 1;
    for (Part &part : parts)
      send(variable, part.tables, part.scope.data(), static_cast<int32_t>(part.scope.size()), memo);
  }
  return constant;
}

double CostNetwork::eliminate(const EliminationOrder &order) {
  return run(order, std::numeric_limits<double>::infinity(), nullptr);
}

double CostNetwork::eliminateWithin(const EliminationOrder &order, int64_t limit,
                                    std::vector<char> &split) {
  split.assign(sizes.size(), 0);
  return run(order, static_cast<double>(limit), &split);
}

std::vector<int32_t> CostNetwork::choose() const {
  std::vector<int32_t> choice(sizes.size(), -1);
  std::vector<double> sums;
  for (size_t at = eliminated.size(); at-- > 0;) {
    const int32_t variable = eliminated[at];
    sums.assign(sizes[variable], 0.0);
    for (int64_t b = at == 0 ? 0 : bucketsEnd[at - 1]; b < bucketsEnd[at]; ++b) {
      const Table &table = tables[buckets[b]];
      int64_t index = 0, own = 0, stride = 1;
      for (int32_t i = table.arity; i-- > 0;) {
        const int32_t v = scope(table)[i];
        if (v == variable)
          own = stride;
        else
          index += stride * std::max(0, choice[v]);
        stride *= sizes[v];
      }
      for (int32_t s = 0; s < sizes[variable]; ++s)
        sums[s] += table.costs[index + s * own];
    }
    choice[variable] =
        static_cast<int32_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
  }
  return choice;
}

std::vector<double> CostNetwork::remaining(int32_t kept) const {
  std::vector<double> costs(sizes[kept], constant);
  for (int32_t t : touching[kept])
    if (alive[t])
      for (int32_t s = 0; s < sizes[kept]; ++s)
        costs[s] += tables[t].costs[s];
  return costs;
}

} // namespace tenon::solver
