# SPDX-License-Identifier: Apache-2.0
"""Why a plan is as it is (`tenon explain`), and how two plans differ (`tenon diff`)."""

from __future__ import annotations

import collections
import difflib
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenon.errors import UsageError
from tenon.plan_file import PlanFile, Repeated, Row, choice_of, grouped, mib, pattern_of, runner_up_of, sent, times


def _cell(value: Any) -> str:
    return escape(str(value))


def _choice_table(groups: list[Repeated], title: str) -> Table:
    table = Table("layer", "what", "choice", "us", "runner-up", title=title)
    for group in groups:
        c = group.rows[0].content
        table.add_row(_cell(group.name or "-"), _cell(c["what"]), _cell(choice_of(c)), f"{c['us']:.2f}" if c["what"] not in ("weight", "result") else "",
                      _cell(runner_up_of(c) + (f"; {c['note']}" if "note" in c else "")))
    return table


def _collective_table(groups: list[Repeated], step: float) -> Table:
    table = Table("behind", "collective", "axes", "each", "bytes sent", "us", "of the step", title="collectives of a step")
    for group in groups:
        c = group.rows[0].content
        us = sum(r.content["predicted_us"] for r in group.rows)
        table.add_row(_cell(group.name), c["kind"], ",".join(c["axes"]), mib(c["bytes"]), mib(c["bytes"] * len(group.rows)), f"{us:.2f}",
                      f"{us / step:.1%}" if step else "")
    return table


def _facts(plan: PlanFile, entry: dict[str, Any], console: Console) -> None:
    c = plan.content
    compute, communication, exposed = times(entry)
    console.print(f"{c['model'] or 'a model'}, entry {entry['name']}, on {plan.mesh} ({c['ranks']} ranks), priced for {c['machine']}", markup=False)
    console.print(plan.certificate(), markup=False)
    console.print(f"a step takes {entry['predicted_us']:.2f} us: computation {compute:.2f}, communication {communication:.2f} of which "
                  f"{exposed:.2f} exposed; a rank sends {mib(sent(entry))}", markup=False)
    console.print(f"a rank holds {mib(c['weights_bytes_per_rank'])} of weights ({mib(c['weights_bytes_unsharded'])} unsharded) and an arena of "
                  f"{mib(entry['arena_bytes'])}", markup=False)


def print_summary(plan: PlanFile, entry_name: str | None, console: Console) -> None:
    """The plan as a whole, repeated layers once."""
    entry = plan.entry(entry_name)
    _facts(plan, entry, console)
    rows = plan.choices(entry["name"])
    console.print(_choice_table(grouped(r for r in rows if r.content["what"] not in ("weight", "result")), "what was chosen"))
    console.print(_choice_table(grouped(r for r in rows if r.content["what"] == "weight"), "weights"))
    groups = grouped(plan.collectives(entry))
    console.print(_collective_table(groups, entry["predicted_us"]))
    for group in groups:
        console.print(f"{group.name}: {group.rows[0].content['kind']} because {group.rows[0].content['cause']}", markup=False)


def _print_collective(row: Row, console: Console) -> None:
    c = row.content
    made, _, needed = c["cause"].partition("; ")
    console.print(f"{c['kind']} over {','.join(c['axes'])} ({c['ranks']} ranks), {mib(c['bytes'])} sent by each, {c['predicted_us']:.2f} us, "
                  f"behind {row.layer} (op {c['op']})", markup=False)
    for origin in made.split(" -> "):
        console.print(f"    {origin}", markup=False)
    if needed:
        console.print(f"    {needed}", markup=False)


def print_layer(plan: PlanFile, layer: str, entry_name: str | None, console: Console) -> None:
    """Every choice and collective of a layer, and what else could have been."""
    entry = plan.entry(entry_name)
    choices, found = plan.rows_named(layer, entry)
    if not choices and not found:
        names = plan.layers(entry)
        close = difflib.get_close_matches(layer, names + [pattern_of(n) for n in names], n=3, cutoff=0.5)
        raise UsageError(f"no layer of entry {entry['name']} is named {layer}" + (f"; did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""))
    if choices:
        console.print(_choice_table(grouped(choices), f"choices of {escape(layer)}"))
    if not found:
        console.print("no collective is behind it or caused by it")
    for group in grouped(found):
        if len(group.rows) > 1:
            console.print(f"{len(group.rows)} times, in {group.pattern}; the first:", markup=False)
        _print_collective(group.rows[0], console)


def _differences(a: list[Row], b: list[Row]) -> list[tuple[str, dict[str, Any] | None, dict[str, Any] | None, int]]:
    """Choices by layer, kind and place among equals that are not the same: (layer pattern, in a, in b, count)."""
    def numbered(rows: list[Row]) -> dict[tuple, dict[str, Any]]:
        seen: collections.Counter = collections.Counter()
        result = {}
        for row in rows:
            name = (row.content.get("entry"), row.layer, row.content["what"])
            result[(*name, seen[name])] = row.content
            seen[name] += 1
        return result

    left, right = numbered(a), numbered(b)
    counts: dict[tuple, list] = {}
    for key in dict.fromkeys([*left, *right]):
        one, other = left.get(key), right.get(key)
        if one and other and one["choice"] == other["choice"]:
            continue
        kind = (pattern_of(key[1]), key[2], one and one["choice"], other and other["choice"])
        counts.setdefault(kind, [key[1], one, other, 0])[3] += 1
    return [(kind[0] if count > 1 else layer, one, other, count) for kind, (layer, one, other, count) in counts.items()]


def _collective_counts(entry: dict[str, Any]) -> collections.Counter:
    return collections.Counter((pattern_of(r.layer), r.content["kind"], ",".join(r.content["axes"]), r.content["bytes"])
                               for r in PlanFile.collectives(entry))


def print_difference(a: PlanFile, b: PlanFile, console: Console) -> bool:
    """Prints what differs between two plans; returns whether anything does."""
    differs = False
    facts = Table("", a.path or "a", b.path or "b", title="plans")

    def fact(name: str, one: Any, other: Any, show: Any = str) -> None:
        nonlocal differs
        if one != other:
            differs = True
            facts.add_row(name, _cell(show(one)), _cell(show(other)))

    us = lambda value: f"{value:.2f} us"
    seconds = lambda value: f"{value * 1e6:.2f} us" if isinstance(value, float) else str(value)
    fact("model", a.content["model"], b.content["model"])
    fact("mesh", a.mesh, b.mesh)
    fact("machine", a.content["machine"], b.content["machine"])
    certificates = [p.content["certificate"] if isinstance(p.content["certificate"], dict) else {} for p in (a, b)]
    fact("objective", *(c.get("objective_s") for c in certificates), seconds)
    fact("proven bound", *(c.get("bound_s") for c in certificates), seconds)
    fact("weights per rank", a.content["weights_bytes_per_rank"], b.content["weights_bytes_per_rank"], mib)
    left, right = ({e["name"]: e for e in p.entries} for p in (a, b))
    fact("entries", ", ".join(left), ", ".join(right))
    tables = []
    for name in [n for n in left if n in right]:
        one, other = left[name], right[name]
        fact(f"{name}: step", one["predicted_us"], other["predicted_us"], us)
        fact(f"{name}: communication", times(one)[1], times(other)[1], us)
        fact(f"{name}: bytes a rank sends", sent(one), sent(other), mib)
        fact(f"{name}: arena", one["arena_bytes"], other["arena_bytes"], mib)
        counts = _collective_counts(one), _collective_counts(other)
        table = Table("behind", "collective", "axes", "each", "a", "b", title=f"collectives of {escape(name)} that differ in number")
        for key in sorted(set(counts[0]) | set(counts[1])):
            if counts[0][key] != counts[1][key]:
                table.add_row(_cell(key[0]), key[1], key[2], mib(key[3]), str(counts[0][key]), str(counts[1][key]))
        if table.row_count:
            tables.append(table)
    choices = Table("layer", "what", "a", "b", "count", title="choices that differ")
    for layer, one, other, count in _differences(a.choices(), b.choices()):
        choices.add_row(_cell(layer or "-"), _cell((one or other)["what"]), _cell(one["choice"] if one else "-"),
                        _cell(other["choice"] if other else "-"), str(count))
    if choices.row_count:
        tables.append(choices)
    if facts.row_count:
        console.print(facts)
    for table in tables:
        console.print(table)
    if a.content["model"] != b.content["model"]:
        console.print("the models differ: layers are compared as far as their names agree")
    differs = differs or bool(tables)
    if not differs:
        console.print("no difference")
    return differs
