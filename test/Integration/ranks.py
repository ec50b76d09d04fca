# SPDX-License-Identifier: Apache-2.0
"""Runs tp-run as threads or under mpirun with an overall limit, and looks afterwards for what must not be left: processes, partial files.

Every process of a run carries a variable of its own in its environment, so leftovers are found wherever their parents are.
"""

import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from tenon import toolchain  # noqa: E402

MPIRUN = str(ROOT / "tools" / "mpirun.sh")
RANDOM = ["--random-weights=1", "--random-inputs=1", "--threads=1"]
MARK = "TENON_TEST_RUN"


class Outcome:
    def __init__(self, code: int, out: str, err: str, seconds: float):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __repr__(self) -> str:
        return f"exit {self.code} after {self.seconds:.2f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def messages(self) -> list[str]:
        """Lines of tp-run itself, without states and what follows them."""
        return [line for line in self.err.splitlines() if line.startswith("tp-run: ") and " in phase " not in line and ": in " not in line]

    def state(self, rank: int) -> str:
        """What a rank said about where it was; mpirun may have begun a line of its own before it."""
        found = re.search(rf"tp-run: rank {rank}: (\w+|deadline passed): in .*", self.err)
        return found[0] if found else ""


def marked(mark: str) -> list[int]:
    """Live processes of a run; a zombie has no environment any more."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def start(command: list[str], environment: dict[str, str] | None = None, **more) -> tuple[subprocess.Popen, str]:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, **(environment or {}), MARK: mark}, **more)
    return process, mark


def finish(process: subprocess.Popen, mark: str, begun: float, limit: float, grace: float) -> Outcome:
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        stop(mark)
        out, err = process.communicate()
        raise AssertionError(f"not done after {limit} s: {' '.join(process.args)}\n{out}\n{err}") from None
    outcome = Outcome(process.returncode, out.replace("\r", ""), err.replace("\r", ""), time.monotonic() - begun)
    end = time.monotonic() + grace
    while left := marked(mark):
        if time.monotonic() > end:
            stop(mark)
            raise AssertionError(f"processes left behind: {left}\n{outcome}")
        time.sleep(0.02)
    return outcome


def stop(mark: str) -> None:
    for pid in marked(mark):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def command(ranks: int | None, *arguments) -> list[str]:
    """`ranks` None: threads."""
    line = [toolchain.find("tp-run"), *map(str, arguments)]
    return [*line, "--local-ranks"] if ranks is None else [MPIRUN, "-n", str(ranks), *line]


def running(mark: str) -> int:
    """How many processes of a run are tp-run by now."""
    count = 0
    for pid in marked(mark):
        try:
            count += "tp-run" in pathlib.Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            pass
    return count


def await_ranks(process: subprocess.Popen, mark: str, count: int) -> bool:
    """Waits until all ranks live; False when the launcher has ended before."""
    end = time.monotonic() + 10
    while running(mark) < count:
        assert time.monotonic() < end, "the ranks do not start"
        try:
            process.wait(0.05)
            return False
        except subprocess.TimeoutExpired:
            pass
    return True


def run_command(line: list[str], environment: dict[str, str] | None = None, limit: float = 30, grace: float = 3, count: int | None = None,
                **more) -> Outcome:
    """`count` ranks under a launcher: the time counts from when all of them live, for how long it takes to start them is not ours."""
    begun = time.monotonic()
    process, mark = start(line, environment, **more)
    if count and await_ranks(process, mark, count):
        begun = time.monotonic()
    return finish(process, mark, begun, limit, grace)


def tp_run(ranks: int | None, *arguments, environment: dict[str, str] | None = None, **more) -> Outcome:
    return run_command(command(ranks, *arguments), environment, count=ranks, **more)


def each(*lines, tools: dict[int, object] | None = None) -> list[str]:
    """mpirun with arguments, and where `tools` has one a program, of its own for every rank."""
    result = [MPIRUN]
    for i, arguments in enumerate(lines):
        result += [":"] * (i > 0) + ["-n", "1", str((tools or {}).get(i, toolchain.find("tp-run"))), *map(str, arguments)]
    return result


def partial_files(*folders: pathlib.Path) -> list[pathlib.Path]:
    return [path for folder in folders for path in folder.rglob("*.partial*")]


@functools.cache
def plans() -> pathlib.Path:
    plans.folder = tempfile.TemporaryDirectory(prefix="tenon-plans-")
    return pathlib.Path(plans.folder.name)


@functools.cache
def compile_text(name: str, text: str, mesh: str) -> pathlib.Path:
    """A plan of a module, made once per session."""
    stem = f"{name}-{mesh.replace(':', '').replace(',', '-')}"
    source, plan = plans() / f"{stem}.mlir", plans() / f"{stem}.plan"
    source.write_text(text)
    toolchain.call([toolchain.find("tp-opt"), str(source), f"--tp-compile=mesh={mesh}", "--emit=plan", "-o", str(plan)], 60)
    return plan


def example(name: str, mesh: str) -> pathlib.Path:
    return compile_text(name, (ROOT / "examples" / f"{name}.mlir").read_text(), mesh)
