# SPDX-License-Identifier: Apache-2.0
"""Computes a tp module with numpy: the reference that shares no code with compiler or runtime.

    outputs = interpret(text, {"input_ids": ids}, parameters)

Takes the forms with global shapes (`imported`, `graph`, and what stays after fusion). Floats are computed in `dtype` (float64 unless
told otherwise); values of a narrower type are rounded to it after each op. Written for clearness and checked against PyTorch; speed
does not matter here.
"""

from __future__ import annotations

import math
import re
from typing import Callable, Mapping

import ml_dtypes
import numpy as np

from tenon.tp_text import TextFunction, TextGlobal, TextOp, TextType, integers, parse_module, unquote

NARROW = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}
INTEGER = {"i1": np.bool_, "i32": np.int32, "i64": np.int64}

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def erf(x: np.ndarray) -> np.ndarray:
    return _erf(x).astype(x.dtype) if x.size else x


UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "neg": np.negative, "exp": np.exp, "log": np.log, "tanh": np.tanh, "sigmoid": sigmoid, "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * sigmoid(x), "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos,
    "abs": np.abs, "erf": erf, "not": np.logical_not,
}
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "max": np.maximum,
    "min": np.minimum, "and": np.logical_and, "or": np.logical_or,
}
COMPARE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}
REDUCE = {"sum": np.sum, "max": np.max, "min": np.min}


class Interpreter:
    """One function's values. `dtype` is what floats are computed in."""

    def __init__(self, globals_: dict[str, np.ndarray], dtype):
        self._globals = globals_
        self._dtype = np.dtype(dtype)
        self.values: dict[str, np.ndarray] = {}

    def cast(self, array: np.ndarray, element: str) -> np.ndarray:
        """An array as a value of the element type: narrow floats are rounded and then widened again."""
        if element in INTEGER:
            return np.asarray(array).astype(INTEGER[element])
        if element in NARROW:
            with np.errstate(over="ignore"):
                array = np.asarray(array).astype(NARROW[element])
        return np.asarray(array).astype(self._dtype)

    def run(self, op: TextOp) -> None:
        kernel = getattr(self, "op_" + op.name.rpartition(".")[2], None)
        if kernel is None:
            raise NotImplementedError(f"the interpreter has no kernel for {op.name}")
        result = kernel(op)
        want = op.result_type
        if tuple(np.shape(result)) != want.shape:
            raise ValueError(f"expected a result of shape {list(want.shape)}, found {list(np.shape(result))}: {op.line}")
        self.values[op.results[0]] = self.cast(result, want.element)

    def operand(self, op: TextOp, i: int) -> np.ndarray:
        return self.values[op.operands[i]]

    def named(self, op: TextOp, word: str) -> np.ndarray | None:
        return self.values[op.named[word]] if word in op.named else None

    # Sources.

    def op_global_load_const(self, op: TextOp) -> np.ndarray:
        return self._globals[unquote(op.words[0])]

    def op_constant(self, op: TextOp) -> np.ndarray:
        return parse_dense(op.strings[0], op.result_type)

    # Pointwise.

    def op_unary(self, op: TextOp) -> np.ndarray:
        return UNARY[op.words[0]](self.operand(op, 0))

    def op_binary(self, op: TextOp) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return BINARY[op.words[0]](self.operand(op, 0), self.operand(op, 1))

    def op_compare(self, op: TextOp) -> np.ndarray:
        return COMPARE[op.words[0]](self.operand(op, 0), self.operand(op, 1))

    def op_select(self, op: TextOp) -> np.ndarray:
        return np.broadcast_to(np.where(*(self.operand(op, i) for i in range(3))), op.result_type.shape)

    def op_elementwise(self, op: TextOp) -> np.ndarray:
        stack: list[np.ndarray] = []
        for term in op.strings[0].split():
            if term.startswith("$"):
                stack.append(self.operand(op, int(term[1:])))
            elif term in UNARY:
                stack.append(UNARY[term](stack.pop()))
            elif term in BINARY or term in COMPARE:
                b, a = stack.pop(), stack.pop()
                stack.append((BINARY.get(term) or COMPARE[term])(a, b))
            elif term == "select":
                b, a, condition = stack.pop(), stack.pop(), stack.pop()
                stack.append(np.where(condition, a, b))
            else:
                stack.append(np.asarray(float(term), dtype=self._dtype))
        (result,) = stack
        return np.broadcast_to(result, op.result_type.shape)

    def op_convert(self, op: TextOp) -> np.ndarray:
        x = self.operand(op, 0)
        if op.result_type.element == "i1":
            return x != 0
        return np.trunc(x) if op.result_type.element in INTEGER and x.dtype.kind == "f" else x

    # Contractions.

    def op_matmul(self, op: TextOp) -> np.ndarray:
        result = np.einsum(op.strings[0], self.operand(op, 0), self.operand(op, 1), optimize=True)
        if (bias := self.named(op, "bias")) is not None:
            result = result + bias
        activation = re.sub(r"#tp\.activation<(\w+)>", r"\1", op.attributes.get("activation", "none"))
        if activation != "none":
            result = UNARY[activation](result)
        if (residual := self.named(op, "residual")) is not None:
            result = result + residual
        return result

    def _attend(self, scores: np.ndarray, mask, bias, causal: bool) -> np.ndarray:
        """Softmax over the last dimension of [.., s, t]; a row that attends to nothing is 0."""
        if bias is not None:
            scores = scores + bias
        allowed = np.ones(scores.shape, dtype=bool)
        if mask is not None:
            allowed &= mask
        if causal:
            allowed &= np.tril(np.ones(scores.shape[-2:], dtype=bool))
        scores = np.where(allowed, scores, -np.inf)
        top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
        total = weights.sum(axis=-1, keepdims=True)
        return weights / np.where(total == 0, 1, total)

    def op_sdpa(self, op: TextOp) -> np.ndarray:
        q, k, v = (self.operand(op, i) for i in range(3))
        repeat = q.shape[1] // k.shape[1]
        k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
        mask = self.named(op, "mask")
        if mask is not None and mask.ndim == 2:
            mask = mask[:, None, None, :]
        scores = np.einsum("bhsd,bhtd->bhst", q, k, optimize=True) * self._dtype.type(op.attributes["scale"])
        weights = self._attend(scores, mask, self.named(op, "bias"), op.attributes["causal"] == "true")
        return np.einsum("bhst,bhte->bhse", weights, v, optimize=True)

    def op_attention(self, op: TextOp) -> np.ndarray:
        q, k, v = (self.operand(op, i) for i in range(3))
        mask = self.named(op, "mask")
        if mask is not None:
            mask = mask[:, None, None, :, :]
        scores = np.einsum("bsgrd,btgd->bgrst", q, k, optimize=True) * self._dtype.type(op.attributes["scale"])
        weights = self._attend(scores, mask, self.named(op, "bias"), op.attributes["causal"] == "true")
        return np.einsum("bgrst,btge->bsgre", weights, v, optimize=True)

    # Along dimensions.

    def op_softmax(self, op: TextOp) -> np.ndarray:
        x, dim = self.operand(op, 0), int(op.attributes["dim"])
        e = np.exp(x - x.max(axis=dim, keepdims=True))
        return e / e.sum(axis=dim, keepdims=True)

    def _normalised_dims(self, op: TextOp, x: np.ndarray) -> tuple[int, ...]:
        dims = int(op.attributes.get("dims", "1").partition(":")[0])
        return tuple(range(x.ndim - dims, x.ndim))

    def _scaled(self, op: TextOp, x: np.ndarray) -> np.ndarray:
        scale, bias = self.named(op, "scale"), self.named(op, "bias")
        x = x if scale is None else x * scale
        return x if bias is None else x + bias

    def op_layer_norm(self, op: TextOp) -> np.ndarray:
        x = self.operand(op, 0)
        dims = self._normalised_dims(op, x)
        centred = x - x.mean(axis=dims, keepdims=True)
        variance = (centred * centred).mean(axis=dims, keepdims=True)
        return self._scaled(op, centred / np.sqrt(variance + self._dtype.type(op.attributes["eps"])))

    def op_rms_norm(self, op: TextOp) -> np.ndarray:
        x = self.operand(op, 0)
        square = (x * x).mean(axis=self._normalised_dims(op, x), keepdims=True)
        return self._scaled(op, x / np.sqrt(square + self._dtype.type(op.attributes["eps"])))

    def op_reduce(self, op: TextOp) -> np.ndarray:
        return REDUCE[op.words[0]](self.operand(op, 0), axis=tuple(op.lists[0]), keepdims=True)

    # Lookups.

    def op_embedding(self, op: TextOp) -> np.ndarray:
        ids, table = self.operand(op, 0), self.operand(op, 1)
        if ids.size and (ids.min() < 0 or ids.max() >= table.shape[0]):
            raise ValueError(f"expected ids in [0, {table.shape[0]}), found {ids.min()} to {ids.max()}")
        return table[ids]

    def op_take(self, op: TextOp) -> np.ndarray:
        return np.take(self.operand(op, 0), [int(op.attributes["index"])], axis=int(op.attributes["dim"]))

    def op_rope(self, op: TextOp) -> np.ndarray:
        x, cos, sin = self.operand(op, 0), self.named(op, "cos"), self.named(op, "sin")
        positions = self.named(op, "at")
        if positions is None:
            positions = np.arange(x.shape[1])[None]
        shape = (positions.shape[0], x.shape[1]) + (1,) * (x.ndim - 3) + (cos.shape[1],)
        c, s = cos[positions].reshape(shape), sin[positions].reshape(shape)
        half = cos.shape[1]
        if op.attributes["interleaved"] == "true":
            first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
        else:
            first, second = slice(0, half), slice(half, 2 * half)
        result = x.copy()
        a, b = x[..., first], x[..., second]
        result[..., first] = a * c - b * s
        result[..., second] = b * c + a * s
        return result

    # Movement.

    def op_reshape(self, op: TextOp) -> np.ndarray:
        return self.operand(op, 0).reshape(op.result_type.shape)

    def op_transpose(self, op: TextOp) -> np.ndarray:
        return np.transpose(self.operand(op, 0), op.lists[0])

    def op_broadcast(self, op: TextOp) -> np.ndarray:
        return np.broadcast_to(self.operand(op, 0), op.result_type.shape)

    def op_slice(self, op: TextOp) -> np.ndarray:
        offsets, sizes, strides = op.lists
        return self.operand(op, 0)[tuple(slice(o, o + (n - 1) * s + 1 if n else o, s) for o, n, s in zip(offsets, sizes, strides))]

    def op_concat(self, op: TextOp) -> np.ndarray:
        return np.concatenate([self.values[n] for n in op.operands], axis=int(op.attributes["dim"]))


def parse_dense(text: str, type_: TextType) -> np.ndarray:
    """`dense<...>` as an array; splats are repeated."""
    body = text.partition(" : ")[0].strip().removeprefix("dense<").rpartition(">")[0]
    words = re.findall(r"true|false|-?0x[0-9A-Fa-f]+|[-+]?\d[\d.]*(?:[eE][-+]?\d+)?", body)
    if body.startswith('"0x'):
        raise ValueError("a constant in hex is not a small one")
    if type_.element == "i1":
        values = np.array([w == "true" for w in words])
    elif type_.element in INTEGER:
        values = np.array([int(w) for w in words], dtype=np.int64)
    else:
        values = np.array([_float(w, type_.element) for w in words], dtype=np.float64)
    return np.broadcast_to(values[0], type_.shape) if values.size == 1 else values.reshape(type_.shape)


def _float(word: str, element: str) -> float:
    if "0x" not in word:
        return float(word)
    bits = {"f32": (np.uint32, np.float32), "bf16": (np.uint16, ml_dtypes.bfloat16), "f16": (np.uint16, np.float16)}[element]
    return float(np.array(int(word, 16), dtype=bits[0]).view(bits[1]))


def global_data(glob: TextGlobal, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """The elements of a global: a stored tensor or a strided view of one."""
    if "tp.view" not in glob.attributes:
        key = unquote(glob.attributes.get("tp.key", f'"{glob.symbol}"'))
        return _stored(parameters, key).reshape(glob.type.shape)
    view = glob.attributes["tp.view"]
    key = unquote(re.search(r'"(?:[^"\\]|\\.)*"', view)[0])
    field = lambda name: integers(re.search(name + r"\s*=\s*(\[[^\]]*\]|-?\d+)", view)[1])
    flat = np.ascontiguousarray(_stored(parameters, key)).reshape(-1)
    index = np.array(field("offset")[0])
    for n, stride in zip(field("sizes"), field("strides")):
        index = index[..., None] + np.arange(n) * stride
    return flat[index].reshape(glob.type.shape)


def _stored(parameters: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    if key not in parameters:
        raise KeyError(f"no parameter {key}")
    return np.asarray(parameters[key])


def interpret(text: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray], *, entry: str | None = None,
              dtype=np.float64, trace: Callable[[TextOp, np.ndarray], None] | None = None) -> dict[str, np.ndarray]:
    """The outputs of an entry by name.

    `entry` may be left out where there is one. `trace` is called with every op and its value.
    """
    module = parse_module(text)
    if entry is None and len(module.functions) != 1:
        raise ValueError(f"expected an entry among {', '.join(module.functions)}")
    function: TextFunction = module.functions[entry or next(iter(module.functions))]
    machine = Interpreter({}, dtype)
    used = {unquote(op.words[0]) for op in function.ops if op.name == "ml_program.global_load_const"}
    for symbol in used:
        glob = module.globals[symbol]
        machine._globals[symbol] = machine.cast(global_data(glob, parameters), glob.type.element)
    for port in function.arguments:
        if port.name not in inputs:
            raise KeyError(f"no input {port.name}")
        given = np.asarray(inputs[port.name])
        if given.shape != port.type.shape:
            raise ValueError(f"{port.name}: expected shape {list(port.type.shape)}, found {list(given.shape)}")
        machine.values[port.value] = machine.cast(given, port.type.element)
    for op in function.ops:
        machine.run(op)
        if trace:
            trace(op, machine.values[op.results[0]])
    return {port.name: machine.values[port.value] for port in function.results}
