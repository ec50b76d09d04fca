# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, and what tp-run then does: the right exit code, one message that names the place, an end in time, nothing left behind.

Each test is a row of the fault table in docs/Runtime.md. Rows that make sense without processes run with ranks as threads too. `tp_run` demands after
every run that no process is left; the fixture below, that no partial file is.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import ranks
import safetensors.numpy
from ranks import RANDOM, each, example, run_command, tp_run
from tenon import toolchain

THREADS = None
# Deadline for an op where a test waits for it, and what may pass from it to the end of all ranks.
DEADLINE, SLACK = 1.5, 3.0
everywhere = pytest.mark.parametrize("where", [THREADS, 2, 3], ids=["threads", "mpi2", "mpi3"])
threads_and_mpi = pytest.mark.parametrize("where", [THREADS, 2], ids=["threads", "mpi2"])


@pytest.fixture(autouse=True)
def no_partial_files(tmp_path):
    yield
    assert not ranks.partial_files(tmp_path, ranks.plans())


def mlp(where) -> pathlib.Path:
    """Ops: 0 matmul at up, 1 matmul at down, 2 record, 3 wait, 4 all_reduce at down."""
    return example("mlp", f"tp:{where or 2}")


def once(outcome: ranks.Outcome, code: int, *parts: str) -> None:
    """One message, from one rank, with these parts."""
    assert outcome.code == code, outcome
    assert len(outcome.messages) == 1, outcome
    for part in parts:
        assert part in outcome.err, outcome


def ended(outcome: ranks.Outcome, code: int, within: float) -> None:
    assert outcome.code == code, outcome
    assert outcome.seconds <= within, outcome


WEIGHTS = {"up.weight": (1024, 256), "up.bias": (1024,), "down.weight": (256, 1024), "down.bias": (256,)}


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {key: (0.02 * rng.standard_normal(shape)).astype(np.float32) for key, shape in WEIGHTS.items()}


def save(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> pathlib.Path:
    safetensors.numpy.save_file(tensors, path)
    return path


def relabel(path: pathlib.Path, change) -> pathlib.Path:
    """Changes the header of a safetensors file and leaves its data."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length:])
    return path


@everywhere
def test_row_1_unknown_flag(where):
    once(tp_run(where, mlp(where), "--colour"), 2, "--colour")


@pytest.mark.parametrize("arguments, part", [
    (["--input=nothing=@x.npy"], "has no 'nothing'"), (["--output=nothing=@x.npy"], "has no 'nothing'"), (["--entry=backward"], "has no 'backward'"),
    ([], "input 'x' (f32 4x128x256) is missing"), (["--iters=0"], "--iters"), (["--input=x"], "expected NAME=@FILE"), (["--device=tpu"], "expected cpu")])
@threads_and_mpi
def test_row_1_other_usage(where, arguments, part):
    once(tp_run(where, mlp(where), *arguments), 2, part)


def test_row_1_threads_under_a_launcher():
    once(run_command(ranks.command(2, mlp(2), *RANDOM, "--local-ranks")), 2, "--local-ranks: expected one process, found 2")


def test_row_2_another_number_of_ranks():
    plan = example("mlp", "tp:4")
    once(tp_run(3, plan, *RANDOM), 2, "the plan is for 4 ranks, found 3", f"-n 4 tp-run {plan}")
    once(tp_run(1, plan, *RANDOM), 2, "the plan is for 4 ranks, found 1")
    once(run_command([toolchain.find("tp-run"), str(plan), *RANDOM]), 2, "the plan is for 4 ranks, found 1", "mpirun")


@pytest.mark.parametrize("variable", ["PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_row_3_another_mpi(variable):
    once(run_command([toolchain.find("tp-run"), str(mlp(2)), *RANDOM], {variable: "4"}), 2, "started by another MPI than it was built with")


@pytest.mark.parametrize("count", [2, 4])
def test_row_4_plan_unreadable_on_one_rank(tmp_path, count):
    lines = [[mlp(count), *RANDOM] for _ in range(count)]
    lines[1][0] = tmp_path / "missing.plan"
    once(run_command(each(*lines)), 3, "missing.plan", "No such file or directory", f"(rank 1 on {os.uname().nodename})")


def damaged(raw: bytes) -> dict[str, bytes]:
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 4
    version = bytearray(raw)
    version[8] += 1
    return {"truncated": raw[:-100], "header only": raw[:40], "empty": b"", "flipped": bytes(flipped), "trailing": raw + b"\0" * 8,
            "format": bytes(version), "another file": b"module {}\n" * 20}


@pytest.mark.parametrize("kind", list(damaged(bytes(1000))))
@threads_and_mpi
def test_row_5_damaged_plan(tmp_path, where, kind):
    path = tmp_path / "damaged.plan"
    path.write_bytes(damaged(mlp(where).read_bytes())[kind])
    once(tp_run(where, path, *RANDOM), 3, "damaged.plan")


def test_row_6_another_plan():
    other = example("linear_row", "tp:2")
    once(run_command(each([mlp(2), *RANDOM], [other, *RANDOM])), 4, "plan  rank 0 on ", "plan  rank 1 on ")


def test_row_6_another_binary(tmp_path):
    tool = tmp_path / "tp-run"
    shutil.copy(toolchain.find("tp-run"), tool)
    with open(tool, "ab") as file:
        file.write(b"\0")
    line = each(*[[mlp(3), *RANDOM]] * 3, tools={1: tool})
    once(run_command(line), 4, "binary  rank 0 on ", "binary  rank 1 on ", "binary  rank 2 on ")


@pytest.mark.parametrize("option, field", [("--isa=sse2", "isa"), ("--threads=2", "threads"), ("--iters=3", "steps"), ("--check-collectives", "check-collectives"),
                                           ("--graph=on", "graph")])
def test_row_6_another_setting(option, field):
    common = [mlp(2), "--random-weights=1", "--random-inputs=1"]
    threads = [] if field == "threads" else ["--threads=1"]
    once(run_command(each([*common, "--threads=1"], [*common, *threads, option])), 4, f"{field}  rank 0 on ", f"{field}  rank 1 on ")


def lie(tmp_path: pathlib.Path, kind: str) -> tuple[pathlib.Path, list[str]]:
    """A file of weights with a mistake, and what the message must name."""
    tensors = weights()
    path = tmp_path / "model.safetensors"
    names = [str(path)]
    if kind == "missing key":
        del tensors["down.bias"]
        return save(path, tensors), names + ["key 'down.bias' is missing"]
    if kind == "shape":
        tensors["up.weight"] = tensors["up.weight"].T.copy()
        return save(path, tensors), names + ["key 'up.weight': expected shape 1024x256, found 256x1024"]
    if kind == "dtype":
        tensors["up.bias"] = tensors["up.bias"].astype(np.int32)
        return save(path, tensors), names + ["key 'up.bias': expected dtype F32, found I32"]
    save(path, tensors)
    if kind == "header":
        path.write_bytes((101 << 20).to_bytes(8, "little") + path.read_bytes()[8:])
        return path, names + ["header of 105906176 bytes"]
    if kind == "overlap":
        def change(header):
            begin, end = header["up.bias"]["data_offsets"]
            header["up.bias"]["data_offsets"] = [begin - 4, end - 4]
        return relabel(path, change), names + ["overlaps key"]
    if kind == "overflow":
        def change(header):
            header["up.bias"]["shape"] = [1 << 40, 1 << 40]
        return relabel(path, change), names + ["key 'up.bias': shape", "overflows"]
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["missing key", "shape", "dtype", "header", "overlap", "overflow"])
@threads_and_mpi
def test_row_7_lying_weights(tmp_path, where, kind):
    path, parts = lie(tmp_path, kind)
    once(tp_run(where, mlp(where), f"--parameters={path}", "--random-inputs=1"), 3, *parts)


def test_row_7_good_weights(tmp_path):
    path = save(tmp_path / "model.safetensors", weights())
    outcome = tp_run(THREADS, mlp(2), f"--parameters={path}", "--random-inputs=1", "-q", f"--output=y=@{tmp_path / 'y.npy'}")
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("bytes_left", [8, 200, 2_000_000])
def test_row_8_truncated_on_one_rank(tmp_path, bytes_left):
    good = save(tmp_path / "good.safetensors", weights())
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(good.read_bytes()[:bytes_left])
    outcome = run_command(each([mlp(2), f"--parameters={good}", "--random-inputs=1"], [mlp(2), f"--parameters={bad}", "--random-inputs=1"]))
    once(outcome, 3, str(bad), "truncated")
    assert "SIGBUS" not in outcome.err


EMBEDDING = """
module attributes {tp.model = "embedding"} {
  ml_program.global private @table(#ml_program.extern : tensor<10x8xf32>) : tensor<10x8xf32> {tp.key = "table"}
  func.func @forward(%ids: tensor<2x4xi64> {tp.name = "ids", tp.range = array<i64: 0, 10>}) -> (tensor<2x4x8xf32> {tp.name = "y"}) {
    %t = ml_program.global_load_const @table : tensor<10x8xf32>
    %0 = tp.embedding %ids, %t : (tensor<2x4xi64>, tensor<10x8xf32>) -> tensor<2x4x8xf32> loc("embedding")
    return %0 : tensor<2x4x8xf32>
  }
}
"""


@pytest.mark.parametrize("value", [10, -1])
@everywhere
def test_row_9_token_out_of_range(tmp_path, where, value):
    plan = ranks.compile_text("embedding", EMBEDDING, f"tp:{where or 2}")
    ids = np.zeros((2, 4), np.int32)
    ids[1, 2] = value
    np.save(tmp_path / "ids.npy", ids)
    once(tp_run(where, plan, "--random-weights=1", f"--input=ids=@{tmp_path / 'ids.npy'}"), 2,
         f"input 'ids': element [1,2] is {value}, expected a value in [0, 10)")


# A weight is 256 x 1024 over the ranks; the intermediate is 4 x 128 x 1024 over them.
LARGEST = "the largest are buffer "


@everywhere
def test_row_10_memory_budget(where):
    once(tp_run(where, mlp(where), *RANDOM, "--inject=*:memory=1000:limit"), 5, "available are 1000 B", LARGEST)


@pytest.mark.parametrize("nth", range(6))
@threads_and_mpi
def test_row_10_failing_allocation(where, nth):
    # Four weights, the arena, then what kernels need for themselves.
    once(tp_run(where, mlp(where), *RANDOM, f"--inject=1:alloc={nth}:fail") if nth < 5 else
         tp_run(where, mlp(where), *RANDOM, "--inject=0:alloc=0:fail", "--inject=1:alloc=1:fail"), 5, "cannot allocate", LARGEST)


@everywhere
def test_row_11_unsupported_op(where):
    text = (ranks.ROOT / "examples" / "mlp.mlir").read_text().replace("f32", "bf16")
    plan = ranks.compile_text("mlp-bf16", text, f"tp:{where or 2}")
    once(tp_run(where, plan, *RANDOM, environment={"DNNL_MAX_CPU_ISA": "AVX2"}), 3, "matmul at up", "bf16", "--dtype f32")


@everywhere
def test_row_12_kernel_error(where):
    once(tp_run(where, mlp(where), *RANDOM, "--inject=1:op=1:error"), 7, "rank 1: forward, step 0, op 1: matmul at down: injected error")


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("row, kind, code, signal_name", [(13, "exit", None, ""), (14, "kill", 137, ""), (15, "segv", 139, "SIGSEGV"), (15, "abort", 134, "SIGABRT")])
def test_rows_13_to_15_a_rank_dies(row, kind, code, signal_name, count):
    outcome = tp_run(count, mlp(count), *RANDOM, f"--inject=1:op=1:{kind}", "--inject=0:op=2:sleep")
    assert outcome.code == code if code else outcome.code != 0, outcome
    assert outcome.seconds <= 5, outcome
    assert "SIGTERM: in forward, step 0, op 2 record at down" in outcome.state(0), outcome
    for peer in range(2, count):
        assert "SIGTERM: in forward, step 0, op 4 all_reduce at down, collective 1" in outcome.state(peer), outcome
    if signal_name:
        assert f"{signal_name}: in forward, step 0, op 1 matmul at down" in outcome.state(1), outcome


def test_row_15_a_crash_as_threads():
    outcome = tp_run(THREADS, mlp(2), *RANDOM, "--inject=1:op=1:segv")
    assert outcome.code == -signal.SIGSEGV, outcome
    assert "SIGSEGV: in forward, step 0, op 1 matmul at down" in outcome.state(1), outcome


@pytest.mark.parametrize("where", [THREADS, 2, 4], ids=["threads", "mpi2", "mpi4"])
@pytest.mark.parametrize("transport", ["shared", "messages"])
def test_row_16_a_rank_sleeps(where, transport):
    if where is THREADS and transport == "messages":
        transport = "graph"
    options = {"shared": [], "messages": ["--messages"], "graph": ["--graph=on"]}[transport]
    # With a graph step 0 is run as usual and step 1 is the first that is replayed.
    step = 1 if transport == "graph" else 0
    outcome = tp_run(where, mlp(where), *RANDOM, *options, f"--timeout={DEADLINE}", f"--inject=1:op=1@{step}:sleep")
    ended(outcome, 6, DEADLINE + SLACK)
    assert f"in forward, step {step}, op 1 matmul at down" in outcome.state(1), outcome
    for peer in [r for r in range(where or 2) if r != 1]:
        assert f"in forward, step {step}, op 4 all_reduce at down, collective {step + 1}" in outcome.state(peer), outcome


@pytest.mark.parametrize("graph", ["on", "off"])
@threads_and_mpi
def test_row_16_a_rank_sleeps_before_a_step(where, graph):
    outcome = tp_run(where, mlp(where), *RANDOM, f"--graph={graph}", "--iters=2", f"--timeout={DEADLINE}", "--inject=1:step=1:sleep")
    ended(outcome, 6, DEADLINE + SLACK)
    assert "in forward, step 1, op 0" in outcome.state(1), outcome
    assert "in forward, step 1, op 4 all_reduce at down, collective 2" in outcome.state(0), outcome


@pytest.mark.parametrize("count", [2, 3])
def test_row_17_a_rank_stops(count):
    outcome = tp_run(count, mlp(count), *RANDOM, f"--timeout={DEADLINE}", "--inject=1:op=1:stop")
    ended(outcome, 6, DEADLINE + SLACK)
    assert "deadline passed: in forward, step 0, op 4 all_reduce at down" in outcome.err, outcome
    assert "in forward, step 0, op 4 all_reduce at down" in outcome.state(0), outcome


def test_row_18_a_rank_ignores_sigterm():
    # Rank 0 is killed half way to the deadline, and rank 1 does not listen.
    outcome = tp_run(2, mlp(2), *RANDOM, f"--timeout={DEADLINE}", "--inject=1:op=1:stubborn", "--inject=0:op=1:kill")
    assert outcome.code != 0 and outcome.seconds <= DEADLINE + 5, outcome
    outcome = tp_run(2, mlp(2), *RANDOM, "--timeout=60", "--inject=1:op=1:stubborn", "--inject=0:op=1:error")
    assert outcome.code == 7 and outcome.seconds <= 8, outcome


def twice(where) -> pathlib.Path:
    """Two layers, each with an all_reduce over all ranks."""
    return ranks.compile_text("twice", TWICE, f"tp:{where or 2}")


LAYER = """
    %u{i} = ml_program.global_load_const @up : tensor<64x16xf32>
    %d{i} = ml_program.global_load_const @down : tensor<16x64xf32>
    %a{i} = tp.matmul "sk,nk->sn" {x}, %u{i} : (tensor<8x16xf32>, tensor<64x16xf32>) -> tensor<8x64xf32> loc("layer.{i}.up")
    %b{i} = tp.unary gelu %a{i} : tensor<8x64xf32> loc("layer.{i}.act")
    %c{i} = tp.matmul "sk,nk->sn" %b{i}, %d{i} : (tensor<8x64xf32>, tensor<16x64xf32>) -> tensor<8x16xf32> loc("layer.{i}.down")
    %y{i} = tp.unary tanh %c{i} {{tp.sharding = #tp.sharding<[{{}}, {{}}]>}} : tensor<8x16xf32> loc("layer.{i}.out")
"""
TWICE = """
module attributes {tp.model = "twice"} {
  ml_program.global private @up(#ml_program.extern : tensor<64x16xf32>) : tensor<64x16xf32> {tp.key = "up", tp.sharding = #tp.sharding<[{"tp"}, {}]>}
  ml_program.global private @down(#ml_program.extern : tensor<16x64xf32>) : tensor<16x64xf32> {tp.key = "down", tp.sharding = #tp.sharding<[{}, {"tp"}]>}
  func.func @forward(%x: tensor<8x16xf32> {tp.name = "x"}) -> (tensor<8x16xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}]>}) {
""" + LAYER.format(i=0, x="%x") + LAYER.format(i=1, x="%y0") + """
    return %y1 : tensor<8x16xf32>
  }
}
"""


@everywhere
def test_row_19_a_skipped_collective_is_seen(where):
    # Rank 1 comes to the first collective with the second.
    outcome = tp_run(where, twice(where), *RANDOM, "--check-collectives", "--inject=1:op=collective0:skip")
    once(outcome, 4, "collectives differ", "all_reduce number 1 of 128 f32", "all_reduce number 2 of 128 f32")


@pytest.mark.parametrize("where, options", [(THREADS, ["--iters=1"]), (2, ["--iters=1"]), (3, ["--iters=1", "--messages"])], ids=["threads", "mpi2", "mpi3"])
def test_row_19_a_skipped_collective_is_waited_for(where, options):
    # No later collective in the group to compare with: only time tells.
    outcome = tp_run(where, mlp(where), *RANDOM, *options, f"--timeout={DEADLINE}", "--inject=1:op=collective0:skip")
    ended(outcome, 6, DEADLINE + SLACK)
    assert "op 4 all_reduce at down, collective 1" in outcome.state(0), outcome


@pytest.mark.parametrize("kind, parts", [("count", ("of 131071 f32", "of 131072 f32")), ("dtype", ("of 131072 i32", "of 131072 f32"))])
@pytest.mark.parametrize("options", [[], ["--messages"]], ids=["shared", "messages"])
@everywhere
def test_row_20_another_count_or_type(where, options, kind, parts):
    once(tp_run(where, mlp(where), *RANDOM, *options, "--check-collectives", f"--inject=1:op=collective0:{kind}"), 4, "rank", *parts)


@pytest.mark.parametrize("options", [[], ["--messages"]], ids=["shared", "messages"])
@pytest.mark.parametrize("where", [THREADS, 4], ids=["threads", "mpi4"])
def test_row_20_another_group(where, options):
    # reduce_scatter over tp, all_reduce over node, all_gather over tp: rank 1 takes the all_gather to its group over node.
    plan = example("mlp", "node:2,tp:2")
    outcome = tp_run(where, plan, *RANDOM, *options, "--check-collectives", "--iters=2", "--inject=1:op=collective2:group")
    assert outcome.code in (3, 4), outcome
    once(outcome, 4, "over node")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", [THREADS, 2, 4], ids=["threads", "mpi2", "mpi4"])
def test_row_21_the_launcher_is_interrupted(tmp_path, where, number):
    process, mark = ranks.start(ranks.command(where, mlp(where), *RANDOM, "--inject=1:op=1:sleep", f"--output=y=@{tmp_path / 'y.npy'}"))
    ready(process, mark, where)
    begun = time.monotonic()
    process.send_signal(number)
    outcome = ranks.finish(process, mark, begun, 20, 3)
    assert outcome.code != 0 and outcome.seconds <= 5, outcome
    assert not (tmp_path / "y.npy").exists()


def ready(process, mark: str, where: int | None) -> None:
    """Waits until all ranks live, and a little for them to reach their ops."""
    assert ranks.await_ranks(process, mark, where or 1)
    time.sleep(0.7)


@pytest.mark.parametrize("count", [2, 4])
def test_row_22_the_launcher_is_killed(count):
    process, mark = ranks.start(ranks.command(count, mlp(count), *RANDOM, "--inject=1:op=1:sleep"))
    ready(process, mark, count)
    process.send_signal(signal.SIGKILL)
    outcome = ranks.finish(process, mark, time.monotonic(), 20, 5)
    assert outcome.code == -signal.SIGKILL


@everywhere
def test_row_23_no_place_for_outputs(tmp_path, where):
    for option in ("--output=y=@", "--json=", "--trace="):
        # Found before anything is computed: an op that would fail is not reached.
        once(tp_run(where, mlp(where), *RANDOM, f"{option}{tmp_path}/none/file", "--inject=1:op=0:error"), 3, "none")


@everywhere
def test_row_23_disk_full(tmp_path, where):
    for option in ("--output=y=@", "--json=", "--trace="):
        once(tp_run(where, mlp(where), *RANDOM, "-q", f"{option}/dev/full"), 7, "No space left on device")


def test_row_23_no_part_of_a_file_stays(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    (tmp_path / "y.npy").write_bytes(b"old")
    outcome = tp_run(THREADS, mlp(2), *RANDOM, f"--output=y=@{tmp_path / 'y.npy'}", preexec_fn=small_files)
    once(outcome, 7, "y.npy: cannot write: File too large")
    assert [path.name for path in tmp_path.iterdir()] == ["y.npy"]
    assert (tmp_path / "y.npy").read_bytes() == b"old"


@everywhere
def test_row_24_the_reader_goes(where):
    line = ranks.command(where, mlp(where), *RANDOM, "--iters=5")
    shell = subprocess.list2cmdline(line) + " | head -c 5; exit ${PIPESTATUS[0]}"
    outcome = run_command(["bash", "-c", shell])
    assert outcome.code in (0, 141) and outcome.seconds < 10, outcome
    assert outcome.out == "y f32", outcome
    outcome = run_command(["bash", "-c", subprocess.list2cmdline(line) + " | true; exit ${PIPESTATUS[0]}"])
    assert outcome.code in (0, 141) and outcome.seconds < 10, outcome


@everywhere
def test_row_25_nan_in_a_weight(tmp_path, where):
    tensors = weights()
    tensors["down.weight"][3, 700] = np.nan
    path = save(tmp_path / "model.safetensors", tensors)
    arguments = [mlp(where), f"--parameters={path}", "--random-inputs=1"]
    once(tp_run(where, *arguments, "--check-finite"), 8, "forward, step 0, op 1: matmul at down", "c element 3 of 4x128x256 is NaN")
    assert tp_run(where, *arguments, "-q").code == 0


@everywhere
def test_row_26_expected_output_differs(tmp_path, where):
    path = tmp_path / "y.npy"
    assert tp_run(THREADS, mlp(where), *RANDOM, "-q", f"--output=y=@{path}").code == 0
    compared = [mlp(where), *RANDOM, "-q", f"--expected-output=y=@{path}"]
    assert tp_run(where, *compared).code == 0
    y = np.load(path)
    y[1, 2, 3] += 0.5
    np.save(path, y)
    once(tp_run(where, *compared), 8, "output 'y' differs: max error 0.5", "worst at [1, 2, 3]")
    assert tp_run(where, *compared, "--atol=0.6").code == 0
    np.save(path, y[0])
    # A reference that cannot match is refused before any work: the fault in the first op never comes.
    compared.append("--inject=*:op=0:error")
    once(tp_run(where, *compared), 2, "'y' is f32 4x128x256", "f32 128x256")
    np.save(path, np.ones((4, 128, 256), np.int64))
    once(tp_run(where, *compared), 2, "'y' is f32 4x128x256", "i64 4x128x256")
    path.unlink()
    once(tp_run(where, *compared), 2, str(path), "No such file")


def mutated(kind: str, mesh: str) -> pathlib.Path:
    plan = example("mlp", mesh)
    path = ranks.plans() / f"{plan.stem}-{kind}.plan"
    if not path.exists():
        subprocess.run([toolchain.find("mutate-plan"), plan, path, kind], check=True, timeout=20)
    return path


def test_ranks_with_other_values_are_refused(tmp_path):
    """Node-local copies of files may differ: each rank would compute its part of another model."""
    save(tmp_path / "a.safetensors", weights())
    save(tmp_path / "b.safetensors", {name: tensor + 1 for name, tensor in weights().items()})
    np.save(tmp_path / "a.npy", np.zeros((4, 128, 256), np.float32))
    np.save(tmp_path / "b.npy", np.ones((4, 128, 256), np.float32))
    plan, inputs, drawn = mlp(2), "--random-inputs=1", "--random-weights=1"
    for field, mine, others in (("random-weights", [inputs, drawn], [inputs, "--random-weights=2"]), ("random-inputs", [inputs, drawn], ["--random-inputs=2", drawn]),
                                ("inputs", [drawn, f"--input=x=@{tmp_path / 'a.npy'}"], [drawn, f"--input=x=@{tmp_path / 'b.npy'}"]),
                                ("parameters", [inputs, f"--parameters={tmp_path / 'a.safetensors'}"], [inputs, f"--parameters={tmp_path / 'b.safetensors'}"])):
        once(run_command(each([plan, "--threads=1", *mine], [plan, "--threads=1", *others])), 4, f"{field}  rank 0 on ", f"{field}  rank 1 on ")
    # What one rank is told of the transport holds for all.
    outcome = run_command(each([plan, *RANDOM, "--messages"], [plan, *RANDOM]))
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("kind, mesh, part", [("event", "tp:2", "without waiting for an event"), ("overlap", "tp:2", "share arena bytes"),
                                              ("group", "tp:2", "names no axes"), ("group", "node:2,tp:2", "reduce_scatter")])
def test_row_27_a_broken_plan_is_refused(kind, mesh, part):
    plan = mutated(kind, mesh)
    count = 4 if "," in mesh else 2
    for outcome in (tp_run(THREADS, plan, *RANDOM), tp_run(count, plan, *RANDOM), run_command([toolchain.find("tp-run"), str(plan), "--verify"]),
                    tp_run(2, plan, "--verify")):
        once(outcome, 3, part)


@pytest.mark.parametrize("kind, starved, place", [("event", 0, "all_reduce at down"), ("overlap", 0, "matmul at up"), ("overlap", 1, "matmul at up")])
@threads_and_mpi
def test_row_27_without_verification_nan_shows(tmp_path, where, kind, starved, place):
    plan = mutated(kind, "tp:2")
    unchecked = [*RANDOM, "-q", "--check-finite", "--inject=*:verify:skip", f"--inject=*:capture:starve{starved}", "--inject=*:arena:poison"]
    once(tp_run(where, plan, *unchecked), 8, place, "is NaN")
    # The same run of the plan as it was made is sound.
    outcome = tp_run(where, mlp(2), *unchecked)
    assert outcome.code == 0, outcome


@everywhere
def test_row_28_a_failing_capture(tmp_path, where):
    path = tmp_path / "y.npy"
    expected = tp_run(where, mlp(where), *RANDOM, "-q", f"--output=y=@{path}")
    assert expected.code == 0, expected
    values = path.read_bytes()
    outcome = tp_run(where, mlp(where), *RANDOM, "--graph=on", "--iters=3", f"--output=y=@{path}", "--inject=1:capture:fail")
    assert outcome.code == 0, outcome
    assert outcome.err.count("all ranks run uncaptured: rank 1: injected") == 1, outcome
    assert path.read_bytes() == values


@pytest.mark.parametrize("count", [1, 2])
def test_row_29_no_driver(count):
    # A machine with a GPU runs it; one without the toolkit has no library to ask.
    outcome = tp_run(count, example("mlp", f"tp:{count}"), *RANDOM, "--device=cuda", "-q")
    if outcome.code != 0:
        once(outcome, 3, "--device=cuda")
        assert "no CUDA driver" in outcome.err or "made without the CUDA toolkit" in outcome.err or "no GPU is visible" in outcome.err, outcome
