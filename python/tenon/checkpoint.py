# SPDX-License-Identifier: Apache-2.0
"""Which tensors a checkpoint holds, and which of them a module's parameter is.

Reads safetensors headers only, never data. Resolves a parameter name to the one key that stands in the files: the source of a
tied name first, then the name itself, then the name with the model's base prefix added or removed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import pathlib
import struct

import ml_dtypes
import numpy as np

from tenon.errors import ExportError, UsageError

# The limit of the format's own implementation; a longer header is not a safetensors file.
HEADER_LIMIT = 100 << 20

# safetensors dtype -> MLIR element type; what is missing here cannot be a weight.
ELEMENT_OF = {"F32": "f32", "BF16": "bf16", "F16": "f16", "I64": "i64", "I32": "i32", "BOOL": "i1"}

NUMPY_OF = {"F32": np.float32, "BF16": ml_dtypes.bfloat16, "F16": np.float16, "I64": np.int64, "I32": np.int32, "BOOL": np.bool_,
            "F64": np.float64, "I16": np.int16, "I8": np.int8, "U8": np.uint8}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor in a file: its shape, its safetensors dtype, and the file."""

    shape: tuple[int, ...]
    dtype: str
    file: str

    @property
    def element(self) -> str | None:
        return ELEMENT_OF.get(self.dtype)


def read_header(path: pathlib.Path) -> dict[str, Stored]:
    """The tensors of one safetensors file, by key."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        start = f.read(8)
        if len(start) != 8:
            raise UsageError(f"{path}: expected a safetensors file, found {size} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_LIMIT or 8 + length > size:
            raise UsageError(f"{path}: the header is said to be {length} bytes long, the file has {size}")
        try:
            header = json.loads(f.read(length))
        except ValueError as error:
            raise UsageError(f"{path}: the header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise UsageError(f"{path}: expected a header of tensors by key, found {type(header).__name__}")
    return {key: read_entry(path, key, entry, size - 8 - length) for key, entry in header.items() if key != "__metadata__"}


def read_entry(path: pathlib.Path, key: str, entry: object, data_bytes: int) -> Stored:
    """One tensor of a header, checked: its place lies in the data and has as many bytes as its shape and type need."""
    try:
        begin, end = (operator.index(offset) for offset in entry["data_offsets"])
        shape, dtype = tuple(operator.index(size) for size in entry["shape"]), str(entry["dtype"])
    except (TypeError, KeyError, ValueError):
        raise UsageError(f"{path}: {key}: expected dtype, shape and data_offsets, found {entry}") from None
    if not 0 <= begin <= end <= data_bytes or any(size < 0 for size in shape):
        raise UsageError(f"{path}: {key} lies at bytes {begin} to {end}, the file has {data_bytes} bytes of data")
    if dtype in NUMPY_OF and math.prod(shape) * np.dtype(NUMPY_OF[dtype]).itemsize != end - begin:
        raise UsageError(f"{path}: {key} is {dtype} {list(shape)}, its place has {end - begin} bytes")
    return Stored(shape, dtype, path.name)


def read_checkpoint(directory: pathlib.Path) -> dict[str, Stored] | None:
    """All tensors of a Hugging Face directory, or None when it holds no weights."""
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.exists():
        return read_header(single)
    if index.exists():
        try:
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{index}: expected JSON with a weight_map of keys to files") from None
        tensors: dict[str, Stored] = {}
        for name in files:
            if not (directory / name).exists():
                raise UsageError(f"{index}: names {name}, which does not exist")
            for key, stored in read_header(directory / name).items():
                if key in tensors:
                    raise UsageError(f"{key} stands in {tensors[key].file} and in {name}")
                tensors[key] = stored
        return tensors
    others = [p.name for p in sorted(directory.glob("*.bin"))]
    if others:
        raise UsageError(f"{directory}: expected model.safetensors or model.safetensors.index.json, found {', '.join(others)}; "
                         "convert the weights with save_pretrained(safe_serialization=True)")
    return None


class KeyResolver:
    """Maps names of parameters and persistent buffers to checkpoint keys.

    `tied` maps a tied name to its source (`{"lm_head.weight": "transformer.wte.weight"}`); `prefix` is the model's
    base_model_prefix; `renamed` maps names of today to keys that older checkpoints have. With `tensors` None (a config alone) a name is its own key, tied ones resolved.
    """

    def __init__(self, tensors: dict[str, Stored] | None, tied: dict[str, str], prefix: str, renamed: dict[str, str] | None = None):
        self._tensors = tensors
        self._renamed = renamed or {}
        self._tied = tied
        self._prefix = prefix + "." if prefix else ""

    def source(self, name: str) -> str:
        seen = set()
        while name in self._tied and name not in seen:
            seen.add(name)
            name = self._tied[name]
        return name

    def group(self, name: str) -> list[str]:
        """The source of `name`, then every name tied to it."""
        source = self.source(name)
        return [source] + sorted(n for n in self._tied if self.source(n) == source and n != source)

    def _found(self, candidate: str) -> list[str]:
        """The keys of the checkpoint that the name may stand for; itself before all others."""
        if candidate in self._tensors:
            return [candidate]
        spellings = [candidate]
        if self._prefix:
            spellings.append(self._prefix + candidate)
            if candidate.startswith(self._prefix):
                spellings.append(candidate[len(self._prefix):])
        spellings += [self._renamed[s] for s in spellings if s in self._renamed]
        return [s for s in spellings if s in self._tensors]

    def absent(self, name: str) -> bool:
        """True when a checkpoint was given and no key of it fits."""
        return self._tensors is not None and not any(self._found(candidate) for candidate in self.group(name))

    def resolve(self, name: str, shape: tuple[int, ...]) -> tuple[str, Stored | None]:
        if self._tensors is None:
            return self.source(name), None
        for candidate in self.group(name):
            found = self._found(candidate)
            if len(found) > 1:
                raise ExportError(f"{name}: expected one key in the checkpoint, found {' and '.join(found)}")
            if found:
                stored = self._tensors[found[0]]
                if stored.shape != tuple(shape):
                    raise ExportError(f"{found[0]} in {stored.file}: expected shape {list(shape)}, found {list(stored.shape)}")
                if stored.element is None:
                    raise ExportError(f"{found[0]} in {stored.file}: dtype {stored.dtype} is not supported, expected one of "
                                      f"{', '.join(ELEMENT_OF)}")
                return found[0], stored
        raise ExportError(f"{name}: no key of the checkpoint fits (tried {', '.join(self.group(name))}, with and without the "
                          f"prefix {self._prefix or '(none)'})")


def load_tensors(*directories: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Maps every tensor of the safetensors files in these directories, by key; the first directory wins."""
    found: dict[str, np.ndarray] = {}
    for directory in directories:
        for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
            with open(path, "rb") as f:
                (length,) = struct.unpack("<Q", f.read(8))
                header = json.loads(f.read(length))
            data = np.memmap(path, mode="r", offset=8 + length) if path.stat().st_size > 8 + length else np.zeros(0, np.uint8)
            for key, entry in header.items():
                if key != "__metadata__":
                    begin, end = entry["data_offsets"]
                    found.setdefault(key, data[begin:end].view(NUMPY_OF[entry["dtype"]]).reshape(entry["shape"]))
    return found
