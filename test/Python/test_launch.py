# SPDX-License-Identifier: Apache-2.0
"""What compile, run and the command line compose and how they fail, with shell scripts in the place of tp-opt and tp-run.

The scripts write down their arguments; so each case sees the command as the tool would.
"""

import json
import os
import pathlib
import stat
import time

import ml_dtypes
import numpy as np
import pytest
import tenon
from tenon import cli, plans, toolchain

TP_OPT = """#!/bin/sh
printf '%s\\n' "$@" > "$LOG/tp-opt"
[ -n "$FAIL_OPT" ] && { echo "model.mlir:3:1: error: no rule for tp.odd" >&2; exit 1; }
echo "the table" >&2
while [ "$1" != -o ]; do shift; done
echo plan > "$2"
"""
# Copies the input to the output; the JSON report is fixed.
TP_RUN = """#!/bin/sh
printf '%s\\n' "$@" > "$LOG/tp-run"
[ -n "$SLEEP" ] && sleep "$SLEEP"
[ -n "$FAIL_RUN" ] && { echo "tp-run: error: no weight named x" >&2; exit "$FAIL_RUN"; }
for a in "$@"; do
  case $a in
    --input=*) in=${a##*@} ;;
    --output=*) out=${a##*@} ;;
    --json=*) echo '{"ranks": 2}' > "${a#--json=}" ;;
  esac
done
[ -n "$out" ] && cp "$in" "$out.$$" && mv "$out.$$" "$out"
exit 0
"""
MANIFEST = {"schema": 1, "model": "M", "parameters": "/weights", "weights": [{"key": "w"}], "constants": "constants.safetensors",
            "entries": [{"name": "forward", "inputs": [{"name": "x", "shape": [2], "dtype": "f32"}],
                         "outputs": [{"name": "y", "shape": [2], "dtype": "f32"}]}]}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder with the two scripts, a log folder, and an exported model."""
    for name, text in (("tp-opt", TP_OPT), ("tp-run", TP_RUN)):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "log").mkdir()
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text(json.dumps(MANIFEST))
    monkeypatch.setenv("TENON_BIN", str(tmp_path / "bin"))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def logged(tools, name):
    return (tools / "log" / name).read_text().splitlines()


def test_compile_composes_the_pipeline(tools):
    plan = tenon.compile(tools / "model", tp=2, memory="shard", replicate_over=["a", "b"], report=True)
    arguments = logged(tools, "tp-opt")
    assert arguments == [str(tools / "model/model.mlir"), "--tp-compile=mesh=tp:2 memory=shard replicate-over=a,b", "--tp-report",
                         "--emit=plan", "-o", str(tools / "model/model.tp2.plan")]
    assert plan.ranks == 2 and plan.path.read_text() == "plan\n" and plan.report == "the table\n"
    assert tenon.compile(tools / "model", mesh="node:2,tp:3").ranks == 6


def test_compile_errors_carry_the_message(tools, monkeypatch):
    monkeypatch.setenv("FAIL_OPT", "1")
    with pytest.raises(tenon.ToolError, match=r"tp-opt: model.mlir:3:1: error: no rule for tp.odd") as raised:
        tenon.compile(tools / "model")
    assert raised.value.code == 1 and "--emit=plan" in raised.value.command


@pytest.mark.parametrize("local", [True, False])
def test_run_gives_arrays_for_arrays(tools, local):
    plan = tenon.compile(tools / "model", tp=2)
    report = {}
    x = np.array([1.5, -2], np.float32)
    got = tenon.run(plan, {"x": x}, local_ranks=local, threads=1, report=report, options=["--iters=2"], deadline=60)
    assert list(got) == ["y"] and np.array_equal(got["y"], x) and report == {"ranks": 2}
    arguments = logged(tools, "tp-run")
    assert arguments[0] == str(plan.path) and ("--local-ranks" in arguments) == local
    assert f"--parameters=/weights,{tools / 'model'}" in arguments and "--threads=1" in arguments and arguments[-1] == "--iters=2"


def test_bf16_survives_the_files(tools):
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["entries"][0]["outputs"][0]["dtype"] = "bf16"
    (tools / "model/model.json").write_text(json.dumps(manifest))
    x = np.array([1, 3], ml_dtypes.bfloat16)
    got = tenon.run(tenon.compile(tools / "model"), {"x": x}, local_ranks=True)["y"]
    assert got.dtype == ml_dtypes.bfloat16 and np.array_equal(got, x)


@pytest.mark.parametrize("local", [True, False])
def test_run_errors_carry_message_and_code(tools, monkeypatch, local):
    plan = tenon.compile(tools / "model", tp=2)
    monkeypatch.setenv("FAIL_RUN", "3")
    with pytest.raises(tenon.ToolError, match="^tp-run: tp-run: error: no weight named x") as raised:
        tenon.run(plan, {"x": np.zeros(2)}, local_ranks=local, deadline=60)
    assert raised.value.code == 3


def test_run_has_a_deadline(tools, monkeypatch):
    plan = tenon.compile(tools / "model", tp=1)
    monkeypatch.setenv("SLEEP", "30")
    start = time.monotonic()
    with pytest.raises(tenon.ToolError, match="no result within 0.5 s"):
        tenon.run(plan, {"x": np.zeros(2)}, local_ranks=True, deadline=0.5)
    assert time.monotonic() - start < 15


def test_wrong_names_are_usage_errors(tools):
    plan = tenon.compile(tools / "model")
    with pytest.raises(tenon.UsageError, match="expected the inputs x, found z"):
        tenon.run(plan, {"z": np.zeros(2)})
    with pytest.raises(tenon.UsageError, match="expected an entry among forward, found other"):
        tenon.run(plan, {"x": np.zeros(2)}, entry="other")
    with pytest.raises(tenon.UsageError, match="expected a mesh such as"):
        tenon.compile(tools / "model", mesh="tp")
    with pytest.raises(tenon.UsageError, match="expected an exported model in"):
        tenon.compile(tools)


def test_weights_must_be_named(tools):
    (tools / "model/model.json").write_text(json.dumps({**MANIFEST, "parameters": None}))
    plan = tenon.compile(tools / "model")
    with pytest.raises(tenon.UsageError, match="name one with --parameters, or use --random-weights"):
        tenon.run(plan, {"x": np.zeros(2)}, local_ranks=True)
    tenon.run(plan, {"x": np.zeros(2)}, local_ranks=True, random_weights=7)
    assert "--random-weights=7" in logged(tools, "tp-run")
    tenon.run(plan, {"x": np.zeros(2)}, local_ranks=True, parameters="/w")
    assert f"--parameters=/w,{tools / 'model'}" in logged(tools, "tp-run")


def test_command_line_run_passes_options_through(tools, capfd):
    np.save(tools / "x.npy", np.zeros(2))
    code = cli.main(["run", str(tools / "model"), "--tp", "2", f"--input=x=@{tools / 'x.npy'}", "--iters=5", "--report",
                     "--compile", "machine=cpu"])
    assert code == 0
    assert logged(tools, "tp-opt")[1:] == ["--tp-compile=mesh=tp:2 machine=cpu", "--emit=plan", "-o", str(tools / "model/model.plan")]
    assert logged(tools, "tp-run")[-3:] == [f"--input=x=@{tools / 'x.npy'}", "--iters=5", "--report"]
    lines = [n for n in capfd.readouterr().err.splitlines() if n.startswith("$ ")]
    assert "tp-opt" in lines[0] and "mpirun" in lines[1] and "--oversubscribe --bind-to none -n 2" in lines[1]
    assert ("--allow-run-as-root" in lines[1]) == (os.geteuid() == 0)


def test_command_line_exit_codes(tools, monkeypatch, capfd):
    run = ["run", str(tools / "model"), "--local-ranks"]
    monkeypatch.setenv("FAIL_RUN", "6")
    assert cli.main(run) == 6
    monkeypatch.setenv("FAIL_OPT", "1")
    assert cli.main(run) == 3
    assert cli.main([*run, "--tp", "2", "--mesh", "tp:2"]) == 2
    assert cli.main(["export", str(tools / "absent"), "--batch", "1", "--seq", "8", "-o", str(tools / "out")]) == 2
    with pytest.raises(SystemExit) as raised:
        cli.main(["export", "x", "--batch", "1", "--seq", "a", "-o", "out"])
    assert raised.value.code == 2
    with pytest.raises(SystemExit) as raised:
        cli.main(["compare", "a", "b", "--unknown"])
    assert raised.value.code == 2
    capfd.readouterr()


def test_a_missing_tool_is_named(tools, monkeypatch):
    monkeypatch.setenv("TENON_BIN", str(tools / "log"))
    monkeypatch.setenv("TENON_BUILD_DIR", str(tools / "log"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(toolchain, "__file__", str(tools / "a/b/c/toolchain.py"))
    with pytest.raises(tenon.UsageError, match="tp-opt was not found"):
        tenon.compile(tools / "model")


# Value dumps.


def dump(folder: pathlib.Path, values):
    folder.mkdir()
    index = []
    for i, (name, array) in enumerate(values):
        np.save(folder / f"{i}.npy", array)
        index.append({"op": "matmul", "name": name, "location": f"layer.{i}", "rank": 0, "file": f"{i}.npy",
                      "shape": list(array.shape), "dtype": "f32"})
    (folder / "index.json").write_text(json.dumps(index))
    return str(folder)


def test_compare_names_the_first_op_that_differs(tmp_path, capfd):
    a, b, c = (np.arange(6, dtype=np.float32).reshape(2, 3) + i for i in range(3))
    changed = b.copy()
    changed[1, 2] += 1
    first = dump(tmp_path / "a", [("x", a), ("y", b), ("z", c), ("only", a)])
    second = dump(tmp_path / "b", [("x", a + 1e-7), ("y", changed), ("z", c * 2)])
    assert cli.main(["compare", first, second]) == 8
    out = capfd.readouterr().out
    marked = next(n for n in out.splitlines() if ">" in n)
    assert " y " in marked and "layer.1" in marked and "[1, 2]: 6, 7" in marked
    assert "3 values compared, 1 only in the first dump" in out
    assert cli.main(["compare", first, first]) == 0
    assert cli.main(["compare", first, str(tmp_path)]) == 2


def test_compare_sees_nan_and_shapes(tmp_path):
    from tenon.dumps import compare

    a = np.ones(3, np.float32)
    bad = a.copy()
    bad[1] = np.nan
    first = pathlib.Path(dump(tmp_path / "a", [("x", a), ("y", a)]))
    nan = pathlib.Path(dump(tmp_path / "b", [("x", bad), ("y", a)]))
    assert compare(first, nan).first.index == (1,)
    assert compare(nan, nan).first is None
    shapes = pathlib.Path(dump(tmp_path / "c", [("x", a), ("y", a[:2])]))
    assert compare(first, shapes).first.shapes == ([3], [2])
    assert plans.ranks_of("node:2,tp:4") == 8


def test_report_shows_tables(tmp_path, capfd):
    report = {"schema": 1, "ranks": 2, "device": "cpu", "plan_digest": "ab" * 32, "weights_bytes_per_rank": [2**20, 2**20], "padding_bytes": 0,
              "arena_bytes_per_rank": [2**21, 2**21], "weights_bytes_unsharded": 2**21,
              "collectives": [{"kind": "all_reduce", "axes": ["tp"], "bytes": 98304, "location": "encoder.layer.0", "predicted_us": 20.0,
                               "measured_us": 31.5}],
              "time_ms": {"min": 1.0, "median": 1.5, "compute": 1.0, "communication": 0.25, "wait": 0.25}}
    (tmp_path / "r.json").write_text(json.dumps(report))
    assert cli.main(["report", str(tmp_path / "r.json")]) == 0
    out = capfd.readouterr().out
    assert "98,304" in out and "encoder.layer.0" in out and "2.00 MiB" in out
