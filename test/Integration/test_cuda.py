# SPDX-License-Identifier: Apache-2.0
"""tp-run on the CUDA device over the emulation of CUDA, cuBLASLt and NCCL: what needs no GPU to be wrong.

The numbers must be the CPU device's within rounding, on every schedule of streams, captured or not; faults end as the table in docs/Runtime.md says.
"""

import json

import numpy as np
import pytest
import ranks
from ranks import RANDOM, example, run_command, tp_run
from test_examples import EXAMPLES, same_bits, size
from test_faults import DEADLINE, SLACK, THREADS, ended, mlp, once, twice

CUDA = ["--device=cuda", "--inject=*:device:emulated"]
both = pytest.mark.parametrize("where", [THREADS, 2], ids=["threads", "mpi2"])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test chooses its own algorithms."""
    monkeypatch.setenv("TENON_CACHE_DIR", str(tmp_path / "cache"))


def outputs(where, plan, folder, *more, environment=None, silent=True) -> np.ndarray:
    outcome = tp_run(where, plan, *RANDOM, "-q", f"--output=y=@{folder / 'y.npy'}", *more, environment=environment)
    assert outcome.code == 0 and outcome.out == "", outcome
    assert not silent or outcome.err == "", outcome
    return np.load(folder / "y.npy")


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> bool:
    return np.abs(found.astype(np.float64) - expected.astype(np.float64)).max() <= tolerance * max(1, np.abs(expected.astype(np.float64)).max())


MESHES = [(name, mesh) for name in EXAMPLES for mesh in ("tp:1", "tp:3")] + [("mlp", "node:2,tp:2"), ("attention", "tp:2")]


@pytest.mark.parametrize("name, mesh", MESHES)
def test_the_numbers_are_those_of_the_cpu(tmp_path, name, mesh):
    plan = example(name, mesh)
    expected = outputs(None, plan, tmp_path)
    plain = outputs(None, plan, tmp_path, *CUDA, "--graph=off")
    assert close(plain, expected)
    assert same_bits(outputs(None, plan, tmp_path, *CUDA, "--graph=on", "--iters=3"), plain), "captured"
    for starve in "01":
        found = outputs(None, plan, tmp_path, *CUDA, "--graph=on", environment={"TENON_EMULATION_STARVE": starve})
        assert same_bits(found, plain), f"stream {starve} starved"


@pytest.mark.parametrize("name", ["mlp", "attention"])
@pytest.mark.parametrize("mesh", ["tp:2", "tp:3"])
def test_processes_give_the_bits_of_threads(tmp_path, name, mesh):
    plan = example(name, mesh)
    expected = outputs(None, plan, tmp_path, *CUDA)
    assert same_bits(outputs(size(mesh), plan, tmp_path, *CUDA, "--graph=on", "--iters=2"), expected)


@pytest.mark.parametrize("type", ["bf16", "f16"])
@pytest.mark.parametrize("reduce", ["own", "f32"])
def test_narrow_types(tmp_path, type, reduce):
    # The reference is the model in f32; a product of 256 terms of 0.02 x 1 rounded to 8 or 11 bits stays within 2 %.
    text = (ranks.ROOT / "examples" / "mlp.mlir").read_text()
    expected = outputs(None, ranks.compile_text("mlp", text, "tp:2"), tmp_path)
    plan = ranks.compile_text(f"mlp-{type}", text.replace("f32", type), "tp:2")
    found = outputs(None, plan, tmp_path, *CUDA, f"--reduce-dtype={reduce}")
    if found.dtype.kind == "V":  # bf16 as its bits
        found = (found.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert close(found, expected, 2e-2)


@pytest.mark.parametrize("mesh", ["tp:3", "node:2,tp:2"])
def test_collectives_through_the_host(tmp_path, mesh):
    plan = example("mlp", mesh)
    expected = outputs(None, plan, tmp_path)
    for more in (["--collectives=host"], ["--check-collectives"]):
        assert close(outputs(size(mesh), plan, tmp_path, *CUDA, *more, "--graph=off"), expected), more


def test_collectives_through_the_host_are_not_captured(tmp_path):
    plan = example("mlp", "tp:2")
    outcome = tp_run(2, plan, *RANDOM, "-q", f"--output=y=@{tmp_path / 'y.npy'}", *CUDA, "--collectives=host", "--iters=2")
    assert outcome.code == 0, outcome
    assert outcome.err.count("all ranks run uncaptured: rank 0: ") == 1 and "cannot be captured" in outcome.err, outcome
    assert close(np.load(tmp_path / "y.npy"), outputs(None, plan, tmp_path))


@pytest.mark.parametrize("collectives", ["auto", "nccl"])
def test_ranks_that_share_a_gpu(tmp_path, collectives):
    plan = example("mlp", "tp:2")
    environment = {"TENON_EMULATION_GPUS": "1"}
    once(tp_run(2, plan, *RANDOM, "-q", *CUDA, environment=environment), 2, "--oversubscribe-gpu")
    found = outputs(2, plan, tmp_path, *CUDA, "--oversubscribe-gpu", f"--collectives={collectives}", "--iters=2", environment=environment, silent=False)
    assert close(found, outputs(None, plan, tmp_path))
    once(tp_run(THREADS, plan, *RANDOM, "-q", *CUDA, "--oversubscribe-gpu", environment=environment), 2, "must be processes")


def test_a_lone_rank(tmp_path):
    for rank in (0, 1):
        report = tmp_path / "report.json"
        outcome = run_command(ranks.command(None, example("mlp", "tp:2"), *RANDOM, *CUDA, f"--lone-rank={rank}", "--iters=2", f"--json={report}")[:-1])
        assert outcome.code == 0, outcome
        assert json.loads(report.read_text())["steps"] == 2


def test_the_report_has_times_of_the_gpu(tmp_path):
    report, trace = tmp_path / "report.json", tmp_path / "trace.json"
    outcome = tp_run(2, example("mlp", "tp:2"), *RANDOM, "-q", *CUDA, "--iters=3", f"--json={report}", f"--trace={trace}")
    assert outcome.code == 0, outcome
    facts = json.loads(report.read_text())
    assert facts["device"].startswith("cuda ")
    assert facts["collectives"] and all(fact["measured_us"] > 0 for fact in facts["collectives"])
    bounds = {op["op"]: op["bound_us"] for op in facts["ops"] if "bound_us" in op}
    assert set(bounds) == {op["op"] for op in facts["ops"] if op["name"] not in ("all_reduce", "record", "wait")}
    assert all(op["x_of_bound"] == pytest.approx(op["measured_us"] / op["bound_us"]) for op in facts["ops"] if "bound_us" in op)
    assert facts["time_ms"]["bound"] == pytest.approx(sum(bounds.values()) * 1e-3)
    assert json.loads(trace.read_text())


@pytest.mark.parametrize("option, field", [("--graph=off", "graph"), ("--tf32", "tf32"), ("--reduce-dtype=f32", "reduce-dtype"), ("--collectives=host", "collectives")])
def test_row_6_another_setting(option, field):
    common = [mlp(2), *RANDOM, *CUDA, "--iters=2"]
    once(run_command(ranks.each(common, [*common, option])), 4, f"{field}  rank 0 on ", f"{field}  rank 1 on ")


@both
def test_row_10_memory(where):
    small = {"TENON_EMULATION_MEMORY": str(3 << 20)}
    once(tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, environment=small), 5, "the largest are ", "would fit")
    for nth in (0, 4):
        once(tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, f"--inject=1:alloc={nth}:fail"), 5, "cannot allocate")


@both
def test_row_12_an_op_fails(where):
    once(tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, f"--timeout={DEADLINE}", "--inject=1:op=1:error"), 7, "rank 1: forward, step 0, op 1: matmul at down: injected error")


@pytest.mark.parametrize("graph", ["on", "off"])
@both
def test_row_16_a_rank_sleeps(where, graph):
    outcome = tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, f"--graph={graph}", "--iters=2", f"--timeout={DEADLINE}", "--inject=1:step=1:sleep")
    ended(outcome, 6, DEADLINE + SLACK)
    assert "in forward, step 1, op 0" in outcome.state(1), outcome
    assert "in forward, step 1, op 4 all_reduce at down, collective 2" in outcome.state(0), outcome


@both
def test_row_19_a_skipped_collective(where):
    once(tp_run(where, twice(where), *RANDOM, "-q", *CUDA, "--check-collectives", "--graph=off", "--inject=1:op=collective0:skip"), 4, "collective")
    outcome = tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, f"--timeout={DEADLINE}", "--inject=1:op=collective0:skip")
    ended(outcome, 6, DEADLINE + SLACK)


@both
def test_row_25_a_value_that_is_not_finite(tmp_path, where):
    x = np.zeros((4, 128, 256), np.float32)
    x[1, 2, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    once(tp_run(where, mlp(where), "--random-weights=1", "--threads=1", "-q", *CUDA, f"--input=x=@{tmp_path / 'x.npy'}", "--check-finite"), 8, "the first value that is not finite")


@both
def test_row_28_a_failing_capture(tmp_path, where):
    expected = outputs(where, mlp(where), tmp_path, *CUDA)
    outcome = tp_run(where, mlp(where), *RANDOM, "-q", f"--output=y=@{tmp_path / 'y.npy'}", *CUDA, "--iters=3", "--inject=1:capture:fail")
    assert outcome.code == 0 and outcome.err.count("all ranks run uncaptured: rank 1: injected") == 1, outcome
    assert same_bits(np.load(tmp_path / "y.npy"), expected)


@pytest.mark.parametrize("variable, value, parts", [("DRIVER", "none", ["no CUDA driver"]), ("GPUS", "0", ["no GPU is visible"]), ("CAPABILITY", "7.5", ["7.5", "8.0"])])
@both
def test_row_29_no_driver(where, variable, value, parts):
    once(tp_run(where, mlp(where), *RANDOM, "-q", *CUDA, environment={f"TENON_EMULATION_{variable}": value}), 3, "--device=cuda", *parts)


def test_algorithms_are_kept(tmp_path):
    plan = example("mlp", "tp:2")
    expected = outputs(2, plan, tmp_path, *CUDA)
    file, = (tmp_path / "cache").glob("matmul-*.txt")
    lines = file.read_text().splitlines()
    assert lines and same_bits(outputs(2, plan, tmp_path, *CUDA), expected)
    file.write_text("nonsense\n" + lines[0][:20] + "\n")
    assert close(outputs(2, plan, tmp_path, *CUDA), expected), "a damaged file is made anew"
    assert [line.split()[0] for line in file.read_text().splitlines()] == [line.split()[0] for line in lines]
