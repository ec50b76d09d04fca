# SPDX-License-Identifier: Apache-2.0
"""The examples through tp-opt and tp-run: the same numbers at every degree, under threads and MPI, and what tp-run tells and writes about a run.

On CPUs one plan gives the same bits from run to run, captured or not, and whatever moves the bytes.
"""

import hashlib
import json
import pathlib
import re

import numpy as np
import pytest
import ranks
import safetensors.numpy
from ranks import RANDOM, ROOT, example, run_command, tp_run
from tenon import cli, toolchain

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.mlir"))
SHARED_MESHES = ["tp:1", "tp:2", "tp:3", "tp:4", "tp:5", "node:2,tp:2"]


def size(mesh: str) -> int:
    return int(np.prod([int(axis.split(":")[1]) for axis in mesh.split(",")]))


def outputs(where, plan: pathlib.Path, folder: pathlib.Path, *more: str) -> np.ndarray:
    outcome = tp_run(where, plan, *RANDOM, "-q", f"--output=y=@{folder / 'y.npy'}", *more)
    assert outcome.code == 0 and outcome.out == "" and outcome.err == "", outcome
    return np.load(folder / "y.npy")


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_degree_gives_the_numbers_of_one_rank(tmp_path, name):
    expected = outputs(None, example(name, "tp:1"), tmp_path)
    assert np.isfinite(expected).all() and np.abs(expected).max() > 0
    for mesh in SHARED_MESHES[1:]:
        found = outputs(None, example(name, mesh), tmp_path)
        assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max()), mesh


# The examples of a single layer are the largest; the others go through every mesh.
MESHES_OF = [(name, mesh) for name in EXAMPLES for mesh in SHARED_MESHES if name in ("mlp", "attention") or mesh in ("tp:2", "tp:3")]


@pytest.mark.parametrize("name, mesh", MESHES_OF)
def test_threads_and_mpi_give_the_same_bits(tmp_path, name, mesh):
    plan = example(name, mesh)
    expected = outputs(None, plan, tmp_path)
    assert same_bits(outputs(None, plan, tmp_path), expected), "run to run"
    assert same_bits(outputs(None, plan, tmp_path, "--graph=on", "--iters=3"), expected), "captured"
    if size(mesh) != 5:  # as many processes as the fault tests start
        assert same_bits(outputs(size(mesh), plan, tmp_path), expected), "mpi"
        assert same_bits(outputs(size(mesh), plan, tmp_path, "--messages", "--check-collectives"), expected), "messages"


@pytest.mark.parametrize("where", [None, 2], ids=["threads", "mpi"])
def test_replayed_steps_read_their_inputs(tmp_path, where):
    plan = example("mlp", "tp:2")
    results = []
    for seed in (1, 2):
        np.save(tmp_path / "x.npy", np.random.default_rng(seed).standard_normal((4, 128, 256)).astype(np.float32))
        for more in ([], ["--graph=on", "--iters=2", "--warmup=1"]):
            results.append(outputs(where, plan, tmp_path, f"--input=x=@{tmp_path / 'x.npy'}", *more))
    assert same_bits(results[0], results[1]) and same_bits(results[2], results[3])
    assert not same_bits(results[0], results[2])


@pytest.mark.parametrize("schedule", ["starve0", "starve1"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_schedule_of_streams_gives_the_same_bits(tmp_path, name, schedule):
    plan = example(name, "tp:3")
    assert same_bits(outputs(None, plan, tmp_path, f"--inject=*:capture:{schedule}", "--inject=*:arena:poison"), outputs(None, plan, tmp_path))


def as_text(plan: pathlib.Path) -> str:
    return toolchain.call([toolchain.find("tp-opt"), str(plan), "--to-text"], 30).stdout


FIELDS = {"schema", "ranks", "device", "plan_digest", "weights_bytes_per_rank", "arena_bytes_per_rank", "weights_bytes_unsharded", "padding_bytes",
          "collectives", "time_ms"}
# Bytes of the whole tensor times (p - 1) / p times this is what a rank sends in the ring form.
ROUNDS = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "all_to_all": 1}


@pytest.mark.parametrize("mesh, where", [("tp:1", None), ("tp:2", 2), ("tp:3", None), ("tp:4", 4), ("tp:5", None), ("node:2,tp:2", 4)])
@pytest.mark.parametrize("name", EXAMPLES)
def test_json_report(tmp_path, name, mesh, where):
    plan, path = example(name, mesh), tmp_path / "report.json"
    outcome = tp_run(where, plan, *RANDOM, "-q", "--iters=3", f"--json={path}")
    assert outcome.code == 0, outcome
    report, text = json.loads(path.read_text()), as_text(plan)
    assert FIELDS <= set(report)
    assert report["schema"] == 1 and report["ranks"] == size(mesh) and report["device"].startswith("cpu")
    assert report["transport"] == ("threads" if where is None else "mpi") and report["steps"] == 3
    assert report["plan_digest"] == hashlib.sha256(plan.read_bytes()[64:]).hexdigest()
    held = sum(4 * int(n) for n in re.findall(r"plan\.weight @\S+ (\d+) : f32", text))
    assert held > 0 and report["weights_bytes_per_rank"] == [held] * size(mesh)
    arena = int(re.search(r"arena_bytes = (\d+)", text)[1])
    assert report["arena_bytes_per_rank"] == [arena] * size(mesh) and arena >= report["arena_live_bytes_bound"] > 0
    # Everything that all ranks hold is a weight, a copy of one, or padding.
    source = (ROOT / "examples" / f"{name}.mlir").read_text()
    shapes = re.findall(r"ml_program\.global private @\S+\(#ml_program\.extern : tensor<([\dx]+)xf32>\)", source)
    assert report["weights_bytes_unsharded"] == sum(4 * int(np.prod([int(n) for n in shape.split("x")])) for shape in shapes)
    assert 0 <= report["padding_bytes"] <= held * size(mesh) - report["weights_bytes_unsharded"] or mesh == "tp:1"
    in_plan = re.findall(r"plan\.(all_reduce|all_gather|reduce_scatter|all_to_all) x\(%\d+\[0, ([\dx]+)f32\]\)", text)
    assert len(report["collectives"]) == len(in_plan)
    for collective, (kind, dims) in zip(report["collectives"], in_plan):
        assert {"kind", "axes", "bytes", "location", "predicted_us", "measured_us"} <= set(collective)
        assert collective["kind"] == kind and set(collective["axes"]) <= {"tp", "node"} and collective["axes"]
        p = int(np.prod([size(axis) for axis in mesh.split(",") if axis.split(":")[0] in collective["axes"]]))
        n = 4 * int(np.prod([int(d) for d in dims.rstrip("x").split("x")])) * (p if kind == "all_gather" else 1)
        assert collective["tensor_bytes"] == n and collective["bytes"] == ROUNDS[kind] * (p - 1) * n // p
        assert collective["location"] and collective["cause"] and collective["predicted_us"] > 0 and collective["measured_us"] > 0
        # As nccl-tests: the whole tensor over the time, and what of it crosses a rank's link.
        assert collective["algbw_gb_per_s"] == pytest.approx(n / collective["measured_us"] * 1e-3)
        assert collective["busbw_gb_per_s"] == pytest.approx(collective["algbw_gb_per_s"] * ROUNDS[kind] * (p - 1) / p)
    # Nobody knows what the processor could do at best.
    times = report["time_ms"]
    assert "bound" not in times and not any("bound_us" in op for op in report["ops"])
    assert 0 < times["min"] <= times["median"] and times["compute"] > 0 and times["communication"] >= 0 and times["wait"] >= 0
    assert times["compute"] + times["communication"] + times["wait"] == pytest.approx(times["median"])


@pytest.mark.parametrize("where", [None, 2], ids=["threads", "mpi"])
def test_trace(tmp_path, where):
    path = tmp_path / "trace.json"
    assert tp_run(where, example("mlp", "tp:2"), *RANDOM, "-q", f"--trace={path}").code == 0
    events = json.loads(path.read_text())["traceEvents"]
    assert {e["pid"] for e in events if e["ph"] == "M"} == {0, 1}
    spans = [e for e in events if e["ph"] == "X"]
    assert all(e["ts"] >= 0 and e["dur"] >= 0 and {"name", "tid", "args"} <= set(e) for e in spans)
    for rank in (0, 1):
        names = [e["name"] for e in spans if e["pid"] == rank]
        assert names.count("matmul") == 2 and "all_reduce" in names and "all_reduce (wait)" in names
        # Streams: 0 computes, 1 communicates.
        assert {e["tid"] for e in spans if e["pid"] == rank and e["name"].startswith("all_reduce")} == {1}


def save_weights(path: pathlib.Path, changed: bool) -> pathlib.Path:
    rng = np.random.default_rng(1)
    shapes = {"up.weight": (1024, 256), "up.bias": (1024,), "down.weight": (256, 1024), "down.bias": (256,)}
    tensors = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    if changed:
        tensors["down.weight"][7, 1000] += 1
    safetensors.numpy.save_file(tensors, path)
    return path


@pytest.mark.parametrize("where", [None, 2], ids=["threads", "mpi"])
def test_value_dumps_lead_to_the_first_op_that_differs(tmp_path, where, capfd):
    plan = example("mlp", "tp:2")
    for folder, changed in (("a", False), ("again", False), ("b", True)):
        file = save_weights(tmp_path / f"{folder}.safetensors", changed)
        outcome = tp_run(where, plan, f"--parameters={file}", "--random-inputs=1", "-q", "--iters=2", f"--dump-values={tmp_path / folder}")
        assert outcome.code == 0, outcome
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert {(v["op"], v["rank"]) for v in index["values"]} == {(0, 0), (0, 1), (1, 0), (1, 1), (4, 0), (4, 1), (7, 0)}
    assert all((tmp_path / "a" / v["file"]).exists() for v in index["values"])
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "again")]) == 0
    capfd.readouterr()
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) != 0
    text = "".join(capfd.readouterr())
    # Column 1000 of the weight is rank 1's: op 1 on rank 1.
    marked, = [line for line in text.splitlines() if ">" in line]
    assert re.match(r"\W*> \W*1\W+matmul\W+down\W+1\W", marked), text


@pytest.mark.parametrize("where", [None, 3], ids=["threads", "mpi"])
def test_dry_run(tmp_path, where):
    outcome = tp_run(where, example("mlp", "tp:3"), "--dry-run", f"--json={tmp_path / 'r.json'}")
    assert outcome.code == 0 and "nothing was run" in outcome.err and outcome.out == "", outcome
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["ranks"] == 3 and "time_ms" not in report and report["collectives"]
    assert tp_run(where, example("mlp", "tp:3"), "--dry-run", "--inject=*:memory=1000:limit").code == 5


@pytest.mark.parametrize("mesh", SHARED_MESHES)
def test_verify(mesh):
    for name in EXAMPLES:
        outcome = run_command([toolchain.find("tp-run"), str(example(name, mesh)), "--verify"])
        assert outcome.code == 0 and outcome.out == "" and "is accepted for all" in outcome.err, outcome
        quiet = run_command([toolchain.find("tp-run"), str(example(name, mesh)), "--verify", "-q"])
        assert quiet.code == 0 and quiet.err == "", quiet


@pytest.mark.parametrize("where", [None, 3], ids=["threads", "mpi"])
def test_expected_output(tmp_path, where):
    expected = tmp_path / "one.npy"
    outputs(None, example("attention", "tp:1"), tmp_path)
    (tmp_path / "y.npy").rename(expected)
    compared = [example("attention", "tp:3"), *RANDOM, f"--expected-output=y=@{expected}"]
    outcome = tp_run(where, *compared, f"--json={tmp_path / 'r.json'}")
    assert outcome.code == 0, outcome
    check, = json.loads((tmp_path / "r.json").read_text())["expected_outputs"]
    assert check["name"] == "y" and check["equal"] and check["max_error"] < 1e-5
    # The sums of three ranks round otherwise than one; without tolerance that shows.
    outcome = tp_run(where, *compared, "--rtol=0", "--atol=0", f"--json={tmp_path / 'r.json'}")
    assert outcome.code == 8 and "output 'y' differs" in outcome.err, outcome
    assert not json.loads((tmp_path / "r.json").read_text())["expected_outputs"][0]["equal"]


LOOKUP = """
module attributes {tp.model = "lookup"} {
  ml_program.global private @table(#ml_program.extern : tensor<11x8xf32>) : tensor<11x8xf32> {tp.key = "table"}
  func.func @forward(%ids: tensor<2x4xi64> {tp.name = "ids", tp.range = array<i64: 0, 11>}) -> (tensor<2x4x8xf32> {tp.name = "y"}) {
    %t = ml_program.global_load_const @table : tensor<11x8xf32>
    %0 = tp.embedding %ids, %t : (tensor<2x4xi64>, tensor<11x8xf32>) -> tensor<2x4x8xf32> loc("embedding")
    return %0 : tensor<2x4x8xf32>
  }
}
"""


@pytest.mark.parametrize("mesh", ["tp:1", "tp:2", "tp:3", "tp:4"])
def test_integers_of_both_widths(tmp_path, mesh):
    plan = ranks.compile_text("lookup", LOOKUP, mesh)
    ids = np.array([[0, 10, 5, 3], [7, 7, 1, 9]])
    table = np.arange(88, dtype=np.float32).reshape(11, 8)
    safetensors.numpy.save_file({"table": table}, tmp_path / "t.safetensors")
    for kind in (np.int32, np.int64):
        np.save(tmp_path / "ids.npy", ids.astype(kind))
        outcome = tp_run(None, plan, f"--parameters={tmp_path}", f"--input=ids=@{tmp_path / 'ids.npy'}", "-q", f"--output=y=@{tmp_path / 'y.npy'}")
        assert outcome.code == 0, outcome
        assert (np.load(tmp_path / "y.npy") == table[ids]).all()
    for kind in (np.float32, np.int16, np.uint8):
        np.save(tmp_path / "ids.npy", ids.astype(kind))
        assert tp_run(None, plan, f"--parameters={tmp_path}", f"--input=ids=@{tmp_path / 'ids.npy'}").code == 2


def test_what_is_printed():
    tool, plan = toolchain.find("tp-run"), example("mlp", "tp:2")
    version = run_command([tool, "--version"])
    assert version.code == 0 and re.fullmatch(r"tp-run \d+\.\d+\.\d+\n", version.out) and version.err == ""
    assert run_command([tool, "--help"]).out.count("--") > 25
    for where in (None, 2):
        outcome = tp_run(where, plan, *RANDOM, "--iters=2")
        assert outcome.code == 0 and len(outcome.err.splitlines()) <= 12, outcome
        assert re.match(r"y f32 4x128x256:( \S+){16} \.\.\.$", outcome.out), outcome
        for word in ("plan ", "mesh ", "memory ", "steps ", "collective all_reduce", "split "):
            assert word in outcome.err, outcome
        longer = tp_run(where, plan, *RANDOM, "--iters=2", "--report")
        assert len(longer.err.splitlines()) > len(outcome.err.splitlines()) and "down" in longer.err
        quiet = tp_run(where, plan, *RANDOM, "-q")
        assert quiet.code == 0 and quiet.err == "" and quiet.out == "", quiet


def test_bf16(tmp_path):
    text = (ROOT / "examples" / "mlp.mlir").read_text().replace("f32", "bf16")
    results = {}
    for mesh in ("tp:1", "tp:2", "tp:3"):
        plan = ranks.compile_text("mlp-bf16", text, mesh)
        outcome = tp_run(None, plan, *RANDOM, "-q", f"--output=y=@{tmp_path / 'y.npy'}")
        assert outcome.code in (0, 3), outcome
        if outcome.code == 3:  # a processor without bf16 instructions refuses, with the remedy
            assert "--dtype f32" in outcome.err
            return
        bits = np.load(tmp_path / "y.npy").view(np.uint16).astype(np.uint32) << 16
        results[mesh] = bits.view(np.float32)
    for mesh in ("tp:2", "tp:3"):
        # Partial results are rounded to 8 bits once per rank, and their sum once more.
        assert np.abs(results[mesh] - results["tp:1"]).max() <= 2**-7 * np.abs(results["tp:1"]).max()
