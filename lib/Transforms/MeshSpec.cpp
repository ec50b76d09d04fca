// SPDX-License-Identifier: Apache-2.0

#include "MeshSpec.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringExtras.h"

#include <numeric>

using namespace mlir;
using namespace tenon;

std::optional<sharding::Mesh> tenon::parseMesh(StringRef text, std::string &error) {
  sharding::Mesh mesh;
  SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (StringRef part : parts) {
    auto [name, number] = part.split(':');
    int64_t size = 0;
    name = name.trim();
    if (name.empty() || number.trim().getAsInteger(10, size) || size < 1) {
      error = ("expected NAME:SIZE with a size of at least 1, found '" + part + "' in mesh '" +
               text + "'")
                  .str();
      return std::nullopt;
    }
    mesh.axes.push_back({name.str(), size, name.str()});
  }
  if (std::string why = sharding::illegal(mesh); !why.empty()) {
    error = "mesh '" + text.str() + "': " + why;
    return std::nullopt;
  }
  return mesh;
}

std::pair<int64_t, int64_t> tenon::splitForHeads(int64_t p, int64_t g, int64_t r) {
  if (p == 1 || g == 0 || g % p == 0)
    return {p, 1};
  int64_t gcd = std::gcd(g, p);
  if (r == 1) {
    // Every head has its own KV head: g takes both parts, nested; only what divides is worth a
    // part.
    return gcd == 1 ? std::pair{p, int64_t{1}} : std::pair{gcd, p / gcd};
  }
  if (gcd == 1 && p > g)
    return {p, 1}; // r takes the whole axis and K, V are replicated.
  if (gcd > 1 && gcd <= g && p / gcd <= r)
    return {gcd, p / gcd};
  // The pair with the smallest largest block; the whole axis for g where that is best.
  auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  std::pair<int64_t, int64_t> best{p, 1};
  int64_t bestBlock = p <= g ? ceil(g, p) * r : g * r + 1;
  for (int64_t p1 = 2; p1 < p; ++p1)
    if (p % p1 == 0 && p1 <= g && p / p1 <= r)
      if (int64_t block = ceil(g, p1) * ceil(r, p / p1); block < bestBlock) {
        best = {p1, p / p1};
        bestBlock = block;
      }
  return best;
}

sharding::Mesh tenon::splitMesh(sharding::Mesh mesh, ModuleOp module) {
  sharding::MeshAxis axis = mesh.axes.back();
  std::pair<int64_t, int64_t> chosen{axis.size, 1};
  module.walk([&](tp::AttentionOp op) {
    ArrayRef<int64_t> q = cast<RankedTensorType>(op.getQ().getType()).getShape();
    std::pair<int64_t, int64_t> split = splitForHeads(axis.size, q[2], q[3]);
    if (split.second == 1 || split == chosen)
      return;
    if (chosen.second == 1)
      chosen = split;
    else
      remark::missed(op.getLoc(),
                     remark::RemarkOpts::name("HeadSplit").category("tp-assign-shardings"))
          << "heads " << std::to_string(q[2]) << " x " << std::to_string(q[3])
          << " would like the axis split as " << std::to_string(split.first) << " x "
          << std::to_string(split.second) << "; it is already split as "
          << std::to_string(chosen.first) << " x " << std::to_string(chosen.second);
  });
  if (chosen.second == 1)
    return mesh;
  mesh.axes.pop_back();
  mesh.axes.push_back({axis.name + ".0", chosen.first, axis.name});
  mesh.axes.push_back({axis.name + ".1", chosen.second, axis.name});
  return mesh;
}
