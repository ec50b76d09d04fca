# SPDX-License-Identifier: Apache-2.0
"""Decides what all parts of the GPU check share: where things are, how a command runs, what a result is, how arrays are compared.

Everything here needs only Python 3.10 and, for arrays, numpy.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time
from typing import Any, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = 1
PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"


@dataclasses.dataclass
class Result:
    """One line of the report."""

    name: str
    status: str
    detail: str = ""
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def line(self) -> str:
        return f"{self.status:4}  {self.name:34} {self.seconds:6.1f} s  {self.detail}".rstrip()


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended. code is None when it outlived its deadline and was ended."""

    code: int | None
    output: str
    seconds: float

    def tail(self, lines: int = 3) -> str:
        """The last lines that say something: tp-run's own where there are any, for mpirun adds a page of its own."""
        kept = [line.strip() for line in self.output.splitlines() if line.strip(" -=")]
        own = [line for line in kept if "tp-run:" in line]
        return " | ".join((own or kept)[-lines:])[-600:]



def call(command: Sequence[Any], deadline: float, environment: Mapping[str, str] | None = None,
         cwd: pathlib.Path | None = None) -> Done:
    """Runs a command in a process group of its own, so that its children end with it."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", env=dict(environment) if environment else None, cwd=cwd, start_new_session=True)
    code: int | None
    try:
        output, _ = process.communicate(timeout=max(1.0, deadline))
        code = process.returncode
    except subprocess.TimeoutExpired:
        end_group(process)
        output, _ = process.communicate()
        code = None
    return Done(code, output, time.monotonic() - start)


def end_group(process: subprocess.Popen) -> None:
    """Ends a process that `call` or a caller started with a session of its own, with all its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: pathlib.Path, value: Any) -> None:
    """Under a temporary name first: another process may be reading."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


def load_floats(path: pathlib.Path):
    """An .npy file as f32. numpy knows bf16 only as two bytes; they are the upper half of an f32."""
    import numpy as np

    array = np.load(path)
    if array.dtype.itemsize == 2 and array.dtype.kind == "V":
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far an array is from its reference, both relative to the reference's root mean square."""

    rms: float
    largest: float
    finite: bool

    def within(self, limits: Mapping[str, float]) -> bool:
        return self.finite and self.rms <= limits["rms"] and self.largest <= limits["largest"]


def difference(found: pathlib.Path, expected: pathlib.Path) -> Difference:
    import numpy as np

    have, want = load_floats(found), load_floats(expected)
    if have.size != want.size:
        raise ValueError(f"{found.name}: expected {want.shape}, found {have.shape}")
    delta = have.reshape(-1).astype(np.float64) - want.reshape(-1).astype(np.float64)
    scale = float(np.sqrt(np.mean(np.square(want.astype(np.float64))))) or 1.0
    finite = bool(np.isfinite(have).all())
    return Difference(float(np.sqrt(np.mean(delta**2))) / scale, float(np.abs(delta).max()) / scale, finite)
