# SPDX-License-Identifier: Apache-2.0
"""Writes model.mlir, model.json and constants.safetensors: the imported form that tp-opt reads.

One function per sequence length over shared globals. The checkpoint stays where and as it is: globals name its keys. Decides
nothing about sharding, layouts or fusion; rank and order of every tensor are PyTorch's.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import pathlib
from typing import Any, Callable, Sequence

import torch
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from tenon import lower_contractions, lower_elementwise, lower_order, lower_shapes, version  # noqa: F401 (the handlers register themselves)
from tenon.checkpoint import KeyResolver, Stored, read_checkpoint
from tenon.errors import ExportError, TenonError, UsageError
from tenon.lowering import Lowering, ModuleState, element_of
from tenon.mlir_text import FunctionWriter, Port, Type, module_text
from tenon.torch_graph import Graph, build_graph, input_names, op_name, output_names

SCHEMA = 1
CONSTANTS_FILE = "constants.safetensors"
WEIGHTS_FILE = "weights.safetensors"


@contextlib.contextmanager
def _plain_kernels():
    """Keeps nn.MultiheadAttention and nn.TransformerEncoder on ops that can be read, not on their fused inference kernel."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _ListsAsSlices(TorchFunctionMode):
    """x[:, [-1]] as slices: on the meta device the tensor that torch makes of the list has no data."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__getitem__:
            index = list(args[1]) if isinstance(args[1], tuple) else [args[1]]
            lists = [i for i, part in enumerate(index) if isinstance(part, list) and part and all(type(n) is int for n in part)]
            # Several lists, or a tensor beside one, would select together.
            if len(lists) == 1 and not any(isinstance(part, torch.Tensor | int) for part in index):
                at, parts = lists[0], []
                for n in index[lists[0]]:
                    index[at] = slice(n, n + 1 or None)
                    parts.append(args[0][tuple(index)])
                dim = at - len(index) if Ellipsis in index[:at] else at
                return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
        return function(*args, **(kwargs or {}))


def trace(module: torch.nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.export.ExportedProgram:
    """torch.export without decompositions; its errors become ours, and ours pass through."""
    with torch.inference_mode(), _plain_kernels(), _ListsAsSlices():
        try:
            return torch.export.export(module, tuple(args), kwargs, strict=False)
        except TenonError:
            raise
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, TenonError):
                    raise cause from None
                cause = cause.__cause__ or cause.__context__
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ExportError(f"torch.export cannot follow {type(module).__name__}: {lines[0]}") from error


# Ops through which ids keep their values on the way to an embedding.
PASS_THROUGH = ("aten.view", "aten.reshape", "aten.expand", "aten.to", "aten.contiguous", "aten.clone", "aten.alias", "aten.slice",
                "aten.unsqueeze", "aten.squeeze", "aten.flatten", "aten.transpose", "aten.select", "aten.detach")


def ids_range(graph: Graph, node: torch.fx.Node) -> tuple[int, int] | None:
    """[0, rows) where an integer input is used as ids of an embedding."""
    rows, stack, seen = [], [node], set()
    while stack:
        n = stack.pop()
        for user in n.users:
            name = op_name(user)
            if name.startswith("aten.embedding") and user.args[1] is n:
                rows.append(user.args[0].meta["val"].shape[0])
            elif name.startswith(PASS_THROUGH) and user not in seen:
                seen.add(user)
                stack.append(user)
    return (0, min(rows)) if rows else None


def lower_entry(graph: Graph, state: ModuleState, entry: str, model: str,
                describe: Callable[[str], tuple[tuple[int, int] | None, bool]]) -> FunctionWriter:
    ports = []
    for node, given in graph.inputs.items():
        element = element_of(given.fake.dtype, f"input {given.name}")
        known, mask_rows = describe(given.name)
        derived = ids_range(graph, node) if element in ("i32", "i64") else None
        ports.append(Port(given.name, Type(tuple(given.fake.shape), element), known or derived, mask_rows))
    lowering = Lowering(graph, state, entry, ports)
    lowering.graph_name = model
    return lowering.run()


def write(out_dir: pathlib.Path, model: str, state: ModuleState, functions: list[FunctionWriter], manifest: dict[str, Any]) -> None:
    """Writes the three files; the manifest is completed by what the functions and the state say."""
    port = lambda p: {"name": p.name, "shape": list(p.type.shape), "dtype": p.type.element,
                      **({"range": list(p.range)} if p.range else {}), **({"mask_rows": True} if p.mask_rows else {})}
    globals_ = state.globals()
    weights = [g for g in globals_ if g.key not in state.constant_data]
    full = {
        "schema": SCHEMA, "model": model,
        "entries": [{"name": f.name, "inputs": [port(p) for p in f.arguments], "outputs": [port(p) for p, _ in f.results]}
                    for f in functions],
        "constants": CONSTANTS_FILE,
        "weights": [{"key": g.key, "symbol": g.symbol, "shape": list(g.type.shape), "dtype": g.type.element,
                     "stored": g.stored or g.type.element} for g in weights],
        **manifest, "versions": version.versions(),
    }
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / CONSTANTS_FILE).write_bytes(save(state.constant_data))
        (out_dir / "model.mlir").write_text(module_text(model, globals_, functions, manifest.get("layer_plan")))
        (out_dir / "model.json").write_text(json.dumps(full, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write to {out_dir}: {error.strerror}") from None


def export_hf(path: str | pathlib.Path, out_dir: str | pathlib.Path, *, batch: int, seq: Sequence[int], dtype: str = "f32",
              inputs: Sequence[str] | None = None, logits: str = "all", class_name: str | None = None,
              outputs: Sequence[str] | None = None) -> pathlib.Path:
    """Exports a Hugging Face directory (or config alone) with one entry per sequence length."""
    from tenon import hf_attention, hf_models

    if batch < 1 or not seq or any(s < 1 for s in seq) or len(set(seq)) != len(seq):
        raise UsageError(f"expected a batch and distinct sequence lengths of at least 1, found batch {batch} and {list(seq)}")
    if logits not in ("all", "last"):
        raise UsageError(f"expected --logits all or last, found {logits}")
    model = hf_models.build(path, class_name, dtype)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and max(seq) > limit:
        raise UsageError(f"expected at most {limit} positions (max_position_embeddings), found --seq {max(seq)}")
    names = list(inputs or hf_models.default_inputs(model))
    extra = hf_models.extra_arguments(model, logits)
    tied = dict(getattr(model.module, "all_tied_weights_keys", None) or {})
    tensors = read_checkpoint(model.directory) if model.directory else None
    resolver = KeyResolver(tensors, tied, getattr(model.module, "base_model_prefix", ""), hf_models.renamed_keys(model.module, tensors or ()))

    def resolve(name: str, shape: tuple[int, ...], element: str) -> tuple[str, str | None]:
        key, stored = resolver.resolve(name, shape)
        if stored and (stored.element in ("i32", "i64", "i1")) != (element in ("i32", "i64", "i1")):
            raise ExportError(f"{key} in {stored.file}: expected a tensor that converts to {element}, found {stored.dtype}")
        return key, stored.element if stored else None

    state = ModuleState(resolve)
    buffers = hf_models.buffers_without_key(model.module, resolver.absent)
    functions = []
    for length in seq:
        given = hf_models.example_inputs(model, names, batch, length)
        with hf_attention.tracing("position_ids" in names and "attention_mask" not in names):
            program = trace(model.module, (), {**given, **extra})
        found = output_names(program.call_spec.out_spec)
        keep = list(outputs or hf_models.default_outputs(model, found))
        order = input_names(program.call_spec.in_spec, [])
        graph = build_graph(program, order, keep, buffers)
        if model.config._attn_implementation == hf_attention.NAME and not any(op_name(n).startswith("tenon.attention") for n in graph.nodes):
            raise ExportError(f"{model.class_name}: no attention went through the registry of transformers, so its mask cannot be followed")
        entry = "forward" if len(seq) == 1 else f"forward_s{length}"
        describe = lambda name: (hf_models.input_range(model, name), name == "attention_mask")
        functions.append(lower_entry(graph, state, entry, model.class_name, describe))
    groups = {k: sorted(set(resolver.group(next(iter(n)))) | n) for k, n in state.names.items()}
    out = pathlib.Path(out_dir)
    write(out, model.class_name, state, functions, {
        "parameters": str(model.directory.resolve()) if model.directory and tensors is not None else None,
        "config": hf_models.config_excerpt(model.config),
        "tied": [{"key": k, "names": n} for k, n in groups.items() if len(n) > 1],
        "dtype": dtype, "logits": logits,
        **({"layer_plan": plan} if (plan := hf_models.layer_plan(model.module)) else {}),
    })
    return out


def _routed_attention(module: torch.nn.Module) -> contextlib.AbstractContextManager:
    """Transformers models inside a plain module keep attention one op; other modules do not need transformers at all."""
    if not any(type(part).__module__.startswith("transformers.") for part in module.modules()):
        return contextlib.nullcontext()
    from tenon import hf_attention

    return hf_attention.routed(module)


def _distinct(tree: Any) -> Any:
    """Copies of tensors that stand in several arguments: torch.export takes one object for one input."""
    seen: set[int] = set()

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor) and id(leaf) in seen:
            return leaf.clone()
        seen.add(id(leaf))
        return leaf

    return torch.utils._pytree.tree_map(copy, tree)


def export_module(module: torch.nn.Module, args: Sequence[Any], kwargs: dict[str, Any] | None, out_dir: str | pathlib.Path,
                  save_weights: bool = False) -> pathlib.Path:
    """Exports any module; see tenon.export."""
    if module.training:
        raise UsageError("expected a module in evaluation mode; call module.eval() first")
    args = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    args, kwargs = _distinct((args, dict(kwargs or {})))
    with _routed_attention(module):
        program = trace(module, args, kwargs)
    signature = inspect.signature(module.forward)
    positional = [n for n, p in signature.parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    first_name: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]:
        source = first_name.setdefault(id(tensor), name)
        if source != name:
            tied[name] = source
    resolver = KeyResolver(None, tied, "")

    def resolve(name: str, shape: tuple[int, ...], element: str) -> tuple[str, str | None]:
        return resolver.resolve(name, shape)[0], None

    state = ModuleState(resolve)
    model = type(module).__name__
    graph = build_graph(program, input_names(program.call_spec.in_spec, positional), None, {})
    function = lower_entry(graph, state, "forward", model, lambda name: (None, False))
    out = pathlib.Path(out_dir)
    groups = {k: sorted(set(resolver.group(k)) | n) for k, n in state.names.items()}
    write(out, model, state, [function], {
        "parameters": str(out.resolve()) if save_weights else None,
        "tied": [{"key": k, "names": n} for k, n in groups.items() if len(n) > 1],
    })
    if save_weights:
        tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
        used = {g.key for g in state.globals()} - set(state.constant_data)
        for key in used:
            if tensors[key].device.type == "meta":
                raise UsageError(f"save_weights: {key} lies on the meta device and has no data")
        (out / WEIGHTS_FILE).write_bytes(save({k: tensors[k].detach().cpu().contiguous().clone() for k in sorted(used)}))
    return out


__all__ = ["CONSTANTS_FILE", "SCHEMA", "WEIGHTS_FILE", "Stored", "export_hf", "export_module"]
