# SPDX-License-Identifier: Apache-2.0
"""Compares two value dumps of tp-run (`--dump-values=DIR`): which op is the first whose value differs.

A dump is a folder with index.json, a list of {op, name, location, rank, file, shape, dtype} in execution order, and one .npy file per
value. Values are matched by op, name and rank; what stands in one dump only is counted, not judged.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from tenon.errors import UsageError


@dataclasses.dataclass
class Difference:
    """One pair of values: the largest error and where it is; `shapes` when they cannot be compared."""

    entry: dict[str, Any]
    error: float
    index: tuple[int, ...]
    values: tuple[float, float]
    differs: bool
    shapes: tuple[list[int], list[int]] | None = None


@dataclasses.dataclass
class Comparison:
    compared: list[Difference]
    only_first: list[dict[str, Any]]
    only_second: list[dict[str, Any]]

    @property
    def first(self) -> Difference | None:
        return next((d for d in self.compared if d.differs), None)


def read_index(folder: pathlib.Path) -> list[dict[str, Any]]:
    try:
        index = json.loads((folder / "index.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"expected a value dump with index.json in {folder}: {error}") from None
    entries = index.get("values") if isinstance(index, dict) else index
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{folder / 'index.json'}: expected a list of values")
    for entry in entries:
        missing = {"op", "name", "rank", "file"} - set(entry)
        if missing:
            raise UsageError(f"{folder / 'index.json'}: an entry lacks {', '.join(sorted(missing))}")
    return entries


def read_value(folder: pathlib.Path, entry: dict[str, Any]) -> np.ndarray:
    try:
        array = np.load(folder / entry["file"])
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{folder / entry['file']}: cannot read this value: {error}") from None
    if entry.get("dtype") == "bf16" and array.dtype.itemsize == 2:
        array = array.view(ml_dtypes.bfloat16)
    return array


def compare(first: pathlib.Path, second: pathlib.Path, rtol: float = 1e-4, atol: float = 1e-6) -> Comparison:
    """Compares in the first dump's order. A NaN in one dump only is a difference."""
    keyed: dict[tuple, dict[str, Any]] = {}
    for key, entry in _keys(read_index(second)):
        keyed[key] = entry
    compared, only_first = [], []
    for key, entry in _keys(read_index(first)):
        other = keyed.pop(key, None)
        if other is None:
            only_first.append(entry)
            continue
        compared.append(_difference(entry, read_value(first, entry), read_value(second, other), rtol, atol))
    return Comparison(compared, only_first, list(keyed.values()))


def _keys(entries: list[dict[str, Any]]):
    """Pairs of (op, name, rank, how many of that before) and entry."""
    count: dict[tuple, int] = {}
    for entry in entries:
        key = (entry["op"], entry["name"], entry["rank"])
        count[key] = count.get(key, -1) + 1
        yield (*key, count[key]), entry


def _difference(entry: dict[str, Any], a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> Difference:
    if a.shape != b.shape:
        return Difference(entry, float("inf"), (), (0.0, 0.0), True, (list(a.shape), list(b.shape)))
    if a.size == 0:
        return Difference(entry, 0.0, (), (0.0, 0.0), False)
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    error = np.where(np.isnan(error), np.inf, error)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
    bad = error > atol + rtol * np.abs(np.where(np.isfinite(y), y, 0))
    return Difference(entry, float(error[index]), index, (float(x[index]), float(y[index])), bool(bad.any()))
