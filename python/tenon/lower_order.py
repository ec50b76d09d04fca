# SPDX-License-Identifier: Apache-2.0
"""Ops that say where the largest or smallest elements are: argmax, argmin, max and min over a dimension, topk.

Each is a maximum and the least position that has it: two reductions, which ranks that hold parts of the dimension finish with two all-reduces
of a number per row, without gathering the rows. Ties go to the lowest position. A row that holds NaN has no such position; it gives the size
of the dimension.
"""

from __future__ import annotations

import torch

from tenon.lower_elementwise import select
from tenon.lowering import Lowering, lowers
from tenon.mlir_text import Type, Value

# Positions are f32, exact up to here.
MOST_POSITIONS = 1 << 24
# Each of the k elements takes a round of its own.
MOST_ROUNDS = 64


class Positions:
    """The positions along one dimension of x that have not been taken yet."""

    def __init__(self, c: Lowering, node: torch.fx.Node, x: Value, dim: int):
        if not x.type.is_float:
            raise c.refuse(node, "an order of integers is not supported; convert to float first")
        if x.shape[dim] > MOST_POSITIONS:
            raise c.refuse(node, f"expected at most {MOST_POSITIONS} elements along the dimension, found {x.shape[dim]}")
        self.c, self.x, self.dim = c, x, dim
        shape = [1] * len(x.shape)
        shape[dim] = x.shape[dim]
        self.left = c.tensor_constant(torch.arange(x.shape[dim], dtype=torch.float32).reshape(shape), node)
        self.none = c.scalar(float(x.shape[dim]), "f32")

    def _compare(self, a: Value, b: Value) -> Value:
        result = Type(tuple(max(m, n) for m, n in zip(a.shape, b.shape)), "i1")
        return self.c.writer.op(f"compare eq {a}, {b} : ({a.type}, {b.type}) -> {result}", result)

    def next(self, kind: str, taken: bool) -> tuple[Value, Value]:
        """The extreme element and its position (f32), both with size 1 along the dimension; with `taken` it is left out from now on."""
        c = self.c
        extreme = c.reduce(kind, self.x, [self.dim], True)
        found = select(c, self._compare(self.x, extreme), self.left, self.none, self.x.shape)
        position = c.reduce("min", found, [self.dim], True)
        if taken:
            hit = self._compare(self.left, position)
            worst = c.scalar(float("-inf") if kind == "max" else float("inf"), self.x.element)
            self.x = select(c, hit, worst, self.x, self.x.shape)
            self.left = select(c, hit, self.none, self.left, self.x.shape)
        return extreme, position


@lowers("aten.argmax", "aten.argmin")
def lower_argmax(c: Lowering, node: torch.fx.Node) -> Value:
    arguments, result = c.arguments(node), c.result_type(node)
    x = c.get(node.args[0])
    if arguments["dim"] is None or not x.shape:
        x, dim = c.reshape(x, (x.type.count,)), 0
    else:
        dim = arguments["dim"] % len(x.shape)
    _, position = Positions(c, node, x, dim).next("max" if "argmax" in str(node.target) else "min", False)
    return c.reshape(c.convert(position, "i64"), result.shape)


@lowers("aten.max.dim", "aten.min.dim")
def lower_extreme_of_dim(c: Lowering, node: torch.fx.Node) -> list[Value]:
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    values, position = Positions(c, node, x, arguments["dim"] % len(x.shape)).next("max" if "max" in str(node.target) else "min", False)
    shape = node.meta["val"][0].shape
    return [c.reshape(values, shape), c.reshape(c.convert(position, "i64"), shape)]


@lowers("aten.topk")
def lower_topk(c: Lowering, node: torch.fx.Node) -> list[Value]:
    """Sorted, whether or not that is asked for."""
    arguments = c.arguments(node)
    x, k = c.get(node.args[0]), arguments["k"]
    if not 1 <= k <= MOST_ROUNDS:
        raise c.refuse(node, f"expected k from 1 to {MOST_ROUNDS}, found {k}")
    dim = arguments["dim"] % len(x.shape)
    positions = Positions(c, node, x, dim)
    rounds = [positions.next("max" if arguments["largest"] else "min", i + 1 < k) for i in range(k)]
    join = lambda parts: parts[0] if k == 1 else c.concat(parts, dim)
    return [join([value for value, _ in rounds]), c.convert(join([position for _, position in rounds]), "i64")]
