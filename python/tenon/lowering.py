# SPDX-License-Identifier: Apache-2.0
"""Walks a live graph and writes one tp function; the table from ATen ops to handlers.

A handler takes the context and the node and returns a `Value` (or a list of them, for ops with several results). Handlers live
in lower_elementwise.py, lower_shapes.py, lower_order.py and lower_contractions.py and register themselves under the op's overload
packet (`aten.add`) or one overload (`aten.max.other`).
"""

from __future__ import annotations

import hashlib
from typing import Any, Callable

import ml_dtypes
import numpy as np
import torch

from tenon.errors import ExportError
from tenon.mlir_text import INLINE_ELEMENTS, FunctionWriter, Global, Port, Symbols, Type, Value, all_equal
from tenon.torch_graph import Graph, location, op_name

ELEMENT_OF = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.bool: "i1", torch.int32: "i32",
              torch.int64: "i64"}
DTYPE_OF = {element: dtype for dtype, element in ELEMENT_OF.items()}

Handler = Callable[["Lowering", torch.fx.Node], Any]
HANDLERS: dict[str, Handler] = {}


def lowers(*names: str):
    """Registers a handler for ops such as `aten.add` (every overload) or `aten.max.other` (one overload)."""

    def register(handler: Handler) -> Handler:
        for name in names:
            assert name not in HANDLERS, name
            HANDLERS[name] = handler
        return handler

    return register


def element_of(dtype: torch.dtype, where: str) -> str:
    if dtype not in ELEMENT_OF:
        raise ExportError(f"{where}: dtype {dtype} is not supported, expected one of {', '.join(map(str, ELEMENT_OF))}")
    return ELEMENT_OF[dtype]


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def has_equal_halves(data: np.ndarray) -> bool:
    """True for a table of floats like cos and sin of rotary embeddings, where entry i + d/2 repeats entry i.

    tp-raise never reads data, so it is told; such a table is always a global.
    """
    half = data.shape[-1] // 2 if data.ndim >= 2 else 0
    return (half > 0 and data.shape[-1] == 2 * half and data.dtype.kind not in "biu" and not all_equal(data)
            and np.array_equal(data[..., :half], data[..., half:]))


class ModuleState:
    """What entries of one module share: globals, symbols and constant data."""

    def __init__(self, resolve: Callable[[str, tuple[int, ...], str], tuple[str, str | None]]):
        # resolve(name, shape, element) -> (checkpoint key, stored element or None)
        self._resolve = resolve
        self._symbols = Symbols()
        self._weights: dict[str, Global] = {}
        self._constants: dict[tuple, Global] = {}
        self.constant_data: dict[str, torch.Tensor] = {}
        self.names: dict[str, set[str]] = {}

    def weight(self, name: str, shape: tuple[int, ...], element: str) -> Global:
        key, stored = self._resolve(name, shape, element)
        if key not in self._weights:
            self._weights[key] = Global(self._symbols.make(key), key, Type(shape, element), stored)
        found = self._weights[key]
        if found.type != Type(shape, element):
            raise ExportError(f"{key} is used as {found.type} and as {Type(shape, element)}")
        self.names.setdefault(key, set()).add(name)
        return found

    def constant(self, tensor: torch.Tensor, element: str) -> Global:
        """A large constant: stored once per content."""
        data = to_numpy(tensor)
        digest = (element, tuple(data.shape), hashlib.sha256(np.ascontiguousarray(data).view(np.uint8).tobytes()).hexdigest())
        if digest not in self._constants:
            key = f"tenon.constant.{len(self._constants)}"
            self._constants[digest] = Global(self._symbols.make(key), key, Type(tuple(data.shape), element),
                                             equal_halves=has_equal_halves(data))
            self.constant_data[key] = tensor.detach().cpu().contiguous()
        return self._constants[digest]

    def globals(self) -> list[Global]:
        return list(self._weights.values()) + list(self._constants.values())


class Lowering:
    """The context of one entry: maps torch nodes to values and gives handlers what they need."""

    def __init__(self, graph: Graph, state: ModuleState, entry: str, ports: list[Port]):
        self.graph = graph
        self.state = state
        self.writer = FunctionWriter(entry, ports)
        self._values: dict[torch.fx.Node, Any] = {}
        for i, node in enumerate(graph.inputs):
            self._values[node] = self.writer.argument(i)

    def run(self) -> FunctionWriter:
        self._refuse_unsupported()
        for node in self.graph.nodes:
            self.writer.location = location(node) or self.graph_name
            self._values[node] = handler_of(node)(self, node)
        results = []
        for name, node in self.graph.outputs:
            value = self.get(node)
            results.append((Port(name, value.type), value))
        self.writer.finish(results)
        return self.writer

    graph_name = "top"

    def _refuse_unsupported(self) -> None:
        bad: dict[str, str] = {}
        for node in self.graph.nodes:
            if handler_of(node) is None:
                bad.setdefault(op_name(node), location(node) or "the top")
        if bad:
            text = "; ".join(f"{op} at {where}" for op, where in bad.items())
            raise ExportError(f"unsupported op: {text}. Replace it in the module by ops that docs/Import.md lists, or compute it outside "
                              "and pass it as an input")

    # What handlers use.

    def get(self, node: torch.fx.Node) -> Value:
        """The value of a node; loads weights and constants at their first use."""
        if node not in self._values:
            if node in self.graph.weights:
                weight = self.graph.weights[node]
                element = element_of(weight.fake.dtype, weight.name)
                self._values[node] = self.writer.load(self.state.weight(weight.name, tuple(weight.fake.shape), element))
            elif node in self.graph.constants:
                self._values[node] = self.tensor_constant(self.graph.constants[node], node)
            else:
                raise ExportError(f"{op_name(node)} at {location(node) or 'the top'}: expected a tensor")
        return self._values[node]

    def results(self, node: torch.fx.Node) -> list[Value]:
        return self._values[node]

    def tensor_constant(self, tensor: torch.Tensor, node: torch.fx.Node) -> Value:
        if tensor.dtype == torch.float64:
            tensor = tensor.float()
        element = element_of(tensor.dtype, f"a constant at {location(node) or 'the top'}")
        data = to_numpy(tensor)
        if all_equal(data) or (data.size <= INLINE_ELEMENTS and not has_equal_halves(data)):
            return self.writer.constant(data, element)
        return self.writer.load(self.state.constant(tensor, element))

    def scalar(self, value: float | int | bool, element: str) -> Value:
        kinds = {"i1": np.bool_, "i32": np.int32, "i64": np.int64, "f32": np.float32, "bf16": ml_dtypes.bfloat16,
                 "f16": np.float16}
        with np.errstate(over="ignore"):
            return self.writer.constant(np.array(value, dtype=kinds[element]), element)

    def result_type(self, node: torch.fx.Node) -> Type:
        fake = node.meta["val"]
        return Type(tuple(fake.shape), element_of(fake.dtype, f"{op_name(node)} at {location(node) or 'the top'}"))

    def dtype(self, operand: Any) -> torch.dtype | None:
        return operand.meta["val"].dtype if isinstance(operand, torch.fx.Node) else None

    def operand(self, operand: Any, element: str) -> Value:
        """A tensor or number as a value of the given element type."""
        if isinstance(operand, torch.fx.Node):
            if operand in self.graph.constants and operand not in self._values:
                constant = self.graph.constants[operand]
                if ELEMENT_OF.get(constant.dtype) != element:
                    return self.tensor_constant(constant.to(DTYPE_OF[element]), operand)
            return self.convert(self.get(operand), element)
        if isinstance(operand, (bool, int, float)):
            return self.scalar(operand, element)
        raise ExportError(f"{self.writer.location}: expected a tensor or a number, found {operand!r}")

    def arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        """All arguments by the names of the op's schema, defaults filled in."""
        schema = node.target._schema
        values = {}
        for i, argument in enumerate(schema.arguments):
            if i < len(node.args):
                values[argument.name] = node.args[i]
            elif argument.name in node.kwargs:
                values[argument.name] = node.kwargs[argument.name]
            elif argument.has_default_value():
                values[argument.name] = argument.default_value
        return values

    def refuse(self, node: torch.fx.Node, why: str) -> ExportError:
        return ExportError(f"{op_name(node)} at {location(node) or 'the top'}: {why}")

    # Ops that several handlers write.

    def convert(self, value: Value, element: str) -> Value:
        if value.element == element:
            return value
        result = Type(value.shape, element)
        return self.writer.op(f"convert {value} : {value.type} to {result}", result)

    def reshape(self, value: Value, shape) -> Value:
        shape = tuple(int(n) for n in shape)
        if value.shape == shape:
            return value
        result = Type(shape, value.element)
        return self.writer.op(f"reshape {value} : {value.type} to {result}", result)

    def transpose(self, value: Value, permutation) -> Value:
        permutation = [int(p) for p in permutation]
        if permutation == list(range(len(permutation))):
            return value
        result = Type(tuple(value.shape[p] for p in permutation), value.element)
        return self.writer.op(f"transpose {value} {permutation} : {value.type} to {result}", result)

    def broadcast(self, value: Value, shape) -> Value:
        shape = tuple(int(n) for n in shape)
        if value.shape == shape:
            return value
        result = Type(shape, value.element)
        return self.writer.op(f"broadcast {value} : {value.type} to {result}", result)

    def slice(self, value: Value, offsets, sizes, strides=None) -> Value:
        strides = strides or [1] * len(sizes)
        if tuple(sizes) == value.shape:
            return value
        result = Type(tuple(sizes), value.element)
        return self.writer.op(f"slice {value} {list(offsets)} {list(sizes)} {list(strides)} : {value.type} to {result}", result)

    def concat(self, values: list[Value], dim: int) -> Value:
        shape = list(values[0].shape)
        shape[dim] = sum(v.shape[dim] for v in values)
        result = Type(tuple(shape), values[0].element)
        names, types = ", ".join(map(str, values)), ", ".join(str(v.type) for v in values)
        return self.writer.op(f"concat {names} dim = {dim} : ({types}) -> {result}", result)

    def unary(self, kind: str, value: Value) -> Value:
        return self.writer.op(f"unary {kind} {value} : {value.type}", value.type)

    def binary(self, kind: str, a: Value, b: Value) -> Value:
        result = Type(np.broadcast_shapes(a.shape, b.shape), a.element)
        return self.writer.op(f"binary {kind} {a}, {b} : ({a.type}, {b.type}) -> {result}", result)

    def reduce(self, kind: str, value: Value, dims: list[int], keep: bool) -> Value:
        dims = sorted(d % len(value.shape) for d in dims)
        kept = Type(tuple(1 if i in dims else n for i, n in enumerate(value.shape)), value.element)
        reduced = self.writer.op(f"reduce {kind} {value} {dims} : {value.type} to {kept}", kept)
        return reduced if keep else self.reshape(reduced, [n for i, n in enumerate(value.shape) if i not in dims])

    def matmul(self, einsum: str, a: Value, b: Value) -> Value:
        """Writes an einsum; its result shape follows from the letters."""
        inputs, out = einsum.split("->")
        left, right = inputs.split(",")
        sizes = dict(zip(left, a.shape)) | dict(zip(right, b.shape))
        result = Type(tuple(sizes[c] for c in out), a.element)
        return self.writer.op(f'matmul "{einsum}" {a}, {b} : ({a.type}, {b.type}) -> {result}', result)


def handler_of(node: torch.fx.Node) -> Handler | None:
    name = op_name(node)
    return HANDLERS.get(name) or HANDLERS.get(name.rpartition(".")[0])
