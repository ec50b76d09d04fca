# SPDX-License-Identifier: Apache-2.0
"""Decides what gpu-report.json says and how the results are shown."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import platform
import shutil
from typing import Any, Sequence

import common
from common import FAIL, PASS, SKIP, Result


def first_line(command: Sequence[str]) -> str:
    if not shutil.which(command[0]):
        return ""
    done = common.call(command, 20, os.environ)
    return next((line.strip() for line in done.output.splitlines() if line.strip()), "") if done.code == 0 else ""


def gpus() -> list[dict[str, str]]:
    """Name, driver and memory of each GPU; empty where there is none."""
    fields = ["name", "driver_version", "memory.total", "clocks.max.sm", "mig.mode.current"]
    if shutil.which("nvidia-smi"):
        # Old drivers do not know the last ones.
        for count in (len(fields), 3):
            done = common.call(["nvidia-smi", f"--query-gpu={','.join(fields[:count])}", "--format=csv,noheader"], 30, os.environ)
            lines = [line for line in done.output.splitlines() if line.count(",") == count - 1]
            if done.code == 0 and lines:
                return [dict(zip(fields, (part.strip() for part in line.split(",")))) for line in lines]
    return [{"name": path.name} for path in sorted(pathlib.Path("/dev").glob("nvidia[0-9]*"))]


def git_commit() -> str:
    return first_line(["git", "-C", str(common.ROOT), "rev-parse", "HEAD"])


def compose(results: list[Result], manifest: dict[str, Any], found: dict[str, Any], peers: dict[str, Any], profiles: dict[str, Any],
            seconds: float) -> dict[str, Any]:
    return {
        "schema": common.SCHEMA, "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpus": gpus(), "cores": os.cpu_count(), "system": platform.platform(),
        "versions": {"nvcc": first_line(["nvcc", "--version"]) and nvcc_release(), "cmake": first_line(["cmake", "--version"]),
                     "compiler": first_line(["g++", "--version"]), "python": platform.python_version(), "torch": peers.get("torch"),
                     "torch_cuda": peers.get("cuda"), **{f"library {k}": v for k, v in found.items()}},
        "commit": git_commit() or manifest["commit"],
        "bundle": {key: manifest[key] for key in ("made", "commit", "changed_files", "versions", "seed", "machine_model")},
        "tolerances": manifest["tolerances"], "seconds": round(seconds, 1),
        "totals": {status: sum(r.status == status for r in results) for status in (PASS, FAIL, SKIP)},
        "checks": [dataclasses.asdict(result) for result in results], "peers": peers, "profiles": profiles,
    }


def nvcc_release() -> str:
    done = common.call(["nvcc", "--version"], 20, os.environ)
    return next((line.strip() for line in done.output.splitlines() if "release" in line), "")


def table(report: dict[str, Any]) -> str:
    gpu = report["gpus"][0] if report["gpus"] else {}
    lines = ["", f"{gpu.get('name', 'no GPU')}, driver {gpu.get('driver_version', '-')}, {report['versions']['nvcc'] or 'no nvcc'}, "
                 f"torch {report['versions']['torch'] or '-'}; commit {report['commit'][:12]}; {report['date']}"]
    peers = report["peers"]
    if "copy_tb_per_s" in peers:
        lines.append(f"copy {peers['copy_tb_per_s']:.2f} TB/s (read and written), GEMM peak {peers.get('gemm_peak_tflops', 0):.0f} TFLOP/s bf16")
    width = max((len(check["name"]) for check in report["checks"]), default=10)
    lines += ["", f"{'':4}  {'check':{width}} {'s':>6}  result"]
    lines += [f"{c['status']:4}  {c['name']:{width}} {c['seconds']:6.1f}  {c['detail']}" for c in report["checks"]]
    shapes = [(check["name"], row) for check in report["checks"] for row in check["numbers"].get("shapes", [])]
    if shapes:
        lines += ["", f"{'matmul':22} {'m':>6} {'n':>6} {'k':>6} {'us':>9} {'TFLOP/s':>8} {'torch us':>9} {'by':>9} {'ratio':>6}"]
        for name, row in shapes:
            by = row.get("by", "-")
            best = row["torch_us"].get(by, 0.0)
            lines.append(f"{name.removeprefix('speed-matmul-') + ' ' + row['shape']:22} {row['m']:>6} {row['n']:>6} {row['k']:>6} "
                         f"{row['tenon_us']:>9.1f} {row['tflops']:>8.0f} {best:>9.1f} {by:>9} {row.get('ratio', 0):>6.2f}")
    kernels = [row for check in report["checks"] for row in check["numbers"].get("kernels", [])]
    if kernels:
        lines += ["", f"{'kernel':14} {'us':>9} {'MiB':>8} {'TB/s':>6} {'of copy':>8}"]
        lines += [f"{row['kernel']:14} {row['us']:>9.1f} {row['bytes'] / 2**20:>8.0f} {row['tb_per_s']:>6.2f} {row['of_copy']:>8.2f}"
                  for row in kernels]
    for name, profile in report["profiles"].items():
        lines += ["", f"{name}: " + (profile.get("error") or ", ".join(
            f"{kind} {entry['us'] / 1e3:.2f} ms in {entry['ops']:.0f}" for kind, entry in profile["kinds"].items()))]
    lines += [f"torch: {error}" for error in peers.get("errors", [])]
    totals = report["totals"]
    lines += ["", f"gpu-check: {totals[PASS]} passed, {totals[FAIL]} failed, {totals[SKIP]} skipped in {report['seconds']:.0f} s"]
    return "\n".join(lines)


def write(report: dict[str, Any], path: pathlib.Path) -> None:
    common.write_json(path, report)
