# SPDX-License-Identifier: Apache-2.0
"""Writes the imported form of the tp dialect as text: types, numbers, globals, functions.

Knows the spelling of MLIR and of the dialect's assembly formats, and nothing of torch. Values are handles with a name, a
shape and an element type; a `FunctionWriter` hands them out in order, so the text is deterministic.
"""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

ELEMENTS = ("f32", "bf16", "f16", "i1", "i32", "i64")
# A tp.constant that is not a splat holds at most this many elements (ConstantOp C2); larger ones are globals.
INLINE_ELEMENTS = 64


@dataclasses.dataclass(frozen=True)
class Type:
    """A static tensor type: `Type((2, 8), "f32")` is `tensor<2x8xf32>`."""

    shape: tuple[int, ...]
    element: str

    def __str__(self) -> str:
        return "tensor<" + "".join(f"{n}x" for n in self.shape) + self.element + ">"

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        return self.element in ("f32", "bf16", "f16")


@dataclasses.dataclass(frozen=True)
class Value:
    name: str
    type: Type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def element(self) -> str:
        return self.type.element

    def __str__(self) -> str:
        return self.name


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def float_text(value: float, element: str = "f32") -> str:
    """A float literal that MLIR reads back to the same value: digits, a point, digits, an exponent; or bits in hex."""
    value = float(value)
    if math.isfinite(value):
        if element == "f32":
            with np.errstate(over="ignore"):
                rounded = np.float32(value)
            if np.isfinite(rounded):
                text = str(rounded)
            else:
                return float_text(math.copysign(math.inf, value), element)
        else:
            text = repr(value)
        mantissa, _, exponent = text.partition("e")
        if "." not in mantissa:
            mantissa += ".0"
        return mantissa + ("e" + exponent if exponent else "")
    bits = {"f32": ("0x7FC00000", "0x7F800000", "0xFF800000"), "bf16": ("0x7FC0", "0x7F80", "0xFF80"),
            "f16": ("0x7E00", "0x7C00", "0xFC00")}[element]
    return bits[0] if math.isnan(value) else bits[1] if value > 0 else bits[2]


def element_text(value, element: str) -> str:
    if element == "i1":
        return "true" if value else "false"
    if element in ("i32", "i64"):
        return str(int(value))
    return float_text(value, element)


def dense(array: np.ndarray, type_: Type) -> str:
    """`dense<...> : type` of a splat or a small table."""
    flat = array.reshape(-1)
    if flat.size and all_equal(array):
        body = element_text(flat[0], type_.element)
    elif flat.size == 0:
        body = ""
    else:
        body = _nested(array, type_.element)
    return f"dense<{body}> : {type_}"


def all_equal(array: np.ndarray) -> bool:
    """True where every element has the same bits (so -0.0 is not 0.0, and NaN is NaN)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size <= 1:
        return True
    raw = flat.view(np.uint8).reshape(flat.size, -1)
    return bool((raw == raw[0]).all())


def _nested(array: np.ndarray, element: str) -> str:
    if array.ndim == 0:
        return element_text(array[()], element)
    return "[" + ", ".join(_nested(row, element) for row in array) + "]"


class Symbols:
    """Makes symbol names out of keys: characters that a bare MLIR symbol may not hold become `_`, duplicates get a number."""

    def __init__(self):
        self._taken: set[str] = set()

    def make(self, key: str) -> str:
        name = re.sub(r"[^A-Za-z0-9_$.]", "_", key)
        if not re.match(r"[A-Za-z_]", name):
            name = "_" + name
        unique, n = name, 1
        while unique in self._taken:
            n += 1
            unique = f"{name}_{n}"
        self._taken.add(unique)
        return unique


@dataclasses.dataclass
class Global:
    """An external tensor that functions load: `key` names it in the checkpoint or in constants.safetensors."""

    symbol: str
    key: str
    type: Type
    stored: str | None = None
    equal_halves: bool = False

    def __str__(self) -> str:
        attributes = [f"tp.key = {quote(self.key)}"]
        if self.stored and self.stored != self.type.element:
            attributes.append(f"tp.stored = {self.stored}")
        if self.equal_halves:
            attributes.append("tp.equal_halves")
        return (f"ml_program.global private @{self.symbol}(#ml_program.extern : {self.type}) : {self.type} "
                f"{{{', '.join(attributes)}}}")


@dataclasses.dataclass
class Port:
    """An entry argument or result with the attributes that the dialect reserves for it."""

    name: str
    type: Type
    range: tuple[int, int] | None = None
    mask_rows: bool = False

    def attributes(self) -> str:
        parts = [f"tp.name = {quote(self.name)}"]
        if self.mask_rows:
            parts.append("tp.mask_rows")
        if self.range is not None:
            parts.append(f"tp.range = array<i64: {self.range[0]}, {self.range[1]}>")
        return "{" + ", ".join(parts) + "}"


class FunctionWriter:
    """Collects the ops of one entry function in order. Loads of globals are put first."""

    def __init__(self, name: str, arguments: list[Port]):
        self.name = name
        self.arguments = arguments
        self.results: list[tuple[Port, Value]] = []
        self.location = ""
        self._loads: dict[str, tuple[Value, str]] = {}
        self._body: list[str] = []
        self._constants: dict[tuple, Value] = {}
        self._next = 0

    def argument(self, i: int) -> Value:
        return Value(f"%arg{i}", self.arguments[i].type)

    def load(self, glob: Global) -> Value:
        """The value of a global: one load per function, at its top."""
        if glob.symbol not in self._loads:
            value = Value(f"%w{len(self._loads)}", glob.type)
            text = f"{value} = ml_program.global_load_const @{glob.symbol} : {glob.type}"
            self._loads[glob.symbol] = (value, self._line(text, glob.key.rpartition(".")[0] or glob.key))
        return self._loads[glob.symbol][0]

    def op(self, text: str, type_: Type) -> Value:
        """Appends `%n = tp.<text>` at the present location."""
        value = Value(f"%{self._next}", type_)
        self._next += 1
        self._body.append(self._line(f"{value} = tp.{text}", self.location))
        return value

    def constant(self, array: np.ndarray, element: str) -> Value:
        """A splat or small table; equal ones are one op."""
        type_ = Type(tuple(array.shape), element)
        text = dense(array, type_)
        if text not in self._constants:
            self._constants[text] = self.op(f"constant {text}", type_)
        return self._constants[text]

    def finish(self, results: list[tuple[Port, Value]]) -> None:
        self.results = results

    def __str__(self) -> str:
        arguments = ", ".join(f"%arg{i}: {p.type} {p.attributes()}" for i, p in enumerate(self.arguments))
        results = ", ".join(f"{p.type} {p.attributes()}" for p, _ in self.results)
        lines = [f"func.func @{self.name}({arguments}) -> ({results}) {{"]
        lines += ["  " + line for _, line in self._loads.values()]
        lines += ["  " + line for line in self._body]
        names = ", ".join(str(v) for _, v in self.results)
        types = ", ".join(str(v.type) for _, v in self.results)
        return "\n".join(lines + [f"  return {names} : {types}", "}"])

    @staticmethod
    def _line(text: str, location: str) -> str:
        return f"{text} loc({quote(location)})" if location else text


def module_text(model: str, globals_: list[Global], functions: list[FunctionWriter], layer_plan: dict[str, str] | None = None) -> str:
    """The whole file; `model` becomes the module's tp.model, `layer_plan` (pattern to style) its tp.layer_plan."""
    plan = ", ".join(f"{quote(k)} = {quote(v)}" for k, v in sorted((layer_plan or {}).items()))
    lines = [f"module attributes {{{f'tp.layer_plan = {{{plan}}}, ' if plan else ''}tp.model = {quote(model)}}} {{"]
    lines += [f"  {g}" for g in globals_]
    for f in functions:
        lines += ["  " + line for line in str(f).split("\n")]
    return "\n".join(lines + ["}"]) + "\n"
