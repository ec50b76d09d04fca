#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One tensor-parallel linear layer: computation against communication.

For row-parallel y = x W^T (W cut over the inputs, one all-reduce of y) and column-parallel (W cut over the outputs, one all-gather of y)
with `tokens` rows and a square W, measures a step on one rank and on N ranks and prints what each part costs.

    .venv/bin/python bench/linear_layer.py [--ranks 2] [--tokens 1,16,128,512] [--width 1024] [--iters 50]
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
GRAPH = """module attributes {{tp.model = "linear"}} {{
  ml_program.global private @w(#ml_program.extern : tensor<{n}x{n}xf32>) : tensor<{n}x{n}xf32> {{tp.key = "w"}}
  func.func @forward(%x: tensor<{t}x{n}xf32> {{tp.name = "x"}})
      -> (tensor<{t}x{n}xf32> {{tp.name = "y", tp.sharding = #tp.sharding<[{{}}, {{}}]>}}) {{
    %w = ml_program.global_load_const @w : tensor<{n}x{n}xf32>
    %0 = tp.matmul "tk,nk->tn" %x, %w {{tp.strategy = #tp.strategy<"{factor}" = {{"tp"}}>}}
        : (tensor<{t}x{n}xf32>, tensor<{n}x{n}xf32>) -> tensor<{t}x{n}xf32> loc("linear")
    return %0 : tensor<{t}x{n}xf32>
  }}
}}
"""


def measure(folder, kind, ranks, tokens, width, iterations):
    # The input is whole on every rank, as the layer before it leaves it; the cut for the row-parallel form costs nothing.
    graph, plan, report = folder / "g.mlir", folder / "g.plan", folder / "g.json"
    graph.write_text(GRAPH.format(t=tokens, n=width, factor="k" if kind == "row" else "n"))
    subprocess.run([ROOT / "build/bin/tp-opt", graph, f"--tp-compile=mesh=tp:{ranks} memory=none", "--emit=plan", "-o", plan], check=True)
    subprocess.run(["bash", ROOT / "tools/mpirun.sh", "-n", str(ranks), ROOT / "build/bin/tp-run", plan, "--random-weights=1",
                    "--random-inputs=1", f"--iters={iterations}", "--warmup=10", "--threads=1", "-q", f"--json={report}"],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--tokens", default="1,16,128,512")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--iters", type=int, default=50)
    arguments = parser.parse_args()
    print(f"linear layer {arguments.width} x {arguments.width}, f32, one thread per rank, {arguments.ranks} ranks, medians of "
          f"{arguments.iters} steps, microseconds")
    print(f"{'tokens':>7} {'form':>6} {'1 rank':>9} {'step':>9} {'compute':>9} {'communic.':>9} {'waiting':>9} {'speed-up':>9} "
          f"{'sent bytes':>11} {'flops per sent byte':>20}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        for tokens in map(int, arguments.tokens.split(",")):
            for kind in ("row", "column"):
                one = measure(pathlib.Path(name), kind, 1, tokens, arguments.width, arguments.iters)["time_ms"]
                many = measure(pathlib.Path(name), kind, arguments.ranks, tokens, arguments.width, arguments.iters)
                time, sent = many["time_ms"], sum(c["bytes"] for c in many["collectives"])
                flops = 2 * tokens * arguments.width**2 / arguments.ranks
                print(f"{tokens:>7} {kind:>6} {one['median'] * 1e3:>9.1f} {time['median'] * 1e3:>9.1f} {time['compute'] * 1e3:>9.1f} "
                      f"{time['communication'] * 1e3:>9.1f} {time['wait'] * 1e3:>9.1f} {one['median'] / time['median']:>9.2f} {sent:>11} "
                      f"{flops / sent if sent else float('inf'):>20.0f}")


if __name__ == "__main__":
    main()
