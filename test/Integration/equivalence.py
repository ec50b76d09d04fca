# SPDX-License-Identifier: Apache-2.0
"""Random graphs under random legal strategies: N ranks against numpy.

Each case is a random module of tp ops with sizes that divide and sizes that do not, random pins on its ops, weights, arguments and
results, compiled for 2, 3 or 4 ranks (one axis or two) and run with ranks as threads, arena poisoned with NaN, under each stream schedule. The result
must be numpy's (`tenon.interpret`, float64, which shares no kernel with the runtime): bit for bit where the graph is linear over small integers,
within 1e-5 of the largest element otherwise.

    python test/Integration/equivalence.py [--first SEED] [--count N] [--keep DIR]      # --only SEED for one

A failing case is written to DIR as case.mlir with its pins and .npy files, and the command that shows it is printed.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from tenon.interpret import interpret  # noqa: E402

BUILD = pathlib.Path(os.environ.get("TENON_BUILD_DIR", ROOT / "build"))
# Sums of products stay below 2^24, so that f32 adds them exactly in any order.
EXACT = 2.0**22
LARGEST = 4096  # elements


class Graph:
    """A module under construction: values with shapes, the lines of its function, weights, inputs."""

    def __init__(self, rng: random.Random, linear: bool):
        self.rng, self.linear = rng, linear
        self.lines: list[str] = []
        self.globals: list[str] = []
        self.arguments: list[str] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.values: list[tuple[str, tuple[int, ...], float]] = []  # name, shape, bound of |elements| in linear graphs
        self.kinds: collections.Counter = collections.Counter()
        self.loaded: dict[tuple[int, ...], list[str]] = collections.defaultdict(list)
        self.pinnable: dict[int, dict[str, int]] = {}  # line -> factors to try, with their sizes
        self.data = np.random.default_rng(rng.randrange(2**32))

    @staticmethod
    def type(shape, element="f32"):
        return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"

    def numbers(self, shape):
        if self.linear:
            return np.asarray(self.data.integers(-3, 4, shape), np.float32)
        return np.asarray(self.data.standard_normal(shape) * 0.7, np.float32)

    def size(self):
        return self.rng.choice([1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 12])

    def argument(self, shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.numbers(shape)
        self.arguments.append(f'%{name}: {self.type(shape)} {{tp.name = "{name}"}}')
        self.values.append((f"%{name}", tuple(shape), 3.0))
        return self.values[-1]

    def weight(self, shape):
        """A load of a stored tensor, or of a view of one with other dimensions or every second row; sometimes one that is in use."""
        key = f"w{len(self.globals)}"
        shape = tuple(shape)
        if self.loaded.get(shape) and self.rng.random() < 0.2:
            return self.rng.choice(self.loaded[shape])
        self.loaded[shape].append(f"%{key}")
        how = self.rng.choice(["plain", "plain", "transposed", "rows"])
        view = ""
        if how == "transposed" and len(shape) == 2:
            self.weights[key] = self.numbers(shape[::-1])
            view = (f'tp.view = #tp.view<"{key}", shape = [{shape[1]}, {shape[0]}], offset = 0, sizes = [{shape[0]}, {shape[1]}], '
                    f"strides = [1, {shape[0]}]>")
        elif how == "rows" and shape:
            inner = int(np.prod(shape[1:]))
            self.weights[key] = self.numbers((2 * shape[0], inner))
            strides = [2 * inner] + [int(np.prod(shape[i + 1:])) for i in range(1, len(shape))]
            view = (f'tp.view = #tp.view<"{key}", shape = [{2 * shape[0]}, {inner}], offset = {inner}, '
                    f"sizes = [{', '.join(map(str, shape))}], strides = [{', '.join(map(str, strides))}]>")
        else:
            self.weights[key] = self.numbers(shape)
        t = self.type(shape)
        attribute = view or f'tp.key = "{key}"'
        self.globals.append(f"ml_program.global private @{key}(#ml_program.extern : {t}) : {t} {{{attribute}}}")
        self.lines.append(f"%{key} = ml_program.global_load_const @{key} : {t}")
        return f"%{key}"

    def emit(self, text, shape, bound, kind, factors, keep=True, element="f32"):
        """Adds `%vN = text`; '{pin}' in it is where attributes go."""
        name = f"%v{len(self.lines)}"
        self.pinnable[len(self.lines)] = factors
        self.lines.append(f"{name} = {text}")
        self.kinds[kind] += 1
        if keep:
            self.values.append((name, tuple(shape), bound))
        return name, tuple(shape), bound

    def pick(self, accept=lambda shape: True):
        found = [v for v in self.values if accept(v[1])]
        # Late values more often, so that graphs grow deep.
        return self.rng.choice(found[-4:] if self.rng.random() < 0.7 else found) if found else None

    # One method per op; returns False when it does not apply.

    def matmul(self):
        x = self.pick(lambda s: 2 <= len(s) <= 4)
        if not x:
            return False
        name, shape, bound = x
        letters = "abcd"[:len(shape)]
        contracted = self.rng.choice([1, 1, 2]) if len(shape) > 2 else 1
        out = [self.size() for _ in range(self.rng.choice([1, 1, 2]))]
        new = "nm"[:len(out)]
        depth = int(np.prod(shape[-contracted:]))
        result = shape[:-contracted] + tuple(out)
        if self.linear and bound * 3 * depth > EXACT or np.prod(result) > LARGEST:
            return False
        order = list(new + letters[-contracted:])
        sizes = dict(zip(letters, shape)) | dict(zip(new, out))
        if self.rng.random() < 0.3:
            self.rng.shuffle(order)
        weight = self.weight([sizes[c] for c in order])
        w = "".join(order)
        self.emit(f'tp.matmul "{letters},{w}->{letters[:-contracted]}{new}" {name}, {weight} {{pin}} : ({self.type(shape)}, '
                  f"{self.type([sizes[c] for c in order])}) -> {self.type(result)}", result, bound * 3 * depth, "matmul", sizes)
        if not self.linear and depth > 4:  # Keep magnitudes near one.
            self.scale(0.4)
        return True

    def scale(self, factor):
        name, shape, bound = self.values[-1]
        constant, *_ = self.emit(f"tp.constant dense<{factor}> : tensor<f32> {{pin}}", (), 1, "constant", {}, keep=False)
        self.emit(f"tp.binary mul {name}, {constant} {{pin}} : ({self.type(shape)}, tensor<f32>) -> {self.type(shape)}", shape, bound, "binary",
                  self.dims(shape))

    def batch_matmul(self):
        x = self.pick(lambda s: len(s) == 3)
        y = x and self.pick(lambda s: len(s) == 3 and s[0] == x[1][0] and s[2] == x[1][2])
        if not y:
            return False
        depth, result = x[1][2], (x[1][0], x[1][1], y[1][1])
        bound = x[2] * y[2] * depth
        if self.linear and bound > EXACT or np.prod(result) > LARGEST:
            return False
        self.emit(f'tp.matmul "bsk,btk->bst" {x[0]}, {y[0]} {{pin}} : ({self.type(x[1])}, {self.type(y[1])}) -> {self.type(result)}', result,
                  bound, "matmul", dict(zip("bstk", (*result, depth))))
        if not self.linear:
            self.scale(0.3)
        return True

    @staticmethod
    def dims(shape):
        return {f"d{i}": n for i, n in enumerate(shape)}

    def unary(self):
        name, shape, bound = self.pick()
        kind = "neg" if self.linear else self.rng.choice(["neg", "tanh", "gelu", "gelu_tanh", "silu", "sigmoid", "relu", "abs", "sin", "cos", "erf"])
        self.emit(f"tp.unary {kind} {name} {{pin}} : {self.type(shape)}", shape, bound, "unary", self.dims(shape))
        return True

    def positive(self):
        """Functions whose value at zero is not zero, or not finite: padding that must not be summed."""
        if self.linear:
            return False
        name, shape, _ = self.pick()
        t = self.type(shape)
        kind = self.rng.choice(["exp", "sqrt", "rsqrt", "log", "div", "pow"])
        if kind == "exp":
            bounded, *_ = self.emit(f"tp.unary tanh {name} {{pin}} : {t}", shape, 1, "unary", self.dims(shape), keep=False)
            self.emit(f"tp.unary exp {bounded} {{pin}} : {t}", shape, 3, "unary", self.dims(shape))
            return True
        one, *_ = self.emit("tp.constant dense<1.0> : tensor<f32> {pin}", (), 1, "constant", {}, keep=False)
        size, *_ = self.emit(f"tp.unary abs {name} {{pin}} : {t}", shape, 1, "unary", self.dims(shape), keep=False)
        least, *_ = self.emit(f"tp.binary add {size}, {one} {{pin}} : ({t}, tensor<f32>) -> {t}", shape, 1, "binary", self.dims(shape), keep=False)
        if kind in ("div", "pow"):
            other = self.pick(lambda s: s == shape)
            if kind == "pow":
                half, *_ = self.emit("tp.constant dense<0.5> : tensor<f32> {pin}", (), 1, "constant", {}, keep=False)
                self.emit(f"tp.binary pow {least}, {half} {{pin}} : ({t}, tensor<f32>) -> {t}", shape, 3, "binary", self.dims(shape))
            else:
                self.emit(f"tp.binary div {other[0]}, {least} {{pin}} : ({t}, {t}) -> {t}", shape, other[2], "binary", self.dims(shape))
        else:
            self.emit(f"tp.unary {kind} {least} {{pin}} : {t}", shape, 3, "unary", self.dims(shape))
        return True

    def binary(self):
        name, shape, bound = self.pick()
        kind = self.rng.choice(["add", "sub"] if self.linear else ["add", "sub", "mul", "max", "min"])
        how = self.rng.random()
        other = None
        if how < 0.5:
            other = self.pick(lambda s: s == shape)
        if other is None:
            small = tuple(n if self.rng.random() < 0.7 else 1 for n in shape[self.rng.randrange(len(shape) + 1):])
            other = (self.weight(small), small, 3.0)
        if self.linear and bound + other[2] > EXACT:
            return False
        sides = [(name, shape), (other[0], other[1])]
        if self.rng.random() < 0.3:
            sides.reverse()
        self.emit(f"tp.binary {kind} {sides[0][0]}, {sides[1][0]} {{pin}} : ({self.type(sides[0][1])}, {self.type(sides[1][1])}) -> "
                  f"{self.type(shape)}", shape, bound + other[2], "binary", self.dims(shape))
        return True

    def select(self):
        x = self.pick()
        y = self.pick(lambda s: s == x[1])
        t = self.type(x[1])
        condition, *_ = self.emit(f"tp.compare {self.rng.choice(['lt', 'ge'])} {x[0]}, {y[0]} {{pin}} : ({t}, {t}) -> {self.type(x[1], 'i1')}",
                                  x[1], 1, "compare", self.dims(x[1]), keep=False)
        self.emit(f"tp.select {condition}, {x[0]}, {y[0]} {{pin}} : ({self.type(x[1], 'i1')}, {t}, {t}) -> {t}", x[1], max(x[2], y[2]), "select",
                  self.dims(x[1]))
        return True

    def reshape(self):
        name, shape, bound = self.pick()
        new = list(shape)
        if len(new) > 1 and self.rng.random() < 0.5:
            i = self.rng.randrange(len(new) - 1)
            new[i:i + 2] = [new[i] * new[i + 1]]
        else:
            places = [(i, d) for i, n in enumerate(new) for d in range(1, n + 1) if n % d == 0]
            if not places or len(new) > 4:
                return False
            i, d = self.rng.choice(places)
            new[i:i + 1] = [d, new[i] // d]
        self.emit(f"tp.reshape {name} {{pin}} : {self.type(shape)} to {self.type(new)}", new, bound, "reshape", {f"f{i}": LARGEST for i in range(len(new))})  # merged and split ones: the compiler knows their sizes
        return True

    def transpose(self):
        name, shape, bound = self.pick(lambda s: len(s) > 1) or (None, None, None)
        if name is None:
            return False
        order = list(range(len(shape)))
        self.rng.shuffle(order)
        new = [shape[i] for i in order]
        self.emit(f"tp.transpose {name} {order} {{pin}} : {self.type(shape)} to {self.type(new)}", new, bound, "transpose", self.dims(shape))
        return True

    def slice(self):
        name, shape, bound = self.pick()
        offsets, sizes, strides = [], [], []
        for n in shape:
            if self.rng.random() < 0.6:
                offset, stride = 0, 1
                size = n
            else:
                offset, stride = self.rng.randrange(n), self.rng.choice([1, 1, 2])
                size = self.rng.randrange(1, (n - offset + stride - 1) // stride + 1)
            offsets.append(offset), sizes.append(size), strides.append(stride)
        self.emit(f"tp.slice {name} {offsets} {sizes} {strides} {{pin}} : {self.type(shape)} to {self.type(sizes)}", sizes, bound, "slice",
                  self.dims(shape))
        return True

    def concat(self):
        x = self.pick(lambda s: len(s) > 0)
        dim = self.rng.randrange(len(x[1])) if x else 0
        y = x and self.pick(lambda s: len(s) == len(x[1]) and all(a == b for i, (a, b) in enumerate(zip(s, x[1])) if i != dim))
        if not y:
            return False
        new = list(x[1])
        new[dim] += y[1][dim]
        if np.prod(new) > LARGEST:
            return False
        self.emit(f"tp.concat {x[0]}, {y[0]} dim = {dim} {{pin}} : ({self.type(x[1])}, {self.type(y[1])}) -> {self.type(new)}", new,
                  max(x[2], y[2]), "concat", self.dims(new))
        return True

    def broadcast(self):
        x = self.pick(lambda s: 1 in s)
        if not x:
            return False
        new = [n if n != 1 or self.rng.random() < 0.4 else self.size() for n in x[1]]
        if np.prod(new) > LARGEST:
            return False
        self.emit(f"tp.broadcast {x[0]} {{pin}} : {self.type(x[1])} to {self.type(new)}", new, x[2], "broadcast", self.dims(new))
        return True

    def reduce(self):
        name, shape, bound = self.pick(lambda s: len(s) > 0) or (None, None, None)
        if name is None:
            return False
        dims = sorted(self.rng.sample(range(len(shape)), self.rng.randrange(1, min(2, len(shape)) + 1)))
        kind = "sum" if self.linear else self.rng.choice(["sum", "max", "min"])
        new = [1 if i in dims else n for i, n in enumerate(shape)]
        bound *= np.prod([shape[i] for i in dims])
        if self.linear and bound > EXACT:
            return False
        self.emit(f"tp.reduce {kind} {name} {dims} {{pin}} : {self.type(shape)} to {self.type(new)}", new, bound, "reduce", self.dims(shape))
        return True

    def take(self):
        x = self.pick(lambda s: len(s) > 1)
        if not x:
            return False
        dim = self.rng.randrange(len(x[1]))
        new = list(x[1])
        new[dim] = 1
        self.emit(f"tp.take {x[0]} dim = {dim} index = {self.rng.randrange(x[1][dim])} {{pin}} : {self.type(x[1])} to {self.type(new)}", new, x[2],
                  "take", self.dims(x[1]))
        return True

    def softmax(self):
        x = self.pick(lambda s: len(s) > 0)
        if self.linear or not x:
            return False
        dim = self.rng.randrange(len(x[1]))
        self.emit(f"tp.softmax {x[0]} dim = {dim} {{pin}} : {self.type(x[1])}", x[1], 1, "softmax", self.dims(x[1]))
        return True

    def norm(self):
        x = self.pick(lambda s: len(s) > 1 and s[-1] > 2)
        if self.linear or not x:
            return False
        n, t = (x[1][-1],), self.type(x[1])
        scale = self.weight(n)
        if self.rng.random() < 0.5:
            self.emit(f"tp.rms_norm {x[0]} scale {scale} eps = 1.0e-2 {{pin}} : ({t}, {self.type(n)}) -> {t}", x[1], 1, "rms_norm", self.dims(x[1]))
        else:
            bias = self.weight(n)
            self.emit(f"tp.layer_norm {x[0]} scale {scale} bias {bias} eps = 1.0e-2 {{pin}} : ({t}, {self.type(n)}, {self.type(n)}) -> {t}", x[1], 1,
                      "layer_norm", self.dims(x[1]))
        return True

    def embedding(self):
        if any(v.dtype == np.int64 for v in self.inputs.values()):
            return False
        vocabulary, width, shape = self.rng.choice([5, 8, 11, 13]), self.size(), (self.rng.choice([1, 2, 3]), self.size())
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.data.integers(0, vocabulary, shape)
        self.arguments.append(f'%{name}: {self.type(shape, "i64")} {{tp.name = "{name}", tp.range = array<i64: 0, {vocabulary}>}}')
        table = self.weight((vocabulary, width))
        self.emit(f"tp.embedding %{name}, {table} {{pin}} : ({self.type(shape, 'i64')}, {self.type((vocabulary, width))}) -> "
                  f"{self.type((*shape, width))}", (*shape, width), 3, "embedding", {"v": vocabulary, "h0": width, "i0": shape[0], "i1": shape[1]})
        return True

    def attention(self):
        x = self.pick(lambda s: len(s) == 3 and np.prod(s) < 400)
        if self.linear or not x:
            return False
        (b, s, k), heads, repeat, depth = x[1], self.rng.choice([1, 2, 3, 4, 5]), self.rng.choice([1, 2, 3]), self.rng.choice([2, 4])
        shapes = {"q": (heads, repeat, depth), "k": (heads, depth), "v": (heads, depth)}
        made = {}
        for role, shape in shapes.items():
            letters = "grd" if role == "q" else "gd"
            weight = self.weight((*shape, k))
            made[role], *_ = self.emit(f'tp.matmul "bsk,{letters}k->bs{letters}" {x[0]}, {weight} {{pin}} : ({self.type(x[1])}, '
                                       f"{self.type((*shape, k))}) -> {self.type((b, s, *shape))}", (b, s, *shape), 1, "matmul",
                                       dict(zip("bsk" + letters, (*x[1], *shape))),
                                       keep=False)
        if self.rng.random() < 0.5:
            rope = self.type((b, s, *shapes["q"]))
            table = self.type((s, depth // 2))
            tables = [self.weight((s, depth // 2)) for _ in range(2)]
            made["q"], *_ = self.emit(f"tp.rope {made['q']} cos {tables[0]} sin {tables[1]} interleaved = {self.rng.choice(['true', 'false'])} {{pin}} : "
                                      f"({rope}, {table}, {table}) -> {rope}", (b, s, *shapes["q"]), 1, "rope", dict(zip(("d0", "d1", "d2", "d3"), (b, s, heads, repeat))),
                                      keep=False)
        mask, mask_type = "", ""
        if self.rng.random() < 0.4:
            name = f"x{len(self.inputs)}"
            values = self.data.random((b, 1, s)) < 0.7
            values[..., 0] = True
            self.inputs[name] = values
            self.arguments.append(f'%{name}: {self.type((b, 1, s), "i1")} {{tp.name = "{name}"}}')
            mask, mask_type = f" mask %{name}", f", {self.type((b, 1, s), 'i1')}"
        q, kv = self.type((b, s, *shapes["q"])), self.type((b, s, *shapes["k"]))
        causal = self.rng.choice(["true", "false"])
        made["o"], *_ = self.emit(f"tp.attention {made['q']}, {made['k']}, {made['v']}{mask} scale = 0.5 causal = {causal} {{pin}} : ({q}, {kv}, {kv}"
                                  f"{mask_type}) -> {q}", (b, s, *shapes["q"]), 1, "attention", {"b": b, "g": heads, "r": repeat, "s": s},
                                  keep=False)
        weight = self.weight((k, *shapes["q"]))
        self.emit(f'tp.matmul "bsgrd,kgrd->bsk" {made["o"]}, {weight} {{pin}} : ({q}, {self.type((k, *shapes["q"]))}) -> {self.type(x[1])}', x[1], 1,
                  "matmul", dict(zip("bsgrdk", (b, s, *shapes["q"], k))))
        return True

    OPS = [matmul, matmul, matmul, batch_matmul, unary, positive, binary, binary, binary, select, reshape, transpose, slice, concat, broadcast, reduce, take,
           softmax, norm, embedding, attention]

    def build(self):
        for _ in range(self.rng.choice([1, 1, 2])):
            self.argument(tuple(self.size() for _ in range(self.rng.choice([2, 3, 3]))))
        target = len(self.lines) + self.rng.randrange(2, 12)
        for _ in range(100):
            if len(self.lines) >= target:
                break
            op = self.rng.choice(self.OPS)
            op(self)
            if not self.linear and self.values and self.values[-1][2] > 1e3:
                name, shape, _ = self.values[-1]
                self.emit(f"tp.unary tanh {name} {{pin}} : {self.type(shape)}", shape, 1, "unary", self.dims(shape))
        made = [v for v in self.values if v[0].startswith("%v")]
        if not made:
            self.unary()
            made = [self.values[-1]]
        outputs = [made[-1]] + self.rng.sample(made[:-1], min(len(made) - 1, self.rng.choice([0, 0, 1, 2])))
        self.outputs = [o for i, o in enumerate(outputs) if o not in outputs[:i]]
        return self

    def text(self, axes, pins, result_pins):
        results = ", ".join(f'{self.type(shape)} {{tp.name = "y{i}"{result_pins[i]}}}' for i, (_, shape, _) in enumerate(self.outputs))
        lines = [line.replace("{pin}", pins.get(i, "")).replace("  ", " ") for i, line in enumerate(self.lines)]
        body = "\n".join(lines)
        returned = ", ".join(name for name, *_ in self.outputs)
        types = ", ".join(self.type(shape) for _, shape, _ in self.outputs)
        return "\n".join([*self.globals, f"func.func @forward({', '.join(self.arguments)}) -> ({results}) {{", body, f"return {returned} : {types}", "}"])


MESHES = ["tp:2", "tp:3", "tp:4", "tp:4", "dp:2,tp:2", "dp:2,tp:2", "node:2,tp:3", "a:2,b:2,c:2"]


def random_pins(graph, rng, axes, ranks, share):
    pins = {}
    for line, sizes in graph.pinnable.items():
        factors = [f for f, n in sizes.items() if n >= ranks]
        if rng.random() >= share:
            continue
        taken = [a for a in axes if rng.random() < 0.85]
        if len(taken) >= 2 and factors and rng.random() < 0.5:  # Several axes on one dimension.
            rng.shuffle(taken)
            several = taken[:rng.randrange(2, len(taken) + 1)]
            axes_of = {rng.choice(factors): several}
            for axis in taken[len(several):]:
                axes_of.setdefault(rng.choice(factors), [axis])
            listed = [f'"{f}" = {{' + ", ".join(f'"{a}"' for a in chosen) + "}" for f, chosen in axes_of.items()]
            pins[line] = "{tp.strategy = #tp.strategy<" + ", ".join(listed) + ">}"
            continue
        chosen = rng.sample(factors, min(len(factors), len(taken)))
        listed = ", ".join(f'"{f}" = {{"{a}"}}' for f, a in zip(chosen, taken))
        pins[line] = "{tp.strategy = #tp.strategy<" + listed + ">}"
    return pins


def result_pin(shape, rng, axes):
    if rng.random() < 0.5:
        return ""
    dims = [[] for _ in shape]
    for axis in axes:
        if dims and rng.random() < 0.6:
            dims[rng.randrange(len(dims))].append(f'"{axis}"')
    return ", tp.sharding = #tp.sharding<[" + ", ".join("{" + ", ".join(d) + "}" for d in dims) + "]>"


class Failure(Exception):
    pass


class TooLarge(Exception):
    """The mesh has more ranks along an axis than any dimension of the graph has elements."""


def call(command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)


def compile_case(graph, rng, mesh, folder):
    """Compiles with pins; a pin that the op's rule refuses is taken back. Returns the text that was compiled."""
    axes = [part.partition(":")[0] for part in mesh.split(",")]
    ranks = int(np.prod([int(part.partition(":")[2]) for part in mesh.split(",")]))
    unpinned = rng.random() < 0.2
    pins = {} if unpinned else random_pins(graph, rng, axes, ranks, 0.75)
    result_pins = [result_pin(shape, rng, axes) for _, shape, _ in graph.outputs]
    memory = "shard" if unpinned and rng.random() < 0.5 else "none"
    first = len(graph.globals) + 1  # lines before the body
    for _ in range(60):
        text = graph.text(axes, pins, result_pins)
        (folder / "case.mlir").write_text(text)
        done = call([BUILD / "bin/tp-opt", folder / "case.mlir", f"--tp-compile=mesh={mesh} memory={memory}", "--emit=plan", "-o", folder / "case.plan"])
        if done.returncode == 0:
            return text, memory, len(pins)
        if re.search(r"the mesh axis \S+ of \d+ ranks cuts nothing", done.stderr):
            raise TooLarge
        refused = re.search(r"case\.mlir:(\d+):\d+: error: (.*)", done.stderr)
        if not refused or not re.search(r"not among its legal ones|illegal strategy|has no factor|pinned|pins|which no legal", refused[2]):
            raise Failure(f"tp-opt: {done.stderr[:2000]}")
        line = int(refused[1]) - 1 - first
        if line in pins:
            del pins[line]
        elif line == -1 and any(result_pins):
            result_pins = ["" for _ in result_pins]
        else:
            raise Failure(f"tp-opt: {done.stderr[:2000]}")
    raise Failure("pins do not settle")


def run_case(seed, folder):
    """Runs one case; returns what was covered. Raises Failure."""
    rng = random.Random(seed)
    graph = Graph(rng, linear=seed % 2 == 0).build()
    mesh = rng.choice(MESHES)
    safetensors.numpy.save_file(graph.weights or {"unused": np.zeros(1, np.float32)}, folder / "w.safetensors")
    for name, value in graph.inputs.items():
        np.save(folder / f"{name}.npy", value)
    for mesh in (mesh, "tp:2", "tp:1"):
        try:
            text, memory, pinned = compile_case(graph, rng, mesh, folder)
            break
        except TooLarge:
            continue
    arguments = [*(f"--input={name}=@{folder / name}.npy" for name in graph.inputs),
                 *(f"--output=y{i}=@{folder / f'y{i}.npy'}" for i in range(len(graph.outputs)))]
    inject = ["--inject=*:arena:poison", *([["--inject=*:capture:starve0"], ["--inject=*:capture:starve1"], []][seed % 3])]
    command = [BUILD / "bin/tp-run", folder / "case.plan", "--local-ranks", "--threads=1", "-q", f"--parameters={folder / 'w.safetensors'}",
               *inject, *arguments, f"--json={folder / 'report.json'}"]
    done = call(command)
    if done.returncode:
        raise Failure(f"tp-run exits {done.returncode}: {done.stderr[:2000]}\nmesh={mesh} memory={memory}")
    expected = interpret(text, graph.inputs, graph.weights)
    for i in range(len(graph.outputs)):
        found, wanted = np.load(folder / f"y{i}.npy"), expected[f"y{i}"]
        if found.shape != wanted.shape:
            raise Failure(f"y{i}: expected shape {wanted.shape}, found {found.shape}\nmesh={mesh} memory={memory}")
        if graph.linear:
            wrong = not np.array_equal(found.astype(np.float64), wanted)
        else:
            wrong = not np.all(np.abs(found - wanted) <= 1e-5 * max(1.0, np.abs(wanted).max(initial=0)))
        if wrong:
            error = np.abs(found - wanted)
            at = np.unravel_index(np.nanargmax(np.where(np.isnan(error), np.inf, error)), error.shape) if error.ndim else ()
            raise Failure(f"y{i} at {list(map(int, at))}: expected {wanted[at]}, found {found[at]} (linear: {graph.linear})\nmesh={mesh} memory={memory}")
    collectives = re.findall(r'"kind": "(\w+)"', (folder / "report.json").read_text())
    graph.kinds["pinned"] += pinned
    return graph.kinds, collections.Counter(collectives)


def run_cases(first, count, keep):
    """Runs cases on all cores; returns (kinds of ops, kinds of collectives, failures)."""
    kinds, collectives, failures = collections.Counter(), collections.Counter(), []

    def one(seed):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="tenon-case-"))
        try:
            return seed, run_case(seed, folder), None
        except Exception as failure:  # Whatever happens in a case belongs to its seed.
            target = keep / str(seed)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            return seed, None, f"{type(failure).__name__}: {failure}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for seed, covered, failure in pool.map(one, range(first, first + count)):
            if failure:
                failures.append((seed, failure))
            else:
                kinds += covered[0]
                collectives += covered[1]
    return kinds, collectives, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("equivalence-failures"))
    arguments = parser.parse_args()
    first, count = (arguments.only, 1) if arguments.only is not None else (arguments.first, arguments.count)
    kinds, collectives, failures = run_cases(first, count, arguments.keep)
    print("ops:", ", ".join(f"{k} {n}" for k, n in sorted(kinds.items())))
    print("collectives:", ", ".join(f"{k} {n}" for k, n in sorted(collectives.items())))
    for seed, failure in failures:
        print(f"case {seed}: {failure}\n  kept in {arguments.keep / str(seed)}; again: python test/Integration/equivalence.py --only {seed}")
    print(f"{count} cases, {len(failures)} mismatches")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
