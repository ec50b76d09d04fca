# SPDX-License-Identifier: Apache-2.0
"""Decides what is fast enough: times tp-run on one GPU and holds it against what torch and the hardware reach there.

Ops are timed by events around each op of a step that is replayed as a CUDA graph (tp-run --json); torch's matmuls are timed the same way.
(`loop` in the report is a matmul of torch's repeated without events between, its weights in the cache: for comparison only.)
Whole steps are timed without those events, by what tp-run prints. Nothing is subtracted.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any, Callable

import common
from checks import Context, ended
from common import FAIL, PASS, SKIP, Result

MATMUL, PREFILL, TOKEN, KERNEL = 0.95, 0.75, 0.80, 0.85
# The root mean square that 32 layers of bf16 may differ by between two implementations: see the tolerances of the manifest.
PREFILL_RMS = (8 * 32 + 2) ** 0.5 * 2.0**-9


def peers(context: Context) -> dict[str, Any]:
    """What torch_peers.py has measured so far, both roles in one."""
    merged: dict[str, Any] = {"errors": []}
    for role in ("base", "compile"):
        path = context.work / f"peers-{role}.json"
        if path.exists():
            found = common.read_json(path)
            merged["errors"] += [f"{role}: {error}" for error in [*found.pop("errors", []), *([found["failed"]] if "failed" in found else [])]]
            merged.update(found)
    return merged


def parameters(context: Context, file: str, *more: pathlib.Path) -> list[str]:
    """--parameters with the file that torch made, or random weights where it could not."""
    path = context.weights / file
    files = [str(p) for p in ([path] if path.exists() else []) + list(more)]
    return [*([f"--parameters={','.join(files)}"] if files else []), f"--random-weights={context.manifest['seed']}"]


def op_times(context: Context, plan: str, label: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    """The ops of a step with their times, or what went wrong."""
    report = context.work / f"{label}.json"
    report.unlink(missing_ok=True)
    done = common.call([context.tp_run, context.bundle / plan, "--device=cuda", "--graph=on", f"--json={report}", *options], 120,
                       context.environment)
    if done.code != 0:
        return [], ended(done)
    if "uncaptured" in done.output:
        return [], f"no graph was made: {done.tail()}"
    return common.read_json(report)["ops"], ""


def matmul(context: Context, case: dict[str, Any]) -> Result:
    ours, wrong = op_times(context, case["plan"], f"matmul-{case['name']}", "--iters=50", "--warmup=5",
                           f"--random-inputs={context.manifest['seed']}", *parameters(context, f"matmul-{case['name']}.safetensors"))
    if wrong:
        return Result("", FAIL, wrong)
    theirs = peers(context).get("matmul_us", {}).get(case["name"])
    rows, worst = [], None
    for name, (columns, summed) in case["shapes"].items():
        us = sum(op["measured_us"] for op in ours if op["location"] == name)
        row = {"shape": name, "m": case["tokens"], "n": columns, "k": summed, "tenon_us": us, "torch_us": (theirs or {}).get(name, {}),
               "tflops": 2 * case["tokens"] * columns * summed / us * 1e-6 if us > 0 else 0.0}
        rivals = {by: time for by, time in row["torch_us"].items() if by != "loop"}
        if rivals and us > 0:
            row["by"] = min(rivals, key=rivals.get)
            row["ratio"] = rivals[row["by"]] / us
            worst = min(worst, row["ratio"]) if worst is not None else row["ratio"]
        rows.append(row)
    if worst is None or any("ratio" not in row for row in rows):
        return Result("", SKIP, "torch's times are missing", {"shapes": rows})
    text = ", ".join(f"{row['shape']} {row['tflops']:.0f} TFLOP/s {row['ratio']:.2f}" for row in rows)
    return Result("", PASS if worst >= MATMUL else FAIL, f"least {worst:.2f} of torch's best, to reach {MATMUL}: {text}",
                  {"shapes": rows, "least": worst, "to_reach": MATMUL})


def kernels(context: Context) -> Result:
    """All of them in one plan; a kernel's time is that of the ops under its name."""
    facts = context.manifest["speed"]["kernels"]
    files = {"x_rms": "hidden", "x_layer": "hidden", "x_gate": "wide", "x_up": "wide", "x_gelu": "wide", "x_rope": "split", "ids": "ids",
             "places": "places"}
    given = [f"--input={name}=@{context.weights / f'kernel-{file}.npy'}" for name, file in files.items()
             if (context.weights / f"kernel-{file}.npy").exists()]
    ours, wrong = op_times(context, facts["plan"], "kernels", "--iters=20", "--warmup=3", f"--random-inputs={context.manifest['seed']}", *given,
                           *parameters(context, "kernels.safetensors"))
    if wrong:
        return Result("", FAIL, wrong)
    bandwidth = peers(context).get("copy_tb_per_s")
    if not bandwidth:
        return Result("", SKIP, "the copy bandwidth is missing")
    rows = []
    for name, fact in facts["facts"].items():
        ops = [op for op in ours if op["location"] == name]
        us = sum(op["measured_us"] for op in ops)
        rate = fact["bytes"] / us * 1e-6 if us > 0 else 0.0
        rows.append({"kernel": name, "ops": [op["name"] for op in ops], "us": us, "bytes": fact["bytes"], "tb_per_s": rate,
                     "of_copy": rate / bandwidth})
    worst = min(row["of_copy"] for row in rows)
    text = ", ".join(f"{row['kernel']} {row['of_copy']:.2f}" for row in rows)
    return Result("", PASS if worst >= KERNEL else FAIL, f"least {worst:.2f} of {bandwidth:.2f} TB/s, to reach {KERNEL}: {text}",
                  {"kernels": rows, "least": worst, "to_reach": KERNEL, "copy_tb_per_s": bandwidth})


def step_command(context: Context, step: dict[str, Any], *options: str) -> list[Any]:
    folder = context.bundle / step["folder"]
    return [context.tp_run, folder / step["plan"], "--device=cuda", "--graph=on",
            *(f"--input={name}=@{folder / file}" for name, file in step["inputs"].items()),
            *parameters(context, "llama-8b.safetensors", folder / "constants.safetensors"),
            *(["--lone-rank=0"] if step["tp"] > 1 else []), *options]


def step_time(context: Context, step: dict[str, Any], iterations: int, *options: str) -> tuple[float, float, str]:
    """(median, least) of a whole step in milliseconds, or what went wrong."""
    done = common.call(step_command(context, step, f"--iters={iterations}", "--warmup=5", *options), 150, context.environment)
    if done.code != 0:
        return 0.0, 0.0, ended(done)
    if "uncaptured" in done.output:
        return 0.0, 0.0, f"no graph was made: {done.tail()}"
    found = re.search(r"^\s*steps\b.*\bmedian ([0-9.]+) ms\s+min ([0-9.]+) ms", done.output, re.MULTILINE)
    if not found:
        return 0.0, 0.0, f"tp-run printed no times of steps: {done.tail()}"
    return float(found[1]), float(found[2]), ""


def bound_ms(step: dict[str, Any], measured: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """The longer of operations at the GEMM peak and bytes at the copy bandwidth, both as measured here."""
    parts = {"compute_ms": step["flops"] / measured["gemm_peak_tflops"] * 1e-9, "memory_ms": step["bytes"] / measured["copy_tb_per_s"] * 1e-9}
    return max(parts.values()), parts


def prefill(context: Context, step: dict[str, Any]) -> Result:
    logits = context.output("prefill-8b")
    logits.parent.mkdir(parents=True, exist_ok=True)
    logits.unlink(missing_ok=True)
    median, least, wrong = step_time(context, step, 20, f"--output={step['output']}=@{logits}")
    if wrong:
        return Result("", FAIL, wrong)
    measured = peers(context)
    numbers: dict[str, Any] = {"median_ms": median, "min_ms": least}
    if "gemm_peak_tflops" not in measured or "copy_tb_per_s" not in measured:
        return Result("", SKIP, f"{median:.2f} ms; the GPU's peaks are missing", numbers)
    bound, parts = bound_ms(step, measured)
    rivals = {name: measured.get(key) for name, key in (("eager", "eager_prefill_ms"), ("torch.compile", "compiled_prefill_ms"))}
    share = bound / median
    numbers |= {**parts, "of_bound": share, "to_reach": PREFILL, "torch_ms": rivals, "compile_seconds": measured.get("compile_seconds")}
    text = f"{median:.2f} ms, {share:.2f} of the bound, to reach {PREFILL}; " + ", ".join(
        f"{name} {value:.2f} ms" if value else f"{name} absent" for name, value in rivals.items())
    slower = share < PREFILL or any(value and median >= value for value in rivals.values())
    if slower:
        return Result("", FAIL, text, numbers)
    return Result("", PASS if all(rivals.values()) else SKIP, text, numbers)


def prefill_values(context: Context) -> Result:
    """The timed prefill's logits against torch's, from the same weights."""
    found, expected = context.output("prefill-8b"), context.weights / "prefill-logits.npy"
    for path in (found, expected):
        if not path.exists():
            return Result("", SKIP, f"no {path.name}")
    if not (context.weights / "llama-8b.safetensors").exists():
        return Result("", SKIP, "the weights were not those of torch")
    delta = common.difference(found, expected)
    return Result("", PASS if delta.finite and delta.rms <= PREFILL_RMS else FAIL, f"rms {delta.rms:.1e} of {PREFILL_RMS:.1e}",
                  {"rms": delta.rms, "largest": delta.largest, "limit": PREFILL_RMS})


def token(context: Context, step: dict[str, Any]) -> Result:
    median, least, wrong = step_time(context, step, 100)
    if wrong:
        return Result("", FAIL, wrong)
    measured = peers(context)
    numbers: dict[str, Any] = {"median_ms": median, "min_ms": least}
    if "copy_tb_per_s" not in measured:
        return Result("", SKIP, f"{median:.2f} ms; the copy bandwidth is missing", numbers)
    share = step["bytes"] / measured["copy_tb_per_s"] * 1e-9 / median
    numbers |= {"bytes": step["bytes"], "of_bound": share, "to_reach": TOKEN, "tb_per_s": step["bytes"] / median * 1e-9}
    return Result("", PASS if share >= TOKEN else FAIL,
                  f"{median:.3f} ms, {numbers['tb_per_s']:.2f} TB/s, {share:.2f} of the bound, to reach {TOKEN}", numbers)


def checks(manifest: dict[str, Any]) -> dict[str, Callable[[Context], Result]]:
    """All of them in the order in which they run."""
    table: dict[str, Callable[[Context], Result]] = {}
    for step in manifest["speed"]["steps"]:
        if step["kind"] == "prefill":
            table["speed-prefill-8b"] = lambda c, s=step: prefill(c, s)
            table["equal-prefill-8b-torch"] = prefill_values
    for step in manifest["speed"]["steps"]:
        if step["kind"] == "token":
            table[f"speed-{step['name']}"] = lambda c, s=step: token(c, s)
    table["speed-kernels"] = kernels
    for case in manifest["speed"]["matmuls"]:
        table[f"speed-matmul-{case['name']}"] = lambda c, m=case: matmul(c, m)
    return table


def profile(context: Context, step: dict[str, Any]) -> dict[str, Any]:
    """Where a step's time goes: sums by kind of op, and the ten longest ops. With events around every op, so longer than the step itself."""
    report = context.work / f"profile-{step['name']}.json"
    done = common.call(step_command(context, step, "--iters=10", "--warmup=3", "-q", f"--json={report}"), 150, context.environment)
    if done.code != 0:
        return {"error": ended(done)}
    ops = common.read_json(report)["ops"]
    kinds: dict[str, dict[str, float]] = {}
    for op in ops:
        kind = kinds.setdefault(op["name"], {"ops": 0, "us": 0.0})
        kind["ops"] += 1
        kind["us"] += op["measured_us"]
    longest = sorted(ops, key=lambda op: -op["measured_us"])[:10]
    return {"kinds": dict(sorted(kinds.items(), key=lambda item: -item[1]["us"])),
            "longest": [{key: op[key] for key in ("op", "name", "location", "measured_us")} for op in longest]}
