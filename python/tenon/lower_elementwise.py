# SPDX-License-Identifier: Apache-2.0
"""Pointwise ops, type conversion, reductions, softmax and norms, as PyTorch defines them.

Operands of different dtypes are converted to the dtype in which torch computes before the op.
"""

from __future__ import annotations

import math

import torch

from tenon.lowering import Lowering, element_of, lowers
from tenon.mlir_text import Type, Value, float_text

UNARY = {
    "aten.neg": "neg", "aten.exp": "exp", "aten.log": "log", "aten.tanh": "tanh", "aten.sigmoid": "sigmoid", "aten.relu": "relu",
    "aten.silu": "silu", "aten.sqrt": "sqrt", "aten.rsqrt": "rsqrt", "aten.sin": "sin", "aten.cos": "cos", "aten.abs": "abs",
    "aten.erf": "erf",
}
COMPARE = {"aten.eq": "eq", "aten.ne": "ne", "aten.lt": "lt", "aten.le": "le", "aten.gt": "gt", "aten.ge": "ge"}


@lowers(*UNARY)
def lower_unary(c: Lowering, node: torch.fx.Node) -> Value:
    kind = UNARY[str(node.target).rpartition(".")[0]]
    return c.unary(kind, c.operand(node.args[0], c.result_type(node).element))


@lowers("aten.gelu")
def lower_gelu(c: Lowering, node: torch.fx.Node) -> Value:
    kind = {"none": "gelu", "tanh": "gelu_tanh"}[c.arguments(node)["approximate"]]
    return c.unary(kind, c.get(node.args[0]))


@lowers("aten.logical_not", "aten.bitwise_not")
def lower_not(c: Lowering, node: torch.fx.Node) -> Value:
    if str(node.target).startswith("aten.bitwise") and c.dtype(node.args[0]) != torch.bool:
        raise c.refuse(node, "bitwise ops on integers are not supported, expected bool")
    return c.unary("not", c.operand(node.args[0], "i1"))


@lowers("aten.reciprocal")
def lower_reciprocal(c: Lowering, node: torch.fx.Node) -> Value:
    element = c.result_type(node).element
    return c.binary("div", c.scalar(1.0, element), c.operand(node.args[0], element))


@lowers("aten.square")
def lower_square(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    return c.binary("mul", x, x)


@lowers("aten.hardtanh", "aten.relu6", "aten.clamp", "aten.clamp_min", "aten.clamp_max")
def lower_clamp(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    element = c.result_type(node).element
    x = c.operand(node.args[0], element)
    low, high = arguments.get("min", arguments.get("min_val")), arguments.get("max", arguments.get("max_val"))
    if str(node.target).startswith("aten.relu6"):
        low, high = 0, 6
    if low is not None:
        x = c.binary("max", x, c.operand(low, element))
    return x if high is None else c.binary("min", x, c.operand(high, element))


@lowers("aten.leaky_relu")
def lower_leaky_relu(c: Lowering, node: torch.fx.Node) -> Value:
    x = c.get(node.args[0])
    slope = c.arguments(node)["negative_slope"]
    if not 0 <= slope <= 1:
        raise c.refuse(node, f"expected a slope between 0 and 1, found {slope}")
    return c.binary("max", x, c.binary("mul", x, c.scalar(slope, x.element)))


@lowers("aten.add", "aten.sub", "aten.rsub")
def lower_add(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    result = c.result_type(node)
    if result.element == "i1":
        raise c.refuse(node, "arithmetic on bool is not supported, expected logical_or or a cast")
    a, b = c.operand(arguments["self"], result.element), c.operand(arguments["other"], result.element)
    if arguments.get("alpha", 1) != 1:
        b = c.binary("mul", b, c.scalar(arguments["alpha"], result.element))
    name = str(node.target)
    if name.startswith("aten.rsub"):
        a, b = b, a
    return c.binary("add" if name.startswith("aten.add") else "sub", a, b)


@lowers("aten.mul")
def lower_mul(c: Lowering, node: torch.fx.Node) -> Value:
    element = c.result_type(node).element
    return c.binary("and" if element == "i1" else "mul", c.operand(node.args[0], element), c.operand(node.args[1], element))


@lowers("aten.div", "aten.true_divide")
def lower_div(c: Lowering, node: torch.fx.Node) -> Value:
    if c.arguments(node).get("rounding_mode"):
        raise c.refuse(node, "division with rounding is not supported")
    element = c.result_type(node).element
    return c.binary("div", c.operand(node.args[0], element), c.operand(node.args[1], element))


@lowers("aten.maximum", "aten.minimum", "aten.max.other", "aten.min.other")
def lower_extremum(c: Lowering, node: torch.fx.Node) -> Value:
    element = c.result_type(node).element
    kind = "max" if "max" in str(node.target) else "min"
    return c.binary(kind, c.operand(node.args[0], element), c.operand(node.args[1], element))


@lowers("aten.pow")
def lower_pow(c: Lowering, node: torch.fx.Node) -> Value:
    element = c.result_type(node).element
    base, exponent = node.args
    if isinstance(exponent, (int, float)):
        x = c.operand(base, element)
        if exponent == 2:
            return c.binary("mul", x, x)
        if exponent == 1:
            return x
        if exponent == 0.5:
            return c.unary("sqrt", x)
        if exponent == -0.5:
            return c.unary("rsqrt", x)
    if element in ("i1", "i32", "i64"):
        raise c.refuse(node, "powers of integers are not supported")
    return c.binary("pow", c.operand(base, element), c.operand(exponent, element))


@lowers(*COMPARE)
def lower_compare(c: Lowering, node: torch.fx.Node) -> Value:
    kind = COMPARE[str(node.target).rpartition(".")[0]]
    operands = [n.meta["val"] if isinstance(n, torch.fx.Node) else n for n in node.args[:2]]
    element = element_of(torch.result_type(*operands), str(node.target))
    a, b = (c.operand(n, element) for n in node.args[:2])
    result = Type(c.result_type(node).shape, "i1")
    return c.writer.op(f"compare {kind} {a}, {b} : ({a.type}, {b.type}) -> {result}", result)


@lowers("aten.logical_and", "aten.logical_or", "aten.bitwise_and", "aten.bitwise_or", "aten.__and__", "aten.__or__")
def lower_logical(c: Lowering, node: torch.fx.Node) -> Value:
    if c.result_type(node).element != "i1":
        raise c.refuse(node, "bitwise ops on integers are not supported, expected bool")
    kind = "and" if "and" in str(node.target) else "or"
    return c.binary(kind, c.operand(node.args[0], "i1"), c.operand(node.args[1], "i1"))


def select(c: Lowering, condition: Value, a: Value, b: Value, shape) -> Value:
    result = Type(tuple(shape), a.element)
    return c.writer.op(f"select {condition}, {a}, {b} : ({condition.type}, {a.type}, {b.type}) -> {result}", result)


@lowers("aten.where")
def lower_where(c: Lowering, node: torch.fx.Node) -> Value:
    if len(node.args) < 3:
        raise c.refuse(node, "where with one operand has a dynamic shape")
    result = c.result_type(node)
    condition, a, b = node.args
    return select(c, c.operand(condition, "i1"), c.operand(a, result.element), c.operand(b, result.element), result.shape)


@lowers("aten.masked_fill")
def lower_masked_fill(c: Lowering, node: torch.fx.Node) -> Value:
    result = c.result_type(node)
    x, mask, value = node.args
    return select(c, c.operand(mask, "i1"), c.operand(value, result.element), c.operand(x, result.element), result.shape)


@lowers("aten.to", "aten._to_copy", "aten.type_as")
def lower_convert(c: Lowering, node: torch.fx.Node) -> Value:
    return c.convert(c.get(node.args[0]), c.result_type(node).element)


@lowers("aten.dropout", "aten.feature_dropout", "aten.alpha_dropout")
def lower_dropout(c: Lowering, node: torch.fx.Node) -> Value:
    if c.arguments(node)["train"] and c.arguments(node)["p"] != 0:
        raise c.refuse(node, "dropout in training mode; call module.eval() first")
    return c.get(node.args[0])


@lowers("aten.contiguous", "aten.clone", "aten.alias", "aten.detach", "aten.detach_", "aten.lift_fresh_copy", "aten.lift_fresh",
        "aten.positive")
def lower_no_op(c: Lowering, node: torch.fx.Node) -> Value:
    return c.get(node.args[0])


@lowers("aten.full_like", "aten.zeros_like", "aten.ones_like", "aten.new_ones", "aten.new_zeros", "aten.new_full")
def lower_filled(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    result = c.result_type(node)
    name = str(node.target)
    value = arguments["fill_value"] if "full" in name else 1 if "ones" in name else 0
    fill = torch.full(result.shape, value, dtype=node.meta["val"].dtype)
    return c.tensor_constant(fill, node)


def reduced_dims(c: Lowering, node: torch.fx.Node, dims) -> list[int]:
    rank = len(node.args[0].meta["val"].shape)
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return list(range(rank))
    return [d % rank for d in (dims if isinstance(dims, (list, tuple)) else [dims])]


@lowers("aten.mean", "aten.sum")
def lower_sum(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    element = c.result_type(node).element
    if element not in ("f32", "bf16", "f16"):
        raise c.refuse(node, "sums of integers are not supported; convert to float first")
    x = c.operand(node.args[0], element)
    dims = reduced_dims(c, node, arguments.get("dim"))
    if not x.shape:
        return x
    keep = bool(arguments.get("keepdim", False))
    if str(node.target).startswith("aten.sum"):
        return c.reduce("sum", x, dims, keep)
    count = math.prod(x.shape[d] for d in dims)
    mean = c.binary("mul", c.reduce("sum", x, dims, True), c.scalar(1.0 / count, element))
    return mean if keep else c.reshape(mean, c.result_type(node).shape)


@lowers("aten.amax", "aten.amin", "aten.max.default", "aten.min.default")
def lower_extreme(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    if not x.type.is_float:
        raise c.refuse(node, "reductions of integers are not supported; convert to float first")
    kind = "max" if "max" in str(node.target) else "min"
    return c.reduce(kind, x, reduced_dims(c, node, arguments.get("dim")), bool(arguments.get("keepdim", False)))


@lowers("aten.softmax", "aten._softmax", "aten.log_softmax", "aten._log_softmax")
def lower_softmax(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x = c.operand(node.args[0], c.result_type(node).element)
    dim = arguments["dim"] % max(len(x.shape), 1)
    if "log_softmax" not in str(node.target):
        return c.writer.op(f"softmax {x} dim = {dim} : {x.type}", x.type)
    # The logarithm of a softmax underflows where the difference to the largest element does not.
    shifted = c.binary("sub", x, c.reduce("max", x, [dim], True))
    total = c.reduce("sum", c.unary("exp", shifted), [dim], True)
    return c.binary("sub", shifted, c.unary("log", total))


def norm_dims(c: Lowering, node: torch.fx.Node, x: Value, shape) -> int:
    if tuple(x.shape[len(x.shape) - len(shape):]) != tuple(shape):
        raise c.refuse(node, f"expected a norm over the last dimensions, found {list(shape)} of {list(x.shape)}")
    return len(shape)


def dims_attribute(dims: int) -> str:
    return "" if dims == 1 else f" {{dims = {dims} : i64}}"


@lowers("aten.layer_norm", "aten.native_layer_norm")
def lower_layer_norm(c: Lowering, node: torch.fx.Node):
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    dims = norm_dims(c, node, x, arguments["normalized_shape"])
    text, types = f"layer_norm {x}", [str(x.type)]
    for name, word in (("weight", "scale"), ("bias", "bias")):
        if arguments.get(name) is not None:
            value = c.operand(arguments[name], x.element)
            text += f" {word} {value}"
            types.append(str(value.type))
    text += f" eps = {float_text(arguments['eps'])}{dims_attribute(dims)} : ({', '.join(types)}) -> {x.type}"
    value = c.writer.op(text, x.type)
    return [value] if "native" in str(node.target) else value


@lowers("aten.rms_norm")
def lower_rms_norm(c: Lowering, node: torch.fx.Node) -> Value:
    arguments = c.arguments(node)
    x = c.get(node.args[0])
    dims = norm_dims(c, node, x, arguments["normalized_shape"])
    text, types = f"rms_norm {x}", [str(x.type)]
    if arguments.get("weight") is not None:
        value = c.operand(arguments["weight"], x.element)
        text += f" scale {value}"
        types.append(str(value.type))
    eps = arguments.get("eps")
    if eps is None:
        eps = torch.finfo(node.meta["val"].dtype).eps
    return c.writer.op(f"{text} eps = {float_text(eps)}{dims_attribute(dims)} : ({', '.join(types)}) -> {x.type}", x.type)
