# SPDX-License-Identifier: Apache-2.0
"""Tenon: exports PyTorch models, compiles them for N ranks and runs them.

    tenon.export(module, args, kwargs, out_dir)     -> out_dir/model.mlir, model.json, constants.safetensors
    plan = tenon.compile(out_dir, tp=2)             -> out_dir/model.plan
    tenon.run(plan, {"x": array})                   -> {"output": array}

A thin layer: text out, subprocess, files in. Tensors are global ones; shards never leave the runtime. torch is imported only by
`export`, so compiling and running need numpy alone.
"""

from __future__ import annotations

from tenon.errors import ExportError, TenonError, ToolError, UsageError
from tenon.version import VERSION as __version__


def export(module, args=(), kwargs=None, out_dir="out", save_weights=False):
    """Exports a torch.nn.Module in evaluation mode and returns `out_dir` as a path.

    Entry inputs are named by the signature of `forward` (nested ones with a path: `batch.ids`), results by the keys of what it
    returns (`output` for a bare tensor, `output.1` in a tuple). Shapes are those of `args` and `kwargs`. With `save_weights` the
    parameters go to out_dir/weights.safetensors; without, the caller names a directory that holds them when running.
    Raises ExportError naming the op and its place where the module cannot be expressed.
    """
    from tenon.exporter import export_module

    return export_module(module, args, kwargs, out_dir, save_weights)


def export_hf(path, out_dir, **options):
    """Exports a Hugging Face directory or config: see `tenon export --help` for the options."""
    from tenon.exporter import export_hf as implementation

    return implementation(path, out_dir, **options)


def compile(out_dir, tp=2, **options):
    """Compiles an exported model for `tp` ranks and returns a Plan; see tenon.plans.compile_model."""
    from tenon.plans import compile_model

    return compile_model(out_dir, tp, **options)


def run(plan, inputs, **options):
    """Runs a plan on global arrays and returns {output name: array}; see tenon.plans.run_plan."""
    from tenon.plans import run_plan

    return run_plan(plan, inputs, **options)


__all__ = ["ExportError", "TenonError", "ToolError", "UsageError", "__version__", "compile", "export", "export_hf", "run"]
