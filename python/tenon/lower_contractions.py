# SPDX-License-Identifier: Apache-2.0
"""Matrix products as einsums and attention as tp.sdpa.

Letters: a, b, c, ... name dimensions in the order in which they come up, k is contracted, n is the free dimension of the
right operand. Broadcast batch dimensions of size 1 are dropped from the operand, so that a letter has one size.
"""

from __future__ import annotations

import math

import torch

from tenon.lowering import Lowering, lowers
from tenon.mlir_text import Type, Value, float_text

FREE = "abcdefghij"


def affine(c: Lowering, node: torch.fx.Node, product: Value, bias, beta, alpha) -> Value:
    """beta * bias + alpha * product."""
    if alpha != 1:
        product = c.binary("mul", product, c.scalar(alpha, product.element))
    if beta == 0:
        return product
    bias = c.operand(bias, product.element)
    if beta != 1:
        bias = c.binary("mul", bias, c.scalar(beta, product.element))
    return c.binary("add", product, bias)


@lowers("aten.linear")
def lower_linear(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x, w = c.get(arguments["input"]), c.get(arguments["weight"])
    letters = FREE[:len(x.shape) - 1]
    if len(w.shape) == 1:
        return c.matmul(f"{letters}k,k->{letters}", x, w)
    y = c.matmul(f"{letters}k,nk->{letters}n", x, w)
    return c.binary("add", y, c.get(arguments["bias"])) if arguments.get("bias") is not None else y


def product(c: Lowering, a: Value, b: Value, shape) -> Value:
    """torch.matmul of two tensors: vectors have no letter for the dimension that they lack."""
    left = [] if len(a.shape) == 1 else list(a.shape[:-2])
    right = [] if len(b.shape) == 1 else list(b.shape[:-2])
    count = max(len(left), len(right))
    left_letters, right_letters, out = "", "", ""
    a_shape, b_shape = [], []
    for i in range(count):
        m = left[i - count + len(left)] if i >= count - len(left) else None
        n = right[i - count + len(right)] if i >= count - len(right) else None
        letter = FREE[i]
        out += letter
        # A dimension of size 1 against a larger one is dropped; two of size 1 stay in both.
        if m is not None and (m != 1 or n in (None, 1)):
            left_letters += letter
            a_shape.append(m)
        if n is not None and (n != 1 or m in (None, 1)):
            right_letters += letter
            b_shape.append(n)
    rows = FREE[count] if len(a.shape) > 1 else ""
    columns = "n" if len(b.shape) > 1 else ""
    a_shape += list(a.shape[-2:]) if rows else [a.shape[-1]]
    b_shape += list(b.shape[-2:]) if columns else [b.shape[-1]]
    a, b = c.reshape(a, a_shape), c.reshape(b, b_shape)
    y = c.matmul(f"{left_letters}{rows}k,{right_letters}k{columns}->{out}{rows}{columns}", a, b)
    return c.reshape(y, shape)


@lowers("aten.matmul", "aten.mm", "aten.bmm", "aten.mv", "aten.dot", "aten.__matmul__")
def lower_matmul(c: Lowering, node: torch.fx.Node) -> Value:
    result = c.result_type(node)
    if not result.element in ("f32", "bf16", "f16"):
        raise c.refuse(node, "products of integers are not supported; convert to float first")
    return product(c, c.get(node.args[0]), c.get(node.args[1]), result.shape)


@lowers("aten.addmm", "aten.baddbmm", "aten.addmv")
def lower_addmm(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    y = product(c, c.get(node.args[1]), c.get(node.args[2]), node.meta["val"].shape)
    return affine(c, node, y, node.args[0], arguments["beta"], arguments["alpha"])


@lowers("aten.einsum")
def lower_einsum(c: Lowering, node: torch.fx.Node) -> Value:
    equation = node.args[0].replace(" ", "")
    operands = node.args[1]
    if "->" not in equation or "." in equation or len(operands) != 2:
        raise c.refuse(node, f"expected two operands and letters only, with a result, found {equation!r}")
    inputs, out = equation.split("->")
    left, right = inputs.split(",")
    for term in (left, right, out):
        if len(set(term)) != len(term):
            raise c.refuse(node, f"a letter stands twice in one term of {equation!r}")
    alone = (set(left) ^ set(right)) - set(out)
    if alone:
        raise c.refuse(node, f"{', '.join(sorted(alone))} in {equation!r} is summed over in one operand only")
    a, b = c.get(operands[0]), c.get(operands[1])
    sizes = {}
    for letter, n in [*zip(left, a.shape), *zip(right, b.shape)]:
        if sizes.setdefault(letter, n) != n:
            raise c.refuse(node, f"{letter} in {equation!r} has sizes {sizes[letter]} and {n}")
    return c.matmul(f"{left},{right}->{out}", a, b)


def heads(c: Lowering, value: Value) -> Value:
    """A query, key or value as [b,h,s,d]: missing dimensions are 1, several leading ones become one."""
    shape = value.shape
    if len(shape) == 4:
        return value
    if len(shape) < 4:
        return c.reshape(value, (1,) * (4 - len(shape)) + shape if len(shape) == 2 else (shape[0], 1) + shape[1:])
    return c.reshape(value, (math.prod(shape[:-3]),) + shape[-3:])


def four_dims(c: Lowering, value: Value, rank: int) -> Value:
    """A mask or bias that broadcasts to [b,h,s,t] (`rank` dimensions in torch), as four dimensions."""
    shape = (1,) * (rank - len(value.shape)) + value.shape
    if rank == 3:
        shape = (shape[0], 1) + shape[1:]
    elif rank == 2:
        shape = (1, 1) + shape
    elif rank > 4:
        if math.prod(shape[:-3]) != 1:
            return c.reshape(value, (math.prod(shape[:-3]),) + shape[-3:])
        shape = (1,) + shape[-3:]
    return c.reshape(value, shape)


def write_sdpa(c: Lowering, q: Value, k: Value, v: Value, mask: Value | None, bias: Value | None, scale: float,
               causal: bool) -> Value:
    result = Type(q.shape[:3] + v.shape[3:], q.element)
    text, types = f"sdpa {q}, {k}, {v}", [q.type, k.type, v.type]
    for word, value in (("mask", mask), ("bias", bias)):
        if value is not None:
            text += f" {word} {value}"
            types.append(value.type)
    text += f" scale = {float_text(scale)} causal = {'true' if causal else 'false'}"
    return c.writer.op(f"{text} : ({', '.join(map(str, types))}) -> {result}", result)


@lowers("aten.scaled_dot_product_attention")
def lower_torch_sdpa(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    if arguments["dropout_p"]:
        raise c.refuse(node, f"dropout_p = {arguments['dropout_p']} is applied in evaluation as well; expected 0")
    q, k, v = (c.get(arguments[name]) for name in ("query", "key", "value"))
    rank = len(q.shape)
    q, k, v = heads(c, q), heads(c, k), heads(c, v)
    batch = max(q.shape[0], k.shape[0], v.shape[0])
    kv = max(k.shape[1], v.shape[1])
    q = c.broadcast(q, (batch,) + q.shape[1:])
    k = c.broadcast(k, (batch, kv) + k.shape[2:])
    v = c.broadcast(v, (batch, kv) + v.shape[2:])
    if arguments["is_causal"] and q.shape[2] != k.shape[2]:
        raise c.refuse(node, f"is_causal needs as many queries as keys, found {q.shape[2]} and {k.shape[2]}; pass a mask instead")
    mask = bias = None
    if arguments["attn_mask"] is not None:
        extra = four_dims(c, c.get(arguments["attn_mask"]), rank)
        if extra.element == "i1":
            mask = extra
        else:
            bias = c.convert(extra, q.element)
    scale = arguments["scale"] if arguments["scale"] is not None else 1 / math.sqrt(q.shape[3])
    return c.reshape(write_sdpa(c, q, k, v, mask, bias, scale, bool(arguments["is_causal"])), node.meta["val"].shape)


@lowers("tenon.attention")
def lower_attention(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    q, k, v = (c.get(arguments[name]) for name in ("query", "key", "value"))
    mask = c.convert(c.get(arguments["mask"]), "i1") if arguments["mask"] is not None else None
    bias = c.convert(c.get(arguments["bias"]), q.element) if arguments["bias"] is not None else None
    return write_sdpa(c, q, k, v, mask, bias, arguments["scale"], arguments["causal"])


@lowers("aten.cumsum")
def lower_cumsum(c: Lowering, node: torch.fx.Node) -> Value:
    """A product with a triangle of ones, in f32: integers are exact up to 2^24."""
    arguments, result = c.arguments(node), c.result_type(node)
    x = c.operand(arguments["self"], "f32" if result.element != "bf16" else "bf16")
    dim = arguments["dim"] % len(x.shape)
    triangle = c.convert(c.tensor_constant(torch.ones(x.shape[dim], x.shape[dim]).tril(), node), x.element)
    letters = FREE[:len(x.shape)]
    summed = c.matmul(f"{letters},n{letters[dim]}->{letters[:dim]}{letters[dim + 1:]}n", x, triangle)
    order = [*range(dim), len(letters) - 1, *range(dim, len(letters) - 1)]
    return c.convert(c.transpose(summed, order), result.element)
