# SPDX-License-Identifier: Apache-2.0
"""Where the binaries are, and one way to run them.

Looked for in this order: the folder in TENON_BIN, bin/ of TENON_BUILD_DIR, bin/ beside this package (an installed prefix), build/bin of
the checkout that holds this package, PATH.
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from tenon.errors import ToolError, UsageError


def find(name: str) -> str:
    """The path of a tool of ours."""
    package = pathlib.Path(__file__).resolve().parent
    folders = [os.environ.get("TENON_BIN"), os.environ.get("TENON_BUILD_DIR") and os.path.join(os.environ["TENON_BUILD_DIR"], "bin"),
               package / "bin", package.parents[1] / "build" / "bin"]
    for folder in folders:
        if folder:
            path = pathlib.Path(folder) / name
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    found = shutil.which(name)
    if found:
        return found
    raise UsageError(f"{name} was not found; build it (tools/setup.sh) or set TENON_BIN to the folder that holds it")


def mpirun(ranks: int) -> list[str]:
    """The start of an mpirun line: ranks may share cores and are not bound, root only where it must be said."""
    if not shutil.which("mpirun"):
        raise UsageError("mpirun was not found; install Open MPI, or run the ranks as threads with --local-ranks")
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return ["mpirun", *root, "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]


def threads_per_rank(ranks: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // ranks)


def shown(command: list[str]) -> str:
    return shlex.join(command)


def message_of(stderr: str) -> str:
    """What a tool said about its failure, without the launcher's own lines."""
    lines = []
    for line in stderr.splitlines():
        if re.fullmatch(r"-{20,}", line.strip()) and lines:
            break
        if line.strip() and not re.fullmatch(r"-{20,}", line.strip()):
            lines.append(line.rstrip())
    errors = [line for line in lines if "error" in line.lower()]
    return "\n".join((errors or lines)[:20])


def call(command: list[str], deadline: float | None = None) -> subprocess.CompletedProcess:
    """Runs a command and returns its output; failure and a missed deadline (seconds) become a ToolError."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        out, err = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise ToolError(f"no result within {deadline} s: {shown(command)}", 6, command=command) from None
    except BaseException:
        _stop(process)
        raise
    if process.returncode:
        name = next((pathlib.Path(c).name for c in command if pathlib.Path(c).name in ("tp-opt", "tp-run")), command[0])
        text = message_of(err) or f"exit code {process.returncode}"
        raise ToolError(f"{name}: {text}", _exit_code(process.returncode), err, command)
    return subprocess.CompletedProcess(command, 0, out, err)


def call_through(command: list[str]) -> int:
    """Prints a command, runs it with this process's own streams, and returns its exit code."""
    print(f"$ {shown(command)}", file=sys.stderr, flush=True)
    process = subprocess.Popen(command)
    try:
        return _exit_code(process.wait())
    except BaseException:
        _stop(process)
        raise


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _stop(process: subprocess.Popen) -> None:
    """SIGTERM first: mpirun takes its ranks with it."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
