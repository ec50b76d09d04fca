# SPDX-License-Identifier: Apache-2.0
"""Compiles an exported model and runs the plan: composes the command lines of tp-opt and tp-run, nothing else.

Arrays are global: tp-run cuts inputs and assembles outputs. Files live in a temporary folder for the time of a call.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any, Mapping, Sequence

import ml_dtypes
import numpy as np

from tenon import toolchain
from tenon.errors import UsageError

# A call gives up after this many seconds unless told otherwise; tp-run's own deadlines are shorter.
DEADLINE = 1800.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """A compiled plan: the file, its rank count, and what model.json says about the model."""

    path: pathlib.Path
    ranks: int
    directory: pathlib.Path
    manifest: dict[str, Any]
    report: str = ""

    def entry(self, name: str | None = None) -> dict[str, Any]:
        entries = {e["name"]: e for e in self.manifest["entries"]}
        if name is None and len(entries) == 1:
            return next(iter(entries.values()))
        if name not in entries:
            raise UsageError(f"expected an entry among {', '.join(entries)}, found {name}")
        return entries[name]


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
    file = directory / "model.json"
    try:
        manifest = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"expected an exported model in {directory}: {error}") from None
    if not isinstance(manifest, dict):
        raise UsageError(f"{file}: expected a JSON object, found {type(manifest).__name__}")
    if manifest.get("schema") != 1:
        raise UsageError(f"{file}: expected schema 1, found {manifest.get('schema')}; export the model again")
    return manifest


def ranks_of(mesh: str) -> int:
    """The number of ranks of a mesh such as `node:2,tp:4`."""
    count = 1
    for axis in mesh.split(","):
        name, _, size = axis.partition(":")
        if not name or not size.isdigit() or int(size) < 1:
            raise UsageError(f"expected a mesh such as tp:2 or node:2,tp:4, found {mesh}")
        count *= int(size)
    return count


def compile_command(directory: pathlib.Path, plan: pathlib.Path, mesh: str, options: Mapping[str, Any],
                    flags: Sequence[str] = ()) -> list[str]:
    """The tp-opt line. `options` are those of the pipeline: memory, machine, replicate_over, ..."""
    pipeline = [f"mesh={mesh}"]
    for name, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).lower() if isinstance(value, bool) else str(value)
        pipeline.append(f"{name.replace('_', '-')}={text}")
    return [toolchain.find("tp-opt"), str(directory / "model.mlir"), f"--tp-compile={' '.join(pipeline)}", *flags, "--emit=plan",
            "-o", str(plan)]


def compile_model(out_dir: str | os.PathLike, tp: int = 2, *, mesh: str | None = None, plan: str | os.PathLike | None = None,
                  report: bool = False, flags: Sequence[str] = (), deadline: float = DEADLINE, **options: Any) -> Plan:
    """Compiles out_dir/model.mlir for `tp` ranks (or a `mesh` such as "node:2,tp:4") into out_dir/model.tp2.plan.

    `options` go to the pipeline (`memory="shard"`, `machine="cpu"`), `flags` to tp-opt itself. With `report` the table of
    choices is in `Plan.report`. Raises ToolError with tp-opt's message and exit code.
    """
    directory = pathlib.Path(out_dir)
    manifest = read_manifest(directory)
    mesh = mesh or f"tp:{tp}"
    ranks = ranks_of(mesh)
    path = pathlib.Path(plan) if plan else directory / f"model.{mesh.replace(':', '').replace(',', '-')}.plan"
    flags = [*flags, *(["--tp-report"] if report else [])]
    done = toolchain.call(compile_command(directory, path, mesh, options, flags), deadline)
    return Plan(path, ranks, directory, manifest, done.stderr if report else "")


def parameter_folders(directory: pathlib.Path, manifest: Mapping[str, Any], given: str | os.PathLike | None) -> list[str]:
    """What goes behind --parameters: the checkpoint (given, or as recorded by the export) and the exporter's constants."""
    checkpoint = str(given) if given else manifest.get("parameters")
    own = str(directory)
    if not checkpoint:
        return [own]
    folders = checkpoint.split(",")
    return folders if any(os.path.realpath(f) == os.path.realpath(own) for f in folders) else [*folders, own]


def run_command(plan: Plan, arguments: Sequence[str], *, parameters: str | os.PathLike | None = None, local_ranks: bool = False,
                threads: int | None = None) -> list[str]:
    """The tp-run line, under mpirun unless the ranks are threads. `arguments` come last and are tp-run's own."""
    given = {a.partition("=")[0] for a in arguments}
    command = [toolchain.find("tp-run"), str(plan.path)]
    command = [*command, "--local-ranks"] if local_ranks else [*toolchain.mpirun(plan.ranks), *command]
    if "--parameters" not in given:
        folders = parameter_folders(plan.directory, plan.manifest, parameters)
        command.append(f"--parameters={','.join(folders)}")
        checkpoint = parameters or plan.manifest.get("parameters")
        if not checkpoint and plan.manifest["weights"] and not given & {"--random-weights", "--dry-run", "--verify", "--help"}:
            raise UsageError("the export records no folder of weights; name one with --parameters, or use --random-weights=SEED")
    if "--threads" not in given:
        command.append(f"--threads={threads or toolchain.threads_per_rank(plan.ranks)}")
    return [*command, *arguments]


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
    np.save(path, np.ascontiguousarray(array))


def load_array(path: pathlib.Path, dtype: str) -> np.ndarray:
    """An .npy file as an array; numpy knows bf16 only as two bytes."""
    array = np.load(path)
    return array.view(ml_dtypes.bfloat16) if dtype == "bf16" and array.dtype.itemsize == 2 and array.dtype.kind == "V" else array


def run_plan(plan: Plan, inputs: Mapping[str, np.ndarray], *, entry: str | None = None, parameters: str | os.PathLike | None = None,
             local_ranks: bool = False, threads: int | None = None, random_weights: int | None = None, report: dict | None = None,
             options: Sequence[str] = (), deadline: float = DEADLINE) -> dict[str, np.ndarray]:
    """Runs an entry once on global arrays and returns its outputs by name.

    Ranks are processes under mpirun, or with `local_ranks` threads of one process. `parameters` names the folder of the checkpoint where
    model.json does not. `report` is filled with tp-run's JSON. `options` are further options of tp-run, as it spells
    them. Raises ToolError with tp-run's message and exit code.
    """
    signature = plan.entry(entry)
    expected = [p["name"] for p in signature["inputs"]]
    if set(inputs) != set(expected):
        raise UsageError(f"expected the inputs {', '.join(expected)}, found {', '.join(inputs) or 'none'}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        arguments = [f"--entry={signature['name']}"] if len(plan.manifest["entries"]) > 1 else []
        for i, (key, array) in enumerate(inputs.items()):
            save_array(folder / f"input{i}.npy", np.asarray(array))
            arguments.append(f"--input={key}=@{folder / f'input{i}.npy'}")
        for i, port in enumerate(signature["outputs"]):
            arguments.append(f"--output={port['name']}=@{folder / f'output{i}.npy'}")
        if random_weights is not None:
            arguments.append(f"--random-weights={random_weights}")
        if report is not None:
            arguments.append(f"--json={folder / 'report.json'}")
        arguments += options
        command = run_command(plan, arguments, parameters=parameters, local_ranks=local_ranks, threads=threads)
        toolchain.call(command, deadline)
        if report is not None:
            report.update(json.loads((folder / "report.json").read_text()))
        return {port["name"]: load_array(folder / f"output{i}.npy", port["dtype"]) for i, port in enumerate(signature["outputs"])}
