#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prefill of a Llama shape on 2 ranks, one thread each, beside what a user would pick instead, interleaved in one run.

Needs `.venv/bin/pip install mpi4py jax` for the peers that use them; a peer that cannot run is reported as absent.

    .venv/bin/python bench/prefill.py [--seq 128] [--rounds 5] [--dtype f32|bf16]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import models

PEERS = models.ROOT / "bench/peers"
MPIRUN = ["bash", str(models.ROOT / "tools/mpirun.sh"), "-n", "2"]


def peers(seq, dtype):
    torch_type = {"f32": "float32", "bf16": "bfloat16"}[dtype]
    python = sys.executable
    return {
        "torch DTensor over gloo": [python, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(PEERS / "torch_tp.py"), "--seq", seq,
                                    "--dtype", torch_type],
        "hand-written torch + MPI": [*MPIRUN, python, str(PEERS / "hand_tp.py"), "--seq", seq, "--dtype", torch_type],
        "jax GSPMD": [python, str(PEERS / "jax_tp.py"), "--tp", "2", "--seq", seq, "--dtype", torch_type],
    }


def peer_time(command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if "jax_tp.py" not in " ".join(command) else dict(os.environ)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return json.loads(line)["ms_min"]
    return None


def matmul_peak(folder, dtype):
    """GFLOP/s of one large column-parallel matmul over both ranks, as tp-run runs it: the best of three sizes."""
    return max(matmul_rate(folder, dtype, tokens, width) for tokens, width in ((512, 2048), (512, 1024), (1024, 1024)))


def matmul_rate(folder, dtype, tokens, width):
    graph, plan, report = folder / "peak.mlir", folder / "peak.plan", folder / "peak.json"
    graph.write_text(f"""module attributes {{tp.model = "peak"}} {{
  ml_program.global private @w(#ml_program.extern : tensor<{width}x{width}x{dtype}>) : tensor<{width}x{width}x{dtype}> {{tp.key = "w"}}
  func.func @forward(%x: tensor<{tokens}x{width}x{dtype}> {{tp.name = "x"}}) -> (tensor<{tokens}x{width}x{dtype}> {{tp.name = "y"}}) {{
    %w = ml_program.global_load_const @w : tensor<{width}x{width}x{dtype}>
    %0 = tp.matmul "tk,nk->tn" %x, %w
        : (tensor<{tokens}x{width}x{dtype}>, tensor<{width}x{width}x{dtype}>) -> tensor<{tokens}x{width}x{dtype}>
    return %0 : tensor<{tokens}x{width}x{dtype}>
  }}
}}
""")
    subprocess.run([models.ROOT / "build/bin/tp-opt", graph, "--tp-compile=mesh=tp:2", "--emit=plan", "-o", plan], check=True)
    subprocess.run([*MPIRUN, models.ROOT / "build/bin/tp-run", plan, "--random-weights=1", "--random-inputs=1", "--threads=1", "--iters=30",
                    "--warmup=3", "-q", f"--json={report}"], check=True, stdout=subprocess.DEVNULL)
    return 2 * tokens * width**2 / json.loads(report.read_text())["time_ms"]["min"] * 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        out = folder / "llama"
        models.tenon.export_hf(models.source("llama", folder), out, batch=1, seq=[arguments.seq], dtype=arguments.dtype, logits="last")
        plan = models.compile_plan(out, 2)
        report = out / "report.json"
        ours = [*MPIRUN, models.ROOT / "build/bin/tp-run", plan, "--random-weights=1", "--random-inputs=1", f"--parameters={out}", "--threads=1",
                "--iters=15", "--warmup=3", "-q", f"--json={report}"]
        times = {}
        for _ in range(arguments.rounds):
            subprocess.run(ours, check=True, stdout=subprocess.DEVNULL)
            measured = json.loads(report.read_text())
            times.setdefault("tenon", []).append(measured["time_ms"]["min"])
            for peer, command in peers(str(arguments.seq), arguments.dtype).items():
                value = peer_time(command)
                if value is not None:
                    times.setdefault(peer, []).append(value)
        print(f"Llama shape, {arguments.dtype}, {arguments.seq} tokens, 2 ranks of one thread; each round: minimum of 15 steps, ms")
        best = min(times["tenon"])
        for system in ("tenon", *peers(str(arguments.seq), arguments.dtype)):
            if system not in times:
                print(f"{system:28} absent")
                continue
            ratios = [other / own for other, own in zip(times[system], times["tenon"])]
            print(f"{system:28} min {min(times[system]):8.1f}  median {statistics.median(times[system]):8.1f}  "
                  f"ratio to tenon, paired median {statistics.median(ratios):.2f}")
        flops = 2 * arguments.seq * 8 * (2 * 1024 * 1024 + 2 * 1024 * 512 + 3 * 1024 * 2816)
        peak = matmul_peak(folder, arguments.dtype)
        print(f"tenon {flops / best * 1e-6:.0f} GFLOP/s of matmul over both ranks; split of its last round: " +
              ", ".join(f"{key} {measured['time_ms'][key]:.1f} ms" for key in ("compute", "communication", "wait")))
        print(f"roofline: matmuls alone at the peak of a large one ({peak:.0f} GFLOP/s) {flops / peak * 1e-6:.1f} ms; tenon takes "
              f"{best / (flops / peak * 1e-6):.2f} x that")


if __name__ == "__main__":
    main()
