# SPDX-License-Identifier: Apache-2.0
"""The command `tenon`: export, compile, run, compare, explain, diff, report, advise.

Exit codes: 0 done, 2 usage, 3 the model, its text or a plan is not acceptable, 8 dumps or plans differ; `run` passes tp-run's own code on.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pathlib
import sys
import warnings

from tenon import __version__
from tenon.errors import TenonError, ToolError, UsageError


def _names(text: str) -> list[str]:
    return [n for n in text.split(",") if n]


def _lengths(text: str) -> list[int]:
    try:
        return [int(n) for n in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected lengths such as 128 or 128,64, found {text!r}") from None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tenon", description="Automatic tensor parallelism: export, compile, run.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tenon {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    export = commands.add_parser("export", allow_abbrev=False, help="write model.mlir, model.json and constants.safetensors",
                                 description="Exports a Hugging Face directory, or a config alone, from PyTorch. The checkpoint stays where it is.")
    export.add_argument("model", metavar="HF_DIR_OR_CONFIG", help="directory with config.json and safetensors, or a config file")
    export.add_argument("--batch", type=int, required=True)
    export.add_argument("--seq", type=_lengths, required=True, metavar="N[,N...]", help="sequence lengths; several make one entry each")
    export.add_argument("--dtype", choices=("f32", "bf16"), default="f32", help="what weights are held in and computed with")
    export.add_argument("--inputs", type=_names, metavar="NAMES", help="default: input_ids, for encoders also attention_mask")
    export.add_argument("--outputs", type=_names, metavar="NAMES", help="default: logits, else last_hidden_state")
    export.add_argument("--logits", choices=("all", "last"), default="all", help="of every position, or of the last one only")
    export.add_argument("--class", dest="class_name", metavar="NAME", help="model class of transformers; default: architectures[0]")
    export.add_argument("-o", dest="out", required=True, metavar="DIR")

    compile_ = commands.add_parser("compile", allow_abbrev=False, help="compile an exported model into a plan",
                                   description="Composes, prints and runs the tp-opt line; unknown options go to tp-opt.")
    run = commands.add_parser("run", allow_abbrev=False, help="compile and run an exported model",
                              description="Composes, prints and runs the tp-opt and tp-run lines; unknown options go to tp-run, as it spells "
                                          "them: --input=NAME=@FILE.npy --output=NAME=@FILE.npy --iters=N --json=FILE ...")
    for command in (compile_, run):
        command.add_argument("directory", metavar="DIR", help="what tenon export wrote")
        command.add_argument("--tp", type=int, help="number of ranks (default 2)")
        command.add_argument("--mesh", help="axes and sizes instead of --tp: node:2,tp:4")
        command.add_argument("--compile", dest="pipeline", default="", metavar="OPTIONS", help='further pipeline options: "memory=shard machine=cpu"')
        command.add_argument("--plan", metavar="FILE", help="the plan file (default DIR/model.plan)")
    run.add_argument("--local-ranks", action="store_true", help="ranks as threads of one process, no MPI")
    run.add_argument("--parameters", metavar="DIR", help="folder of the checkpoint (default: as model.json records)")

    compare = commands.add_parser("compare", allow_abbrev=False, help="the first op that differs between two value dumps",
                                  description="Compares two folders that tp-run --dump-values wrote.")
    compare.add_argument("first", metavar="A")
    compare.add_argument("second", metavar="B")
    compare.add_argument("--rtol", type=float, default=1e-4)
    compare.add_argument("--atol", type=float, default=1e-6)

    explain = commands.add_parser("explain", allow_abbrev=False, help="what a plan chose, what else could have been, and why each collective is there",
                                  description="Without LAYER the plan as a whole, repeated layers once.")
    explain.add_argument("plan", metavar="PLAN")
    explain.add_argument("layer", metavar="LAYER", nargs="?", help="a name, its end from a dot on, or a pattern: layers.3.mlp, 'layers.*.o_proj'")
    explain.add_argument("--entry", metavar="NAME", help="default: the first")

    diff = commands.add_parser("diff", allow_abbrev=False, help="how two plans differ", description="Exit code 8 when they do.")
    diff.add_argument("first", metavar="A.plan")
    diff.add_argument("second", metavar="B.plan")

    report = commands.add_parser("report", allow_abbrev=False, help="a plan as one HTML page, or what tp-run --json wrote as tables",
                                 description="PLAN -o FILE.html writes a page that needs nothing else; FILE.json is shown as tables.")
    report.add_argument("file", metavar="FILE")
    report.add_argument("-o", dest="out", metavar="FILE.html", help="the page of a plan")
    report.add_argument("--run", metavar="FILE.json", help="what tp-run --json wrote of this plan: measured beside predicted")

    advise = commands.add_parser("advise", allow_abbrev=False, help="which degree of tensor parallelism?",
                                 description="Compiles an exported model for several degrees and compares memory, time and communication.")
    advise.add_argument("directory", metavar="DIR", help="what tenon export wrote")
    advise.add_argument("--machine", default="cpu", help="a shipped machine or a file (default cpu)")
    advise.add_argument("--tp", type=_lengths, metavar="N[,N...]", help="degrees (default 1,2,4,8)")
    advise.add_argument("--mesh", action="append", metavar="MESH", help="also a mesh such as node:2,tp:8; may be repeated")
    advise.add_argument("--compile", dest="pipeline", default="", metavar="OPTIONS", help='further pipeline options: "memory=16GiB"')
    advise.add_argument("--json", metavar="FILE", help="also write the comparison as JSON")
    return parser


def _options(text: str) -> dict[str, str]:
    """The words of --compile."""
    options = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"expected --compile options as NAME=VALUE, found {word}")
        options[name] = value
    return options


def _console():
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def run_export(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    from tenon.exporter import export_hf

    out = export_hf(arguments.model, arguments.out, batch=arguments.batch, seq=arguments.seq, dtype=arguments.dtype,
                    inputs=arguments.inputs, logits=arguments.logits, class_name=arguments.class_name, outputs=arguments.outputs)
    manifest = json.loads((out / "model.json").read_text())
    for entry in manifest["entries"]:
        ports = lambda side: ", ".join(f"{p['name']} {p['dtype']}{p['shape']}" for p in entry[side])
        print(f"{manifest['model']} {entry['name']}: {ports('inputs')} -> {ports('outputs')}", file=sys.stderr)
    print(f"wrote {out / 'model.mlir'}, model.json, {manifest['constants']}; weights: {manifest['parameters'] or 'none recorded'}",
          file=sys.stderr)
    return 0


def _compile(arguments: argparse.Namespace, flags: list[str]):
    """Prints and runs tp-opt; returns (exit code, Plan)."""
    from tenon import plans, toolchain

    if arguments.tp is not None and arguments.mesh:
        raise UsageError("expected --tp or --mesh, found both")
    if arguments.tp is not None and arguments.tp < 1:
        raise UsageError(f"expected at least one rank, found --tp {arguments.tp}")
    directory = pathlib.Path(arguments.directory)
    manifest = plans.read_manifest(directory)
    mesh = arguments.mesh or f"tp:{arguments.tp or 2}"
    plan = plans.Plan(pathlib.Path(arguments.plan) if arguments.plan else directory / "model.plan", plans.ranks_of(mesh), directory, manifest)
    return toolchain.call_through(plans.compile_command(directory, plan.path, mesh, _options(arguments.pipeline), flags)), plan


def run_compile(arguments: argparse.Namespace, rest: list[str]) -> int:
    code, _ = _compile(arguments, rest)
    return 3 if code == 1 else code


def run_run(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tenon import plans, toolchain

    code, plan = _compile(arguments, [])
    if code:
        return 3 if code == 1 else code
    return toolchain.call_through(plans.run_command(plan, rest, parameters=arguments.parameters, local_ranks=arguments.local_ranks))


def run_compare(arguments: argparse.Namespace) -> int:
    from tenon import dumps, report

    result = dumps.compare(pathlib.Path(arguments.first), pathlib.Path(arguments.second), arguments.rtol, arguments.atol)
    report.print_comparison(result, _console())
    if not result.compared:
        raise UsageError("the dumps have no value in common")
    return 0 if result.first is None else 8


def run_explain(arguments: argparse.Namespace) -> int:
    from tenon import explain, plan_file

    plan = plan_file.PlanFile.read(arguments.plan)
    if arguments.layer:
        explain.print_layer(plan, arguments.layer, arguments.entry, _console())
    else:
        explain.print_summary(plan, arguments.entry, _console())
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    from tenon import explain, plan_file

    plans = plan_file.PlanFile.read(arguments.first), plan_file.PlanFile.read(arguments.second)
    return 8 if explain.print_difference(*plans, _console()) else 0


def run_advise(arguments: argparse.Namespace) -> int:
    from tenon import advise

    if arguments.tp and min(arguments.tp) < 1:
        raise UsageError(f"expected degrees of at least one rank, found --tp {min(arguments.tp)}")
    degrees = arguments.tp if arguments.tp else [] if arguments.mesh else [1, 2, 4, 8]
    result = advise.advise(pathlib.Path(arguments.directory), [*(f"tp:{n}" for n in degrees), *(arguments.mesh or [])], arguments.machine,
                           _options(arguments.pipeline))
    advise.print_advice(result, _console())
    if arguments.json:
        _write(pathlib.Path(arguments.json), json.dumps(result, indent=1) + "\n")
    return 0


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _is_plan(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(8) == b"TENONPLN"
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _run_json(path: str) -> dict:
    """What tp-run --json wrote of a timed run."""
    try:
        content = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"expected a JSON report in {path}: {error}") from None
    needed = {"schema", "ranks", "device", "plan_digest", "weights_bytes_per_rank", "arena_bytes_per_rank", "collectives", "time_ms"}
    if not isinstance(content, dict) or needed - content.keys():
        raise UsageError(f"expected a report of a timed run, as tp-run --json writes it, in {path}")
    return content


def run_report(arguments: argparse.Namespace) -> int:
    from tenon import html_report, plan_file, report

    if _is_plan(arguments.file):
        if not arguments.out:
            raise UsageError(f"{arguments.file} is a plan: -o FILE.html writes its page, tenon explain shows it here")
        plan = plan_file.PlanFile.read(arguments.file)
        run = _run_json(arguments.run) if arguments.run else None
        try:
            page = html_report.page(plan, run)
        except (KeyError, TypeError, IndexError) as error:
            raise UsageError(f"{arguments.run} does not describe a run of {arguments.file}: {error!r}") from None
        _write(pathlib.Path(arguments.out), page)
        print(f"wrote {arguments.out}", file=sys.stderr)
        return 0
    if arguments.out or arguments.run:
        raise UsageError(f"-o and --run go with a plan; {arguments.file} is none")
    content = _run_json(arguments.file)
    try:
        report.print_report(content, _console())
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"malformed report in {arguments.file}: {error!r}") from None
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command not in ("run", "compile"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if arguments.command == "export":
            return run_export(arguments)
        if arguments.command == "compile":
            return run_compile(arguments, rest)
        if arguments.command == "run":
            return run_run(arguments, rest)
        if arguments.command == "compare":
            return run_compare(arguments)
        if arguments.command == "explain":
            return run_explain(arguments)
        if arguments.command == "diff":
            return run_diff(arguments)
        if arguments.command == "advise":
            return run_advise(arguments)
        return run_report(arguments)
    except ToolError as error:
        print(f"tenon: {error}", file=sys.stderr)
        return error.code
    except TenonError as error:
        print(f"tenon: error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
