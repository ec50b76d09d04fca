# SPDX-License-Identifier: Apache-2.0
"""Which degree of tensor parallelism? Compiles an exported model for several and compares what the cost model says of them.

Times are predictions for one step of each entry (docs/CostModel.md). An entry for sequences of one token stands for a decoding step; its
attention sees that token alone, as plans hold no KV cache.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
from typing import Any, Sequence

from rich.console import Console
from rich.table import Table

from tenon import plans, toolchain
from tenon.errors import ToolError, UsageError

# What the runtime, the communication library and the allocator keep of a device's memory for themselves.
RESERVED = 0.1
# More ranks are worth it while the added ones bring at least this share of what they would without communication.
WORTH = 0.5


@dataclasses.dataclass(frozen=True)
class Step:
    """One entry at one degree; times in microseconds, bytes that a rank sends."""

    name: str
    tokens: int
    predicted: float
    compute: float
    communication: float
    bytes_sent: int
    collectives: int
    arena: int

    @property
    def exposed(self) -> float:
        """Communication that no computation hides."""
        return max(0.0, self.predicted - self.compute)


@dataclasses.dataclass(frozen=True)
class Degree:
    """A compiled degree: bytes per rank, and one Step per entry."""

    ranks: int
    mesh: str
    weights: int
    unsharded: int
    steps: tuple[Step, ...]

    @property
    def bytes_per_rank(self) -> int:
        return self.weights + max(s.arena for s in self.steps)

    def step(self, name: str) -> Step:
        return next(s for s in self.steps if s.name == name)


def machine_memory(machine: str) -> float:
    """Bytes of one device of a machine, by its name or file."""
    return float(json.loads(toolchain.call([toolchain.find("tp-opt"), f"--print-machine={machine}"], 30).stdout)["memory_bytes"])


def _step(entry: dict[str, Any]) -> Step:
    ops = entry["ops"]
    tokens = max((p["shape"][-1] for p in entry["inputs"] if p["shape"]), default=1)
    collectives = [o for o in ops if "kind" in o]
    return Step(entry["name"], tokens, entry["predicted_us"], sum(o["predicted_us"] for o in ops if o["stream"] == 0),
                sum(o["predicted_us"] for o in collectives), sum(o["bytes"] for o in collectives), len(collectives), entry["arena_bytes"])


def degree_of(content: dict[str, Any], mesh: str) -> Degree:
    """What a plan, as tp-opt --to-json prints it, says about its degree."""
    return Degree(content["ranks"], mesh, content["weights_bytes_per_rank"], content["weights_bytes_unsharded"],
                  tuple(_step(e) for e in content["entries"]))


def compile_degree(directory: pathlib.Path, mesh: str, options: dict[str, Any]) -> Degree:
    """Compiles for one mesh in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="tenon-") as folder:
        plan = pathlib.Path(folder) / "model.plan"
        toolchain.call(plans.compile_command(directory, plan, mesh, options), plans.DEADLINE)
        return degree_of(json.loads(toolchain.call([toolchain.find("tp-opt"), str(plan), "--to-json"], plans.DEADLINE).stdout), mesh)


def prefill_of(degree: Degree) -> Step:
    """The entry with the most tokens."""
    return max(degree.steps, key=lambda s: s.tokens)


def efficiency(base: Degree, degree: Degree, name: str) -> float:
    """Speedup over `base` per rank that is more: 1 is linear."""
    return base.step(name).predicted * base.ranks / (degree.step(name).predicted * degree.ranks)


def recommend(fitting: Sequence[Degree]) -> tuple[Degree, str]:
    """The degree to take among those that fit, and why: from the smallest on, while the added ranks are worth it."""
    ordered = sorted(fitting, key=lambda d: d.ranks)
    chosen = ordered[0]
    for candidate in ordered[1:]:
        name = prefill_of(chosen).name
        before, after = chosen.step(name), candidate.step(name)
        gain = (before.predicted / after.predicted - 1) / (candidate.ranks / chosen.ranks - 1)
        if gain < WORTH:
            share = after.exposed / after.predicted
            return chosen, (f"from {chosen.ranks} to {candidate.ranks} ranks the step gets only {before.predicted / after.predicted:.2f} x as fast "
                            f"({share:.0%} of it would be exposed communication)")
        chosen = candidate
    return chosen, "the added ranks are worth it up to here" if len(ordered) > 1 else "no other degree of these fits"


def advise(directory: pathlib.Path, meshes: Sequence[str], machine: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Compares meshes; the result is what `tenon advise --json` writes. A mesh that cannot be compiled says why."""
    plans.read_manifest(directory)
    capacity = machine_memory(machine) * (1 - RESERVED)
    compiled: list[Degree] = []
    failed: dict[str, str] = {}
    for mesh in meshes:
        try:
            compiled.append(compile_degree(directory, mesh, {**(options or {}), "machine": machine}))
        except ToolError as error:
            failed[mesh] = str(error)
    if not compiled:
        raise UsageError("no degree could be compiled: " + "; ".join(f"{m}: {why}" for m, why in failed.items()))
    compiled.sort(key=lambda d: d.ranks)
    fitting = [d for d in compiled if d.bytes_per_rank <= capacity]
    rows = []
    for degree in compiled:
        rows.append({
            "mesh": degree.mesh, "ranks": degree.ranks, "fits": degree in fitting, "weights_bytes": degree.weights,
            "bytes_per_rank": degree.bytes_per_rank,
            "entries": [{"name": s.name, "tokens": s.tokens, "predicted_us": s.predicted, "communication_us": s.communication,
                         "exposed_us": s.exposed, "collectives": s.collectives, "bytes_sent": s.bytes_sent,
                         "efficiency": efficiency(compiled[0], degree, s.name)} for s in degree.steps],
        })
    result: dict[str, Any] = {"schema": 1, "machine": machine, "usable_bytes": capacity, "weights_bytes_unsharded": compiled[0].unsharded,
                              "degrees": rows, "failed": failed, "recommended": None}
    if fitting:
        chosen, why = recommend(fitting)
        name = prefill_of(chosen).name
        fastest = min(fitting, key=lambda d: d.step(name).predicted)
        result["recommended"] = {"mesh": chosen.mesh, "ranks": chosen.ranks, "why": why, "fastest": fastest.mesh}
    else:
        least = min(compiled, key=lambda d: d.bytes_per_rank)
        result["why_none"] = (f"{least.mesh} needs {least.bytes_per_rank / 2**30:.1f} GiB per rank, {machine} has "
                              f"{capacity / 2**30:.1f} GiB to use; ask for more ranks or a smaller type")
    return result


def print_advice(result: dict[str, Any], console: Console) -> None:
    entries = [e["name"] for e in result["degrees"][0]["entries"]]
    for name in entries:
        tokens = next(e["tokens"] for e in result["degrees"][0]["entries"] if e["name"] == name)
        what = "one token" if tokens == 1 else f"{tokens} tokens"
        table = Table("mesh", "ranks", "fits", "GiB per rank", "step ms", "communication ms", "exposed ms", "collectives", "MiB sent", "efficiency",
                      title=f"{name}: {what} on {result['machine']}")
        for row in result["degrees"]:
            e = next(e for e in row["entries"] if e["name"] == name)
            table.add_row(row["mesh"], str(row["ranks"]), "yes" if row["fits"] else "no", f"{row['bytes_per_rank'] / 2**30:.2f}",
                          f"{e['predicted_us'] * 1e-3:.3f}", f"{e['communication_us'] * 1e-3:.3f}", f"{e['exposed_us'] * 1e-3:.3f}",
                          str(e["collectives"]), f"{e['bytes_sent'] / 2**20:.2f}", f"{e['efficiency']:.0%}")
        console.print(table)
    for mesh, why in result["failed"].items():
        console.print(f"{mesh}: {why}", markup=False)
    chosen = result["recommended"]
    if chosen:
        console.print(f"recommended: {chosen['mesh']}: {chosen['why']}" +
                      ("" if chosen["fastest"] == chosen["mesh"] else f"; the fastest of those that fit is {chosen['fastest']}"), markup=False)
    else:
        console.print(f"none fits: {result['why_none']}", markup=False)
