#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is the solver's choice the fastest? Two linear layers with a gelu between them, every pair of strategies compiled and run beside the solver's.

    bash tools/mpirun.sh -n 2 build/bin/tp-run --calibrate -o machine.json
    .venv/bin/python bench/choices.py machine.json [--tp 2] [--rounds 5]

Weights may stay whole (memory=none), so that time alone decides. Rounds are interleaved: each runs every plan of a case once, and the least of
a plan's medians counts. A plan that pins choose too is measured once for both. `x of best`: measured time of the solver's choice over the
fastest plan's; 1 is the fastest.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import models

# Tokens, hidden, intermediate.
CASES = [(t, h, f) for t in (1, 8, 64, 256, 1024) for h, f in ((128, 512), (256, 1024), (512, 512), (512, 2048), (1024, 256))]
STYLES = ("", "s", "n", "k")


def module(tokens: int, hidden: int, inner: int, first: str, second: str) -> str:
    """An MLP with pins on its matmuls; "-" leaves a matmul to the solver."""
    pin = lambda style: "" if style == "-" else ' {tp.strategy = #tp.strategy<' + (f'"{style}" = {{"tp"}}' if style else "") + '>}'
    x, y, mid = f"1x{tokens}x{hidden}xf32", f"1x{tokens}x{hidden}xf32", f"1x{tokens}x{inner}xf32"
    up, down = f"{inner}x{hidden}xf32", f"{hidden}x{inner}xf32"
    weight = lambda name, type: (f'ml_program.global private @{name}(#ml_program.extern : tensor<{type}>) : tensor<{type}> {{tp.key = "{name}"}}\n')
    return (weight("up", up) + weight("down", down) +
            f'func.func @forward(%x: tensor<{x}> {{tp.name = "x"}}) -> (tensor<{y}> {{tp.name = "y", tp.sharding = #tp.sharding<[{{}}, {{}}, {{}}]>}}) {{\n'
            f"  %u = ml_program.global_load_const @up : tensor<{up}>\n  %d = ml_program.global_load_const @down : tensor<{down}>\n"
            f'  %0 = tp.matmul "bsk,nk->bsn" %x, %u{pin(first)} : (tensor<{x}>, tensor<{up}>) -> tensor<{mid}> loc("up")\n'
            f'  %1 = tp.unary gelu %0 : tensor<{mid}> loc("act")\n'
            f'  %2 = tp.matmul "bsk,nk->bsn" %1, %d{pin(second)} : (tensor<{mid}>, tensor<{down}>) -> tensor<{y}> loc("down")\n'
            f"  return %2 : tensor<{y}>\n}}\n")


def compiled(folder: pathlib.Path, case: tuple, styles: tuple, machine: str, tp: int) -> pathlib.Path | None:
    """The plan, or None where no rank count divides so."""
    source, plan = folder / "m.mlir", folder / f"{'_'.join(s or 'whole' for s in styles)}.plan"
    source.write_text(module(*case, *styles))
    done = subprocess.run([models.ROOT / "build/bin/tp-opt", source, f"--tp-compile=mesh=tp:{tp} memory=none machine={machine}", "--emit=plan", "-o", plan],
                          capture_output=True, text=True)
    return plan if done.returncode == 0 else None


def instructions(plan: pathlib.Path) -> str:
    """What ranks do, without what is said about it."""
    content = json.loads(subprocess.run([models.ROOT / "build/bin/tp-opt", plan, "--to-json"], capture_output=True, check=True).stdout)
    return json.dumps([content["weights"], [[op["name"], op.get("axes"), op.get("bytes"), op["live_bytes"], op["predicted_us"]]
                                            for op in content["entries"][0]["ops"]]])


def step_ms(plan: pathlib.Path, tp: int) -> float:
    report = plan.with_suffix(".json")
    subprocess.run(["bash", models.ROOT / "tools/mpirun.sh", "-n", str(tp), models.ROOT / "build/bin/tp-run", plan, "-q", "--random-inputs=1",
                    "--random-weights=1", f"--threads={max(1, len(os.sched_getaffinity(0)) // tp)}", "--warmup=5", "--iters=40", f"--json={report}"],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())["time_ms"]["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine")
    parser.add_argument("--tp", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    machine = str(pathlib.Path(arguments.machine).resolve())
    print(f"{'tokens':>6} {'hidden':>6} {'inner':>6} {'plans':>5} {'solver ms':>10} {'best ms':>9} {'worst ms':>9} {'x of best':>9}")
    ratios = []
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="tenon-") as name:
            folder = pathlib.Path(name)
            chosen = compiled(folder, case, ("-", "-"), machine, arguments.tp)
            plans = {}
            for styles in [("-", "-"), *itertools.product(STYLES, STYLES)]:
                plan = compiled(folder, case, styles, machine, arguments.tp)
                if plan:
                    plans.setdefault(instructions(plan), plan)
            times = {plan: [] for plan in plans.values()}
            for _ in range(arguments.rounds):
                for plan in times:
                    times[plan].append(step_ms(plan, arguments.tp))
            least = {plan: min(found) for plan, found in times.items()}
            mine, best = least[plans[instructions(chosen)]], min(least.values())
            ratios.append(mine / best)
            print(f"{case[0]:>6} {case[1]:>6} {case[2]:>6} {len(plans):>5} {mine:>10.4f} {best:>9.4f} {max(least.values()):>9.4f} {ratios[-1]:>9.3f}", flush=True)
    print(f"{len(ratios)} cases: fastest or within 3 % in {sum(r <= 1.03 for r in ratios)}, median {statistics.median(ratios):.3f} x, worst {max(ratios):.3f} x")


if __name__ == "__main__":
    main()
