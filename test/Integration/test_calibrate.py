# SPDX-License-Identifier: Apache-2.0
"""tp-run --calibrate, over threads and over MPI: what it writes is a machine file that the compiler accepts and prices by."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from tenon import toolchain  # noqa: E402


def call(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("local", [True, False], ids=["threads", "mpi"])
def test_a_quick_calibration_is_a_machine(tmp_path, local):
    out = tmp_path / "machine.json"
    tp_run = toolchain.find("tp-run")
    start = [tp_run, "--local-ranks", "--ranks=2"] if local else [*toolchain.mpirun(2), tp_run]
    done = call(*start, "--calibrate", "--quick", "--threads=1", "-o", out)
    assert done.returncode == 0, done.stderr
    machine = json.loads(out.read_text())
    measured = machine["measured"]
    assert {"f32"} <= measured["matmul"].keys() and all(s > 0 for grid in measured["matmul"].values() for s in grid["seconds"])
    assert {c["kind"] for c in measured["collectives"]} == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}
    assert all(c["ranks"] == 2 and c["bytes"] == sorted(c["bytes"]) and len(c["bytes"]) == len(c["seconds"]) for c in measured["collectives"])
    # The compiler takes it, and prices by what was measured: a machine with slower matmuls gives slower plans.
    slow = json.loads(out.read_text())
    for grid in slow["measured"]["matmul"].values():
        grid["seconds"] = [1000 * s for s in grid["seconds"]]
    (tmp_path / "slow.json").write_text(json.dumps(slow))
    predicted = []
    for file in (out, tmp_path / "slow.json"):
        plan = tmp_path / "m.plan"
        done = call(toolchain.find("tp-opt"), ROOT / "examples/mlp.mlir", f"--tp-compile=mesh=tp:2 machine={file}", "--emit=plan", "-o", plan)
        assert done.returncode == 0, done.stderr
        content = json.loads(call(toolchain.find("tp-opt"), plan, "--to-json").stdout)
        assert content["machine"].startswith(machine["name"])
        predicted.append(content["entries"][0]["predicted_us"])
    assert predicted[1] > 10 * predicted[0] > 0


@pytest.mark.parametrize("code, arguments, words", [
    (2, ["--calibrate"], "--calibrate needs -o FILE"),
    (2, ["--calibrate", "-o", "m.json", "--local-ranks"], "--calibrate --local-ranks needs --ranks=N"),
    (2, ["x.plan", "--calibrate", "-o", "m.json"], "--calibrate takes no plan"),
    (2, ["x.plan", "--quick"], "go with --calibrate"),
    (3, ["--calibrate", "-o", "no/such/folder/m.json", "--local-ranks", "--ranks=1", "--quick"], "no/such/folder/m.json"),
])
def test_wrong_options(code, arguments, words, tmp_path):
    done = subprocess.run([toolchain.find("tp-run"), *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == code and words in done.stderr
