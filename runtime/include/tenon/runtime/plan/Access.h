// SPDX-License-Identifier: Apache-2.0
// Access: what each op reads and writes, and the name it goes by. The scheduler (which events are
// needed), the verifier (are they there) and the executor all ask here, so an op's accesses are
// declared once.
#pragma once

#include "tenon/runtime/plan/Plan.h"

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace tenon::plan {

/// One operand of an op and how it is used. `role` names the operand's field, e.g. "bias", and
/// `index` tells the inputs of an elementwise op apart (0 elsewhere). Points into the op.
struct Access {
  const Operand *operand = nullptr;
  bool write = false;
  const char *role = "";
  int index = 0;
};

/// Returns every operand of the op, reads before writes, in the order of the struct's fields.
/// Records and waits have none.
std::vector<Access> accesses(const Op &op);

/// Returns the op's name in plans, reports and messages: "matmul", "all_reduce", "record", ...
const char *opName(const Op &op);

/// Smallest and largest element of the buffer that an operand touches. `empty` when a size is 0:
/// then it touches nothing, and `first` and `last` mean nothing.
struct Span {
  int64_t first = 0;
  int64_t last = 0;
  bool empty = false;
};

/// Returns the span of a resolved operand (constant offset): offset 4, sizes [2,3], strides [8,1]
/// touches 4..14. Needs numbers that do not overflow, which `verify` has checked.
Span span(const Operand &operand);

/// Number of elements of the region: the product of the sizes.
int64_t elements(const Operand &operand);

/// True when the region is dense and row-major: strides of dimensions larger than 1 are the
/// products of the sizes behind them. Empty regions are contiguous.
bool isContiguous(const Operand &operand);

/// Calls `visit(operand, write, role, index)` for each operand of the op, reads first. `Body` may
/// be a const or a mutable OpBody.
template <typename Body, typename Visit> void forEachOperand(Body &body, Visit &&visit);

/// Calls `visit(value)` for each RankValue of the body outside its operands' offsets.
template <typename Body, typename Visit> void forEachRankValue(Body &body, Visit &&visit);

//===--------------------------------------------------------------------------------------------===//
// Below: the declaration of every op's operands.

namespace detail {
template <typename List, typename Visit>
void visitList(List &list, bool write, const char *role, Visit &visit) {
  int index = 0;
  for (auto &operand : list)
    visit(operand, write, role, index++);
}
} // namespace detail

template <typename Body, typename Visit> void forEachOperand(Body &body, Visit &&visit) {
  std::visit(
      [&visit](auto &op) {
        using T = std::remove_const_t<std::remove_reference_t<decltype(op)>>;
        using detail::visitList;
        if constexpr (std::is_same_v<T, MatMul>) {
          visit(op.a, false, "a", 0);
          visit(op.b, false, "b", 0);
          visitList(op.bias, false, "bias", visit);
          visitList(op.residual, false, "residual", visit);
          visit(op.c, true, "c", 0);
        } else if constexpr (std::is_same_v<T, Attention>) {
          visit(op.q, false, "q", 0);
          visit(op.k, false, "k", 0);
          visit(op.v, false, "v", 0);
          visitList(op.mask, false, "mask", visit);
          visitList(op.bias, false, "bias", visit);
          visit(op.out, true, "out", 0);
        } else if constexpr (std::is_same_v<T, GatherRows>) {
          visit(op.ids, false, "ids", 0);
          visit(op.table, false, "table", 0);
          visit(op.out, true, "out", 0);
        } else if constexpr (std::is_same_v<T, Norm>) {
          visit(op.x, false, "x", 0);
          visitList(op.scale, false, "scale", visit);
          visitList(op.bias, false, "bias", visit);
          visitList(op.residual, false, "residual", visit);
          visit(op.out, true, "out", 0);
          visitList(op.sum, true, "sum", visit);
        } else if constexpr (std::is_same_v<T, Rope>) {
          visit(op.x, false, "x", 0);
          visit(op.positions, false, "positions", 0);
          visit(op.cos, false, "cos", 0);
          visit(op.sin, false, "sin", 0);
          visit(op.out, true, "out", 0);
        } else if constexpr (std::is_same_v<T, Elementwise>) {
          visitList(op.inputs, false, "input", visit);
          visit(op.out, true, "out", 0);
        } else if constexpr (std::is_same_v<T, Fill>) {
          visit(op.out, true, "out", 0);
        } else if constexpr (std::is_same_v<T, Record> || std::is_same_v<T, Wait>) {
        } else {
          static_assert(std::is_same_v<T, Take> || std::is_same_v<T, Reduce> ||
                        std::is_same_v<T, Softmax> || std::is_same_v<T, Copy> ||
                        std::is_same_v<T, Collective>);
          visit(op.x, false, "x", 0);
          visit(op.out, true, "out", 0);
        }
      },
      body);
}

template <typename Body, typename Visit> void forEachRankValue(Body &body, Visit &&visit) {
  std::visit(
      [&visit](auto &op) {
        using T = std::remove_const_t<std::remove_reference_t<decltype(op)>>;
        if constexpr (std::is_same_v<T, Attention>) {
          visit(op.position);
        } else if constexpr (std::is_same_v<T, GatherRows> || std::is_same_v<T, Take>) {
          visit(op.base);
          visit(op.rows);
        } else if constexpr (std::is_same_v<T, Fill>) {
          visit(op.from);
        }
      },
      body);
}

} // namespace tenon::plan
