// SPDX-License-Identifier: Apache-2.0
// Resolve: rank-dependent numbers become plain ones.
#include "tenon/runtime/plan/Resolve.h"

#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/Blocks.h"

#include <cassert>
#include <cstddef>

namespace tenon::plan {

std::vector<int64_t> coordinates(const std::vector<MeshAxis> &mesh, int64_t rank) {
  std::vector<int64_t> result(mesh.size());
  for (size_t i = mesh.size(); i-- > 0;) {
    result[i] = rank % mesh[i].size;
    rank /= mesh[i].size;
  }
  assert(rank == 0 && "rank outside the mesh");
  return result;
}

int64_t evaluate(const RankValue &value, const std::vector<MeshAxis> &mesh,
                 const std::vector<int64_t> &coordinates) {
  if (value.kind == RankValue::Kind::Constant)
    return value.base;
  std::vector<int64_t> sizes, mine;
  sizes.reserve(value.axes.size());
  mine.reserve(value.axes.size());
  for (int32_t axis : value.axes) {
    sizes.push_back(mesh[axis].size);
    mine.push_back(coordinates[axis]);
  }
  Block owned = block(value.n, sizes, mine);
  return value.base +
         value.stride * (value.kind == RankValue::Kind::Start ? owned.start : owned.length);
}

Entry resolve(const Plan &plan, const Entry &entry, const std::vector<int64_t> &coordinates) {
  Entry result = entry;
  auto fix = [&](RankValue &value) {
    if (value.kind == RankValue::Kind::Constant)
      return;
    RankValue constant;
    constant.base = evaluate(value, plan.mesh, coordinates);
    value = constant;
  };
  for (Op &op : result.ops) {
    forEachOperand(op.body,
                   [&](Operand &operand, bool, const char *, int) { fix(operand.offset); });
    forEachRankValue(op.body, fix);
  }
  return result;
}

} // namespace tenon::plan
