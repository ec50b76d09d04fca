#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What plans cost in bytes: collectives per step, weights per rank, arena against the largest sum of live bytes.

    .venv/bin/python bench/plan_numbers.py [--models minilm,gpt2,llama] [--tp 1,2,4] [--batch 1] [--seq 128]
"""

import argparse
import pathlib
import tempfile

import models


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="minilm,gpt2,llama")
    parser.add_argument("--tp", default="1,2,4")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seq", type=int, default=128)
    arguments = parser.parse_args()
    print(f"batch {arguments.batch}, {arguments.seq} tokens, f32")
    print(f"{'model':8} {'tp':>2} {'collectives':>11} {'sent bytes':>11} {'per layer formula':>17} {'weights':>12} {'of whole/tp':>11} "
          f"{'padding':>9} {'arena':>11} {'arena/live':>10}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        for model in arguments.models.split(","):
            out = models.export(model, pathlib.Path(name), arguments.batch, arguments.seq)
            layers, hidden = {"minilm": (6, 384), "gpt2": (12, 768), "llama": (8, 1024)}[model]
            for tp in map(int, arguments.tp.split(",")):
                report = models.run(models.compile_plan(out, tp), out)
                sent = sum(c["bytes"] for c in report["collectives"])
                # Two all-reduces per layer and one for the embedding.
                formula = (2 * layers + 1) * 2 * (tp - 1) / tp * arguments.batch * arguments.seq * hidden * 4
                weights, whole = max(report["weights_bytes_per_rank"]), report["weights_bytes_unsharded"]
                print(f"{model:8} {tp:>2} {len(report['collectives']):>11} {sent:>11} {formula:>17.0f} {weights:>12} "
                      f"{weights * tp / whole:>11.4f} {report['padding_bytes']:>9} {report['arena_bytes_per_rank'][0]:>11} "
                      f"{report['arena_bytes_per_rank'][0] / report['arena_live_bytes_bound']:>10.4f}", flush=True)


if __name__ == "__main__":
    main()
