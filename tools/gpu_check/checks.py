# SPDX-License-Identifier: Apache-2.0
"""Decides what is right: each check runs tp-run on the GPU and returns PASS, FAIL or SKIP with its numbers.

Equality is measured against outputs that the CPU device made when the bundle was prepared, with the limits that the manifest derives;
everything about bits compares the output files byte by byte.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil
from typing import Any, Callable

import build
import common
from common import FAIL, PASS, SKIP, Result


@dataclasses.dataclass
class Context:
    """Where a check finds what it needs."""

    bundle: pathlib.Path
    work: pathlib.Path
    manifest: dict[str, Any]
    environment: dict[str, str]
    weights: pathlib.Path

    @property
    def tp_run(self) -> pathlib.Path:
        return self.work / "build/bin/tp-run"

    def case(self, name: str) -> dict[str, Any]:
        return next(case for case in self.manifest["equality"] if case["name"] == name)

    def command(self, case: dict[str, Any], tp: int, output: pathlib.Path | None, *options: str) -> list[Any]:
        folder = self.bundle / case["folder"]
        files = ",".join(str(folder / name) for name in ("constants.safetensors", "norms.safetensors"))
        command: list[Any] = [*(build.mpirun(tp) if tp > 1 else []), self.tp_run, folder / case["plans"][str(tp)], "--device=cuda",
                              f"--random-weights={self.manifest['seed']}", f"--parameters={files}"]
        command += [f"--input={name}=@{folder / file}" for name, file in case["inputs"].items()]
        if tp > 1:
            command.append("--oversubscribe-gpu")
        if output:
            command.append(f"--output={case['output']}=@{output}")
        return [*command, *options]

    def run(self, case: dict[str, Any], tp: int, output: pathlib.Path | None, *options: str, deadline: float = 60) -> common.Done:
        if output:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.unlink(missing_ok=True)
        return common.call(self.command(case, tp, output, *options), deadline, self.environment)

    def output(self, label: str) -> pathlib.Path:
        return self.work / "outputs" / f"{label}.npy"

    def first_output(self, case: dict[str, Any], tp: int) -> tuple[pathlib.Path, str]:
        """The output of one step without a graph: of an earlier check, else made now; and what went wrong."""
        path = self.output(f"{case['name']}-tp{tp}")
        if not path.exists():
            done = self.run(case, tp, path, "--graph=off", *(["--collectives=nccl"] if tp > 1 else []))
            if done.code != 0:
                return path, ended(done)
        return path, ""


def ended(done: common.Done) -> str:
    return f"{'no end' if done.code is None else f'exit {done.code}'}: {done.tail()}"


def equality(context: Context, case_name: str, tp: int = 1, label: str = "", options: tuple[str, ...] = ()) -> Result:
    case = context.case(case_name)
    path = context.output(label or f"{case_name}-tp{tp}")
    done = context.run(case, tp, path, "--graph=off", *options)
    if done.code != 0:
        return Result("", FAIL, ended(done))
    found = common.difference(path, context.bundle / case["folder"] / case["expected"])
    limits = case["limits"][str(tp)]
    numbers = {"rms": found.rms, "largest": found.largest, "finite": found.finite, "limits": limits, "reference": case["reference"]}
    return Result("", PASS if found.within(limits) else FAIL,
                  f"rms {found.rms:.1e} of {limits['rms']:.1e}, largest {found.largest:.1e} of {limits['largest']:.1e}", numbers)


def tf32(context: Context) -> Result:
    """TF32 rounds operands to 11 bits: within its own limit, and other bits than without it."""
    case = context.case("llama-f32")
    exact, wrong = context.first_output(case, 1)
    if wrong:
        return Result("", FAIL, wrong)
    path = context.output("llama-f32-tf32")
    done = context.run(case, 1, path, "--graph=off", "--tf32")
    if done.code != 0:
        return Result("", FAIL, ended(done))
    found = common.difference(path, context.bundle / case["folder"] / case["expected"])
    # Two rounded operands in each of six matmuls of four layers.
    limit = (2 * 6 * 4) ** 0.5 * 2.0**-11
    other = path.read_bytes() != exact.read_bytes()
    return Result("", PASS if found.finite and found.rms <= limit else FAIL,
                  f"rms {found.rms:.1e} of {limit:.1e}; {'other' if other else 'the same'} bits as without",
                  {"rms": found.rms, "limit": limit, "other_bits": other})


def graph_bits(context: Context, case_name: str, tp: int) -> Result:
    case = context.case(case_name)
    collectives = ["--collectives=nccl"] if tp > 1 else []
    first, wrong = context.first_output(case, tp)
    if wrong:
        return Result("", FAIL, wrong)
    path = context.output(f"{case_name}-tp{tp}-graph")
    done = context.run(case, tp, path, "--graph=on", "--iters=4", *collectives)
    if done.code != 0:
        return Result("", FAIL, ended(done))
    if "uncaptured" in done.output:
        return Result("", FAIL, f"no graph was made: {done.tail()}")
    return same(first, path, "with a graph and without")


def same(first: pathlib.Path, second: pathlib.Path, what: str) -> Result:
    if first.read_bytes() == second.read_bytes():
        return Result("", PASS, f"equal bits {what}")
    delta = common.difference(second, first)
    return Result("", FAIL, f"bits differ {what}: rms {delta.rms:.1e}, largest {delta.largest:.1e}", {"rms": delta.rms, "largest": delta.largest})


def determinism(context: Context, case_name: str, tp: int) -> Result:
    case = context.case(case_name)
    first, wrong = context.first_output(case, tp)
    if wrong:
        return Result("", FAIL, wrong)
    for turn in (2, 3):
        path = context.output(f"{case_name}-tp{tp}-run{turn}")
        done = context.run(case, tp, path, "--graph=off", *(["--collectives=nccl"] if tp > 1 else []))
        if done.code != 0:
            return Result("", FAIL, ended(done))
        result = same(first, path, f"in run 1 and {turn}")
        if result.status != PASS:
            return result
    return Result("", PASS, "equal bits in 3 runs")


DEADLINE, GRACE = 8.0, 12.0


def hang(context: Context, point: str, graph: str) -> Result:
    """Rank 1 stops coming; the run must end with 6 between the deadline and a grace for starting and ending."""
    case = context.case("llama-bf16")
    normal = context.run(case, 2, None, f"--graph={graph}", "--iters=6", "--collectives=nccl")
    if normal.code != 0:
        return Result("", FAIL, f"without a fault: {ended(normal)}")
    done = context.run(case, 2, None, f"--graph={graph}", "--iters=6", "--collectives=nccl", f"--inject=1:{point}:sleep",
                       f"--timeout={DEADLINE:g}", deadline=normal.seconds + DEADLINE + 3 * GRACE)
    numbers = {"normal_s": normal.seconds, "hung_s": done.seconds, "timeout_s": DEADLINE, "code": done.code}
    if done.code is None:
        return Result("", FAIL, "the run did not end", numbers)
    late = done.seconds - normal.seconds - DEADLINE
    fine = done.code == 6 and late <= GRACE
    text = f"exit {done.code} {late:+.1f} s from the deadline of {DEADLINE:g} s"
    return Result("", PASS if fine else FAIL, text if fine else f"{text}: {done.tail()}", numbers)


def sanitizer(context: Context, case_name: str, tool: str) -> Result:
    folders = [context.environment["PATH"], "/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]
    program = shutil.which("compute-sanitizer", path=":".join(folders))
    if not program:
        return Result("", SKIP, "no compute-sanitizer here")
    case = context.case(case_name)
    command = [program, f"--tool={tool}", "--error-exitcode=99", "--print-limit=5",
               *context.command(case, 1, None, "--graph=off", "--timeout=300")]
    done = common.call(command, 150, context.environment)
    if done.code not in (0, 99) and re.search("not supported|failed to initialize", done.output, re.IGNORECASE):
        return Result("", SKIP, f"compute-sanitizer refuses this machine: {done.tail(2)}")
    if done.code is None:
        return Result("", SKIP, "took longer than 150 s")
    summary = next((line.strip("= ") for line in reversed(done.output.splitlines()) if "SUMMARY" in line), done.tail(2))
    return Result("", PASS if done.code == 0 else FAIL, f"exit {done.code}: {summary}")


def checks() -> dict[str, Callable[[Context], Result]]:
    """All of them in the order in which they run."""
    table: dict[str, Callable[[Context], Result]] = {}
    for model in ("minilm", "gpt2", "llama"):
        for dtype in ("f32", "bf16"):
            table[f"equal-{model}-{dtype}"] = lambda c, n=f"{model}-{dtype}": equality(c, n)
    table["equal-llama-tf32"] = tf32
    nccl = ("--collectives=nccl",)
    for tp, names in ((2, ("minilm-f32", "gpt2-bf16", "llama-f32", "llama-bf16")),
                      (4, ("minilm-bf16", "llama-f32", "llama-bf16", "llama-uneven-f32"))):
        for name in names:
            table[f"ranks-{tp}-{name}"] = lambda c, n=name, t=tp: equality(c, n, t, options=nccl)
    table["ranks-2-llama-bf16-f32-sums"] = lambda c: equality(c, "llama-bf16", 2, "llama-bf16-f32-sums", (*nccl, "--reduce-dtype=f32"))
    table["ranks-2-llama-f32-host"] = lambda c: equality(c, "llama-f32", 2, "llama-f32-host", ("--collectives=host",))
    for model in ("minilm", "gpt2", "llama"):
        for dtype in ("f32", "bf16"):
            table[f"graph-{model}-{dtype}"] = lambda c, n=f"{model}-{dtype}": graph_bits(c, n, 1)
    table["graph-2-llama-bf16"] = lambda c: graph_bits(c, "llama-bf16", 2)
    for name in ("minilm-f32", "gpt2-bf16", "llama-bf16"):
        table[f"determinism-{name}"] = lambda c, n=name: determinism(c, n, 1)
    table["determinism-2-llama-bf16"] = lambda c: determinism(c, "llama-bf16", 2)
    table["hang-in-a-collective"] = lambda c: hang(c, "op=collective0@3", "off")
    table["hang-under-graph"] = lambda c: hang(c, "step=4", "on")
    return table


def late_checks() -> dict[str, Callable[[Context], Result]]:
    """After the speed figures, because they are slow and say least."""
    return {"sanitizer-memcheck-llama-bf16": lambda c: sanitizer(c, "llama-bf16", "memcheck"),
            "sanitizer-memcheck-minilm-f32": lambda c: sanitizer(c, "minilm-f32", "memcheck"),
            "sanitizer-racecheck-llama-bf16": lambda c: sanitizer(c, "llama-bf16", "racecheck")}
