# SPDX-License-Identifier: Apache-2.0
"""Tables for people: tp-run's JSON report and the comparison of two dumps."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tenon.dumps import Comparison


def _axes(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _mib(count: float) -> str:
    return f"{count / 2**20:.2f} MiB"


def collectives_table(report: dict[str, Any]) -> Table:
    table = Table("collective", "axes", "bytes", "predicted us", "measured us", "where", title="collectives of a step")
    for c in report["collectives"]:
        table.add_row(c["kind"], _axes(c["axes"]), f"{c['bytes']:,}", f"{c['predicted_us']:.1f}", f"{c['measured_us']:.1f}",
                      str(c["location"]))
    return table


def memory_table(report: dict[str, Any]) -> Table:
    table = Table("rank", "weights", "arena", title="memory")
    for rank, (weights, arena) in enumerate(zip(report["weights_bytes_per_rank"], report["arena_bytes_per_rank"])):
        table.add_row(str(rank), _mib(weights), _mib(arena))
    table.caption = f"weights unsharded {_mib(report['weights_bytes_unsharded'])}, padding {report['padding_bytes']} bytes"
    return table


def time_table(report: dict[str, Any]) -> Table:
    table = Table("min", "median", "compute", "communication", "wait", title="time of a step, ms")
    times = report["time_ms"]
    table.add_row(*(f"{times[k]:.3f}" for k in ("min", "median", "compute", "communication", "wait")))
    return table


def print_report(report: dict[str, Any], console: Console) -> None:
    console.print(f"{report['ranks']} ranks on {report['device']}, plan {str(report['plan_digest'])[:16]}")
    for table in (collectives_table(report), memory_table(report), time_table(report)):
        console.print(table)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """The first op that differs, and the ops around it."""
    first = comparison.first
    console.print(f"{len(comparison.compared)} values compared, {len(comparison.only_first)} only in the first dump, "
                  f"{len(comparison.only_second)} only in the second")
    if first is None:
        worst = max(comparison.compared, key=lambda d: d.error, default=None)
        console.print("no value differs" + (f"; the largest error is {worst.error:.3g}, in {worst.entry['name']}" if worst else ""))
        return
    at = comparison.compared.index(first)
    table = Table("", "op", "name", "where", "rank", "largest error", "at", title="the first op that differs")
    for i in range(max(0, at - 2), min(len(comparison.compared), at + 3)):
        d = comparison.compared[i]
        error = f"shapes {d.shapes[0]} and {d.shapes[1]}" if d.shapes else f"{d.error:.3g}"
        place = "" if d.shapes else f"{list(d.index)}: {d.values[0]:.6g}, {d.values[1]:.6g}"
        table.add_row(">" if i == at else "", str(d.entry["op"]), str(d.entry["name"]), str(d.entry.get("location", "")), str(d.entry["rank"]),
                      error, place)
    console.print(table)
