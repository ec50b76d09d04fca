#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes per rank that a plan predicts, against what tp-run allocates: weights with their repacked copies, arena and workspace.

    .venv/bin/python bench/memory.py [--tp 1,2,4]
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import models

CASES = [("minilm", 1, 128), ("minilm", 8, 64), ("gpt2", 1, 256), ("gpt2", 4, 64), ("llama", 1, 128), ("llama", 2, 512)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tp", default="1,2,4")
    arguments = parser.parse_args()
    print(f"{'model':7} {'batch':>5} {'tokens':>6} {'tp':>2} {'predicted':>12} {'allocated':>12} {'ratio':>7}   weights, arena, workspace")
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        for model, batch, seq in CASES:
            out = models.export(model, pathlib.Path(name), batch, seq)
            for tp in map(int, arguments.tp.split(",")):
                plan = models.compile_plan(out, tp)
                content = json.loads(subprocess.run([models.ROOT / "build/bin/tp-opt", plan, "--to-json"], check=True, capture_output=True).stdout)
                predicted = content["weights_bytes_per_rank"] + max(e["arena_bytes"] for e in content["entries"])
                report = models.run(plan, out)
                parts = [max(report[f"{part}_bytes_per_rank"]) for part in ("weights", "arena", "workspace")]
                ratio = sum(parts) / predicted
                worst = max(worst, abs(ratio - 1))
                print(f"{model:7} {batch:>5} {seq:>6} {tp:>2} {predicted:>12} {sum(parts):>12} {ratio:>7.4f}   {', '.join(map(str, parts))}", flush=True)
    print(f"the furthest is {worst:.2%} off")


if __name__ == "__main__":
    main()
