#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Decides in which order the GPU check goes and what it leaves out when its time is up.

While the runtime is built, torch makes the large weights and compiles; what is timed runs alone, one after the other: torch's base figures,
tp-run's checks, torch.compile's prefill, tp-run's speed, then the sanitizer and profiles. Exit codes: 0 nothing failed, 1 something failed,
2 usage, 3 no GPU here.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any, Callable

import build
import checks
import common
import report
import speed
from common import FAIL, SKIP, Result

# The 8B weights, twice: as a file and while they are written.
WEIGHTS_BYTES = 22 * 2**30


class Peers:
    """The two processes of torch, each behind its gate."""

    def __init__(self, context: checks.Context, deadline: float) -> None:
        self.context = context
        self.processes: dict[str, subprocess.Popen] = {}
        for role in ("base", "compile"):
            for path in (self.gate(role), self.result(role)):
                path.unlink(missing_ok=True)
            log = (context.work / f"peers-{role}.log").open("w")
            command = [sys.executable, pathlib.Path(__file__).with_name("torch_peers.py"), role, f"--bundle={context.bundle}",
                       f"--weights={context.weights}", f"--out={self.result(role)}", f"--gate={self.gate(role)}", f"--deadline={deadline}"]
            self.processes[role] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            log.close()

    def gate(self, role: str) -> pathlib.Path:
        return self.context.work / f"gate-{role}"

    def result(self, role: str) -> pathlib.Path:
        return self.context.work / f"peers-{role}.json"

    def ready(self, role: str) -> bool:
        path = self.result(role)
        return self.processes[role].poll() is not None or path.exists() and common.read_json(path).get("ready", False)

    def time_now(self, role: str, patience: float, deadline: float) -> None:
        """Lets a role time its figures and waits for its end; one that is not ready in time, or does not end, is ended."""
        process, begin = self.processes[role], time.monotonic()
        while not self.ready(role) and time.monotonic() - begin < patience:
            time.sleep(0.2)
        if self.ready(role):
            self.gate(role).touch()
            try:
                process.wait(timeout=max(1.0, deadline))
                return
            except subprocess.TimeoutExpired:
                pass
        common.end_group(process)
        process.wait()

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                common.end_group(process)
                process.wait()


def weights_folder(work: pathlib.Path) -> pathlib.Path:
    """In memory where there is room for it; the folder is this run's own and is removed at its end."""
    shared = pathlib.Path("/dev/shm")
    name = f"tenon-gpu-check-{os.getpid()}"
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > WEIGHTS_BYTES and available_memory() > 2 * WEIGHTS_BYTES:
        return shared / name
    return work / "weights" / name


def available_memory() -> int:
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def wanted(name: str, only: list[str]) -> bool:
    """--only takes names and their beginnings: `ranks` means all ranks-..."""
    return not only or any(name == word or name.startswith(f"{word}-") for word in only)


class Run:
    def __init__(self, context: checks.Context, arguments: argparse.Namespace) -> None:
        self.context, self.arguments = context, arguments
        self.begin = time.monotonic()
        self.results: list[Result] = []
        self.profiles: dict[str, Any] = {}
        self.found: dict[str, Any] = {}

    def left(self) -> float:
        return self.arguments.budget - (time.monotonic() - self.begin)

    def take(self, name: str, check: Callable[[checks.Context], Result]) -> None:
        begin = time.monotonic()
        if self.left() <= 0:
            result = Result(name, SKIP, f"the time was up ({self.arguments.budget:.0f} s)")
        else:
            try:
                result = check(self.context)
            except Exception as error:  # noqa: BLE001 - one check must not end the others
                result = Result(name, FAIL, f"{type(error).__name__}: {error}")
            result.name = name
        result.seconds = time.monotonic() - begin
        self.results.append(result)
        print(result.line(), flush=True)
        # The report is whole after every check: whoever ends the run early has it.
        self.write()

    def write(self) -> dict[str, Any]:
        content = report.compose(self.results, self.context.manifest, self.found, speed.peers(self.context), self.profiles,
                                 time.monotonic() - self.begin)
        report.write(content, self.arguments.report)
        return content

    def build(self, _: checks.Context) -> Result:
        begin = time.monotonic()
        self.found = build.build(self.context.bundle, self.context.work, max(60.0, self.left()), self.arguments.jobs)
        return Result("", common.PASS, f"tp-run and the CUDA device in {time.monotonic() - begin:.0f} s, attention by "
                                       f"{'cuDNN and Tenon' if 'cudnn' in self.found else 'Tenon alone'}", {"found": self.found})

    def all(self) -> int:
        only = self.arguments.only
        correct = {name: check for name, check in checks.checks().items() if wanted(name, only)}
        fast = {name: check for name, check in speed.checks(self.context.manifest).items() if wanted(name, only)}
        late = {name: check for name, check in checks.late_checks().items() if wanted(name, only)}
        need_peers = bool(fast) and not self.arguments.no_torch
        peers = Peers(self.context, self.arguments.budget) if need_peers else None
        try:
            self.take("build", self.build)
            if self.results[0].status == FAIL:
                return self.finish()
            self.context.environment = build.runtime_environment(self.context.work / "root", self.context.work / "links", self.context.work)
            if peers:
                peers.time_now("base", patience=90, deadline=min(110.0, self.left() / 3))
            for name, check in correct.items():
                self.take(name, check)
            if peers:
                peers.time_now("compile", patience=min(60.0, self.left() / 3), deadline=30)
            for name, check in {**fast, **late}.items():
                self.take(name, check)
            for step in self.context.manifest["speed"]["steps"]:
                if fast and step["name"] in ("prefill-tp1", "token-b1-tp1") and self.left() > 30:
                    self.profiles[step["name"]] = speed.profile(self.context, step)
            return self.finish()
        finally:
            if peers:
                peers.end()

    def finish(self) -> int:
        content = self.write()
        print(report.table(content))
        print(f"gpu-check: wrote {self.arguments.report}")
        return 1 if content["totals"][FAIL] else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/gpu-check.sh", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=pathlib.Path, default=common.ROOT / "gpu-bundle")
    parser.add_argument("--work", type=pathlib.Path, default=common.ROOT / "build-gpu")
    parser.add_argument("--report", type=pathlib.Path, default=common.ROOT / "gpu-report.json")
    parser.add_argument("--only", type=lambda text: [name for name in text.split(",") if name], default=[])
    parser.add_argument("--budget", type=float, default=480)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--no-torch", action="store_true")
    arguments = parser.parse_args()
    bundle, work = arguments.bundle.resolve(), arguments.work.resolve()
    if not (bundle / "manifest.json").exists():
        print(f"gpu-check: no bundle in {bundle}; make one with tools/gpu-check.sh --prepare where Tenon is built", file=sys.stderr)
        return 2
    manifest = common.read_json(bundle / "manifest.json")
    if manifest.get("schema") != common.SCHEMA:
        print(f"gpu-check: expected a bundle of schema {common.SCHEMA}, found {manifest.get('schema')}; make it again", file=sys.stderr)
        return 2
    known = ["build", *checks.checks(), *speed.checks(manifest), *checks.late_checks()]
    unknown = [word for word in arguments.only if not any(wanted(name, [word]) for name in known)]
    if unknown:
        print(f"gpu-check: --only: no check is called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    work.mkdir(parents=True, exist_ok=True)
    weights = weights_folder(work)
    context = checks.Context(bundle, work, manifest, dict(os.environ), weights)
    # Outputs of another build say nothing about this one.
    shutil.rmtree(work / "outputs", ignore_errors=True)
    for role in ("base", "compile"):
        (work / f"peers-{role}.json").unlink(missing_ok=True)
    run = Run(context, arguments)
    if arguments.build_only or not report.gpus():
        run.take("build", run.build)
        if run.results[0].status == FAIL:
            return 1
        if not report.gpus():
            print("gpu-check: no GPU here")
            return 3
        return 0
    try:
        return run.all()
    finally:
        shutil.rmtree(weights, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
