// SPDX-License-Identifier: Apache-2.0
// MeshSpec: from the text of a mesh ("node:2,tp:4") to axes, and the split of an axis that
// attention asks for.
//
// When p ranks do not divide the g KV heads, the last axis is split into p1 x p2 so that g takes p1
// and the query heads per KV head (r) take p2. p1 = gcd(g, p) where that works, else the pair with
// the smallest largest block (6 query heads, 3 KV heads over 4: 2 x 2). 8 query heads, 2 KV heads
// over 4: tp.0 = 2 (g), tp.1 = 2 (r).
#pragma once

#include "tenon/Dialect/TP/IR/TPDialect.h"

namespace tenon {

/// Parses the text; on failure returns nullopt and says why in `error`.
std::optional<sharding::Mesh> parseMesh(llvm::StringRef text, std::string &error);

/// The split (p1, p2) of an axis of size p for g KV heads with r query heads each; (p, 1) when none
/// is needed.
std::pair<int64_t, int64_t> splitForHeads(int64_t p, int64_t g, int64_t r);

/// Splits the last axis of the mesh where the module's attention ops ask for it. With several head
/// counts the first one that needs a split decides; the others are told by a remark.
sharding::Mesh splitMesh(sharding::Mesh mesh, mlir::ModuleOp module);

} // namespace tenon
