# SPDX-License-Identifier: Apache-2.0
"""Error of the cost model on this machine: predicted and measured time of every op and collective, and of whole steps.

    bash tools/mpirun.sh -n 2 build/bin/tp-run --calibrate -o machine.json
    .venv/bin/python bench/cost_model.py machine.json [--tp 2] [--runs 3]

Each model is compiled for the machine and run under mpirun; of several runs the one with the least median step counts, as others shared the
processor. Errors are |predicted - measured| / measured; ops shorter than a microsecond are left out: the clock itself takes a part of that.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import models

CASES = [("minilm", 1, 128), ("minilm", 8, 64), ("gpt2", 1, 256), ("llama", 1, 128), ("llama", 4, 16)]


def measure(plan: pathlib.Path, out: pathlib.Path, tp: int, runs: int) -> dict:
    parameters = json.loads((out / "model.json").read_text()).get("parameters")
    best = None
    for _ in range(runs):
        report = out / "report.json"
        subprocess.run(["bash", models.ROOT / "tools/mpirun.sh", "-n", str(tp), models.ROOT / "build/bin/tp-run", plan, "-q", "--random-inputs=1",
                        "--random-weights=1", f"--threads={max(1, len(os.sched_getaffinity(0)) // tp)}", "--warmup=3", "--iters=15",
                        f"--parameters={f'{parameters},' if parameters else ''}{out}", f"--json={report}"], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(report.read_text())
        if best is None or found["time_ms"]["median"] < best["time_ms"]["median"]:
            best = found
    return best


def errors(report: dict) -> dict[str, list[float]]:
    """Relative errors by name of op; collectives without their waits."""
    found: dict[str, list[float]] = {}
    collectives = {c["op"]: c["measured_us"] for c in report["collectives"]}
    for op in report["ops"]:
        measured = collectives.get(op["op"], op["measured_us"])
        if measured >= 1 and op["predicted_us"] > 0:
            found.setdefault(op["name"], []).append((op["predicted_us"] - measured) / measured)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", type=pathlib.Path)
    parser.add_argument("--tp", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    everything: dict[str, list[float]] = {}
    steps = []
    print(f"{'model':24} {'predicted ms':>13} {'measured ms':>12} {'error':>8} {'median error of its ops':>25}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        for model, batch, seq in CASES:
            out = models.export(model, folder, batch, seq)
            plan = out / "calibrated.plan"
            subprocess.run([models.ROOT / "build/bin/tp-opt", out / "model.mlir", f"--tp-compile=mesh=tp:{arguments.tp} machine={arguments.machine.resolve()}",
                            "--emit=plan", "-o", plan], check=True)
            report = measure(plan, out, arguments.tp, arguments.runs)
            found = errors(report)
            for kind, list_ in found.items():
                everything.setdefault(kind, []).extend(list_)
            predicted, measured = report["time_ms"]["predicted"], report["time_ms"]["median"]
            steps.append(abs(predicted - measured) / measured)
            own = statistics.median(abs(e) for list_ in found.values() for e in list_)
            print(f"{f'{model}, {batch} x {seq}':24} {predicted:13.2f} {measured:12.2f} {100 * (predicted - measured) / measured:+7.1f}% {100 * own:24.1f}%",
                  flush=True)
    print(f"\n{'op':24} {'count':>6} {'median error':>13} {'median of |error|':>18}")
    for kind, list_ in sorted(everything.items()):
        print(f"{kind:24} {len(list_):6} {100 * statistics.median(list_):+12.1f}% {100 * statistics.median(map(abs, list_)):17.1f}%")
    print(f"{'all':24} {sum(map(len, everything.values())):6} {'':13} "
          f"{100 * statistics.median(abs(e) for list_ in everything.values() for e in list_):17.1f}%")
    print(f"median error of steps: {100 * statistics.median(steps):.1f} %")


if __name__ == "__main__":
    main()
