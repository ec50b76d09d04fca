#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of `tp-opt ... --emit=plan`, whole process, minimum of ten warm runs, and of `solve()` in it.

    .venv/bin/python bench/compile_time.py [--runs 10]
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import models


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{'model':30} {'min s':>8} {'median s':>9} {'solve ms':>9}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        for model, batch, seq, tp in (("minilm", 1, 128, 2), ("gpt3", 1, 2048, 8)):
            out = models.export(model, folder, batch, seq)
            command = [models.ROOT / "build/bin/tp-opt", out / "model.mlir", f"--tp-compile=mesh=tp:{tp}", "--emit=plan", "-o", folder / "p"]
            subprocess.run(command, check=True)
            times, solves = [], []
            for _ in range(arguments.runs):
                start = time.perf_counter()
                subprocess.run(command, check=True)
                times.append(time.perf_counter() - start)
            for _ in range(arguments.runs):
                done = subprocess.run([*command, "--tp-report"], check=True, capture_output=True, text=True)
                solves.append(float(re.search(r"^solve: ([0-9.]+) ms", done.stderr, re.M)[1]))
            print(f"{f'{model}, {seq} tokens, tp {tp}':30} {min(times):>8.3f} {statistics.median(times):>9.3f} {min(solves):>9.2f}", flush=True)


if __name__ == "__main__":
    main()
