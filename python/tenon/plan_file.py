# SPDX-License-Identifier: Apache-2.0
"""What a plan file says about itself, as tp-opt --to-json prints it, and the views that `explain`, `diff` and `report` share.

Layers that differ in nothing but numbers and have the same rows are shown once: model.layers.* (x32).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import pathlib
import re
from typing import Any, Hashable, Iterable

from tenon import toolchain
from tenon.errors import UsageError

DEADLINE = 120.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One choice (op, weight or result) or one collective of a layer; `key` tells equal rows of repeated layers."""

    layer: str
    key: Hashable
    content: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Equal rows of layers that differ in their numbers only."""

    pattern: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return self.pattern + (f" (x{len(self.rows)})" if len(self.rows) > 1 else "")


def pattern_of(layer: str) -> str:
    """model.layers.3.mlp -> model.layers.*.mlp; also where names stand in a text."""
    return re.sub(r"(?<=\.)\d+(?=[. ]|$)", "*", layer)


def grouped(rows: Iterable[Row]) -> list[Repeated]:
    """Rows of equal pattern and key together, in the order of their first appearance. A pattern with one row keeps its name."""
    groups: dict[tuple[str, Hashable], list[Row]] = {}
    for row in rows:
        groups.setdefault((pattern_of(row.layer), row.key), []).append(row)
    return [Repeated(pattern if len({r.layer for r in found}) > 1 else found[0].layer, tuple(found)) for (pattern, _), found in groups.items()]


class PlanFile:
    """A plan as JSON; see include/tenon/Target/PlanJson.h for its members."""

    def __init__(self, content: dict[str, Any], path: str = ""):
        self.content = content
        self.path = path

    @staticmethod
    def read(path: str | os.PathLike) -> "PlanFile":
        """Raises UsageError where there is no file, ToolError where it is not an acceptable plan."""
        if not pathlib.Path(path).is_file():
            raise UsageError(f"expected a plan file, found no file {path}")
        done = toolchain.call([toolchain.find("tp-opt"), str(path), "--to-json"], DEADLINE)
        return PlanFile(json.loads(done.stdout), str(path))

    @property
    def mesh(self) -> str:
        return " x ".join(f"{a['name']}:{a['size']}" for a in self.content["mesh"])

    @property
    def entries(self) -> list[dict[str, Any]]:
        return self.content["entries"]

    def entry(self, name: str | None) -> dict[str, Any]:
        """The entry of this name; the first one for None."""
        names = [e["name"] for e in self.entries]
        if name is not None and name not in names:
            raise UsageError(f"expected an entry among {', '.join(names)}, found {name}")
        return self.entries[names.index(name) if name else 0]

    def choices(self, entry: str | None = None) -> list[Row]:
        """Choices of an entry (None: all) and of the weights, which all entries share."""
        found = [c for c in self.content["choices"] if isinstance(c, dict)] if isinstance(self.content["choices"], list) else []
        return [Row(c["layer"], (c["what"], c["choice"], c.get("role"), c.get("runner_up"), c.get("note")), c)
                for c in found if entry is None or c.get("entry", entry) == entry]

    @staticmethod
    def collectives(entry: dict[str, Any]) -> list[Row]:
        return [Row(op["layer"], (op["kind"], tuple(op["axes"]), op["bytes"], pattern_of(op["cause"])), {**op, "op": i})
                for i, op in enumerate(entry["ops"]) if "kind" in op]

    def rows_named(self, layer: str, entry: dict[str, Any]) -> tuple[list[Row], list[Row]]:
        """Choices and collectives of a layer: by its whole name, by its end from a dot on, or by a pattern with *; what lies below
        a layer belongs to it, and a collective also to the layers that its cause names."""
        def named(text: str) -> bool:
            ends = [text] + [text[i + 1:] for i, c in enumerate(text) if c == "."]
            return any(fnmatch.fnmatchcase(end, layer) or fnmatch.fnmatchcase(end, f"{layer}.*") for end in ends)

        choices = [r for r in self.choices(entry["name"]) if named(r.layer)]
        collectives = [r for r in self.collectives(entry)
                       if named(r.layer) or any(named(m) for m in re.findall(r"([\w.]+) \(", r.content["cause"]))]
        return choices, collectives

    def layers(self, entry: dict[str, Any]) -> list[str]:
        names = dict.fromkeys(r.layer for r in self.choices(entry["name"]) if r.layer)
        return [*names, *(n for n in dict.fromkeys(op["layer"] for op in entry["ops"]) if n and n not in names)]

    def peak_bytes(self, entry: dict[str, Any]) -> int:
        """Weights and arena of a rank."""
        return self.content["weights_bytes_per_rank"] + entry["arena_bytes"]

    def certificate(self) -> str:
        """The certificate in a sentence or two."""
        c = self.content["certificate"]
        if not isinstance(c, dict) or "objective_s" not in c:
            return str(c) or "the plan holds no certificate"
        gap = c["gap"]
        text = f"objective {c['objective_s'] * 1e6:.2f} us, proven lower bound {c['bound_s'] * 1e6:.2f} us ({c['method']}); "
        text += "no choice" + (" that keeps the pins" if "pinned_by" in c else "") + " is better" if gap == 0 else f"at most {gap:.2%} above the best"
        text += f", within: {c['covers']}."
        if "free_objective_s" in c:
            gain = c["objective_s"] / c["free_objective_s"] - 1
            bytes_more = c["weights_bytes"] - c["free_weights_bytes"]
            text += f" Pinned by {c['pinned_by']}: the solver's own choice takes {c['free_objective_s'] * 1e6:.2f} us"
            text += ", as long." if abs(gain) < 5e-7 else f", {abs(gain):.2%} {'less' if gain > 0 else 'more'}."
            text += f" The pins hold {bytes_more:+,} bytes of weights per rank." if bytes_more else ""
        return text


def times(entry: dict[str, Any]) -> tuple[float, float, float]:
    """Predicted computation, communication and exposed communication of a step, microseconds: exposed is what the step takes beyond its
    computation."""
    compute = sum(op["predicted_us"] for op in entry["ops"] if op["stream"] == 0)
    communication = sum(op["predicted_us"] for op in entry["ops"] if "kind" in op)
    return compute, communication, max(0.0, entry["predicted_us"] - compute)


def sent(entry: dict[str, Any]) -> int:
    """Bytes that a rank sends in a step."""
    return sum(op["bytes"] for op in entry["ops"] if "kind" in op)


def choice_of(content: dict[str, Any]) -> str:
    """The choice with the word that the field has for it."""
    role = content.get("role", content["choice"])
    return content["choice"] if role == content["choice"] else f"{content['choice']} ({role})"


def runner_up_of(content: dict[str, Any]) -> str:
    if "runner_up" not in content:
        return "no alternative"
    return f"{content['runner_up']} +{content['plus_us']:.2f} us"


def mib(count: float) -> str:
    return f"{count / 2**20:,.2f} MiB" if count < 2**30 else f"{count / 2**30:,.2f} GiB"
