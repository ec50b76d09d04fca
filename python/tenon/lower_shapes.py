# SPDX-License-Identifier: Apache-2.0
"""Ops that move elements without computing: views, permutations, slices, concatenation, embedding."""

from __future__ import annotations

import torch

from tenon.lowering import Lowering, lowers
from tenon.mlir_text import Type, Value
from tenon.torch_graph import GETITEM


@lowers("aten.view", "aten._unsafe_view", "aten.reshape", "aten.unsqueeze", "aten.squeeze", "aten.flatten", "aten.unflatten",
        "aten._reshape_alias", "aten.view_as", "aten.reshape_as", "aten.atleast_2d")
def lower_reshape(c: Lowering, node: torch.fx.Node) -> Value:
    if str(node.target) == "aten.view.dtype":
        raise c.refuse(node, "reading bits as another dtype is not supported")
    return c.reshape(c.get(node.args[0]), node.meta["val"].shape)


@lowers("aten.transpose", "aten.swapaxes", "aten.swapdims")
def lower_transpose(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    order = list(range(len(x.shape)))
    a, b = node.args[1] % max(len(order), 1), node.args[2] % max(len(order), 1)
    order[a], order[b] = order[b], order[a]
    return c.transpose(x, order)


@lowers("aten.t", "aten.mT", "aten.adjoint", "aten.matrix_H")
def lower_matrix_transpose(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    order = list(range(len(x.shape)))
    return c.transpose(x, order[:-2] + order[-2:][::-1])


@lowers("aten.numpy_T")
def lower_reversal(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    return c.transpose(x, list(range(len(x.shape)))[::-1])


@lowers("aten.permute")
def lower_permute(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    return c.transpose(x, [p % len(x.shape) for p in node.args[1]])


@lowers("aten.movedim", "aten.moveaxis")
def lower_movedim(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    listed = lambda v: [d % len(x.shape) for d in (v if isinstance(v, (list, tuple)) else [v])]
    source, target = listed(node.args[1]), listed(node.args[2])
    rest = iter(d for d in range(len(x.shape)) if d not in source)
    return c.transpose(x, [source[target.index(i)] if i in target else next(rest) for i in range(len(x.shape))])


@lowers("aten.expand", "aten.expand_as", "aten.broadcast_to")
def lower_expand(c: Lowering, node: torch.fx.Node) -> Value:
    return c.broadcast(c.get(node.args[0]), node.meta["val"].shape)


@lowers("aten.repeat")
def lower_repeat(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    repeats = list(node.args[1])
    shape = [1] * (len(repeats) - len(x.shape)) + list(x.shape)
    split = [n for size in shape for n in (1, size)]
    wide = [n for size, times in zip(shape, repeats) for n in (times, size)]
    return c.reshape(c.broadcast(c.reshape(x, split), wide), node.meta["val"].shape)


@lowers("aten.repeat_interleave.self_int")
def lower_repeat_interleave(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    if arguments.get("dim") is None:
        x = c.reshape(x, [x.type.count])
    dim = (arguments.get("dim") or 0) % len(x.shape)
    narrow = list(x.shape[:dim + 1]) + [1] + list(x.shape[dim + 1:])
    wide = list(narrow)
    wide[dim + 1] = arguments["repeats"]
    return c.reshape(c.broadcast(c.reshape(x, narrow), wide), node.meta["val"].shape)


def box(c: Lowering, x: Value, dim: int, start: int, size: int, step: int = 1) -> Value:
    offsets, sizes, strides = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    offsets[dim], sizes[dim], strides[dim] = start, size, step
    return c.slice(x, offsets, sizes, strides)


@lowers("aten.slice")
def lower_slice(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    dim = arguments["dim"] % len(x.shape)
    n = x.shape[dim]
    start = arguments["start"] or 0
    start = max(0, min(n, start + n if start < 0 else start))
    return box(c, x, dim, start, node.meta["val"].shape[dim], arguments["step"])


@lowers("aten.narrow")
def lower_narrow(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    dim = node.args[1] % len(x.shape)
    return box(c, x, dim, node.args[2] % max(x.shape[dim], 1), node.args[3])


@lowers("aten.select")
def lower_select(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    dim = node.args[1] % len(x.shape)
    return c.reshape(box(c, x, dim, node.args[2] % x.shape[dim], 1), node.meta["val"].shape)


@lowers("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split", "aten.unsafe_split", "aten.unsafe_chunk")
def lower_split(c: Lowering, node: torch.fx.Node) -> list[Value]:
    x = c.get(node.args[0])
    dim = c.arguments(node)["dim"] % len(x.shape)
    parts, start = [], 0
    for fake in node.meta["val"]:
        parts.append((start, fake.shape[dim]))
        start += fake.shape[dim]
    used = {u.args[1] for u in node.users if u.target is GETITEM}
    return [box(c, x, dim, start, size) if i in used else None for i, (start, size) in enumerate(parts)]


@lowers("aten.unbind")
def lower_unbind(c: Lowering, node: torch.fx.Node) -> list[Value]:
    x = c.get(node.args[0])
    dim = c.arguments(node)["dim"] % len(x.shape)
    used = {u.args[1] for u in node.users if u.target is GETITEM}
    return [c.reshape(box(c, x, dim, i, 1), fake.shape) if i in used else None for i, fake in enumerate(node.meta["val"])]


@lowers("getitem")
def lower_getitem(c: Lowering, node: torch.fx.Node) -> Value:
    results = c.results(node.args[0])
    if node.args[1] >= len(results) or results[node.args[1]] is None:
        raise c.refuse(node.args[0], f"its result {node.args[1]} is not supported")
    return results[node.args[1]]


@lowers("aten.cat", "aten.concat", "aten.concatenate")
def lower_concat(c: Lowering, node: torch.fx.Node) -> Value:
    element = c.result_type(node).element
    # torch lets an empty 1-D tensor pass in any concatenation.
    values = [c.operand(n, element) for n in node.args[0] if tuple(n.meta["val"].shape) != (0,)]
    return values[0] if len(values) == 1 else c.concat(values, c.arguments(node)["dim"] % len(values[0].shape))


@lowers("aten.stack")
def lower_stack(c: Lowering, node: torch.fx.Node) -> Value:
    result = c.result_type(node)
    dim = c.arguments(node)["dim"] % len(result.shape)
    values = [c.operand(n, result.element) for n in node.args[0]]
    shape = list(values[0].shape)
    return c.concat([c.reshape(v, shape[:dim] + [1] + shape[dim:]) for v in values], dim)


@lowers("aten.embedding")
def lower_embedding(c: Lowering, node: torch.fx.Node) -> Value:
    # padding_idx (argument 2) matters in training only.
    table, ids = c.get(node.args[0]), c.get(node.args[1])
    result = Type(ids.shape + table.shape[1:], table.element)
    return c.writer.op(f"embedding {ids}, {table} : ({ids.type}, {table.type}) -> {result}", result)


@lowers("aten.index_select")
def lower_index_select(c: Lowering, node: torch.fx.Node) -> Value:
    x, dim, ids = c.get(node.args[0]), node.args[1], c.get(node.args[2])
    if dim % len(x.shape) != 0:
        raise c.refuse(node, "only rows (dimension 0) can be selected by index")
    result = Type(ids.shape + x.shape[1:], x.element)
    return c.writer.op(f"embedding {ids}, {x} : ({ids.type}, {x.type}) -> {result}", result)


@lowers("aten.gather")
def lower_gather(c: Lowering, node: torch.fx.Node) -> Value:
    """Only from a constant whose rows are all equal along every other dimension: a lookup in one vector."""
    arguments = c.arguments(node)
    source, dim = arguments["self"], arguments["dim"]
    data = c.graph.constants.get(source)
    if data is None:
        raise c.refuse(node, "gather is supported from constants only")
    rows = data.movedim(dim, -1).reshape(-1, data.shape[dim])
    if not bool((rows == rows[0]).all()):
        raise c.refuse(node, "gather is supported from constants that vary along one dimension only")
    ids, table = c.get(arguments["index"]), c.tensor_constant(rows[0].contiguous(), node)
    result = Type(ids.shape, table.element)
    return c.writer.op(f"embedding {ids}, {table} : ({ids.type}, {table.type}) -> {result}", result)
