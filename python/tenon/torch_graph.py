# SPDX-License-Identifier: Apache-2.0
"""From an ExportedProgram to the graph that is lowered: which nodes are inputs, weights or constants, and which are live.

The order is fixed: drop assertions and inputs that are not tensors, find what depends on neither inputs nor weights (it is
evaluated with torch on the CPU when somebody reads it), drop dead nodes. Only then does anybody look at which ops are left,
so an op that we cannot express does no harm in a dead or constant part. Decides nothing about the tp dialect.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch.export import ExportedProgram

from tenon.errors import ExportError

# Ops that check or only name their operand; the first group has no result that anybody may read.
ASSERTIONS = {"aten::_assert_tensor_metadata", "aten::_assert_scalar", "aten::_assert_async", "aten::sym_constrain_range",
              "aten::sym_constrain_range_for_size"}
# In place by schema, but without an effect on the data.
HARMLESS_IN_PLACE = {"aten::detach_"}


@dataclasses.dataclass
class Weight:
    """A parameter or persistent buffer: its name in the module."""

    name: str
    fake: torch.Tensor


@dataclasses.dataclass
class Input:
    """A tensor that the caller gives: its public name."""

    name: str
    fake: torch.Tensor


@dataclasses.dataclass
class Graph:
    """The live part of an exported program in execution order."""

    nodes: list[torch.fx.Node]
    weights: dict[torch.fx.Node, Weight]
    inputs: dict[torch.fx.Node, Input]
    constants: dict[torch.fx.Node, torch.Tensor]
    outputs: list[tuple[str, torch.fx.Node]]


def op_name(node: torch.fx.Node) -> str:
    """`aten.add.Tensor` for an op of torch, otherwise the function's own name."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return getattr(target, "__name__", str(target))


def location(node: torch.fx.Node) -> str:
    """The module path of a node: `encoder.layer.3.output.dense`."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = list(stack.values())[-1][0]
    return path.removeprefix("L['self'].").removeprefix("L['self']")


def schema_name(node: torch.fx.Node) -> str:
    return node.target._schema.name if isinstance(node.target, torch._ops.OpOverload) else ""


def without_mutation(program: ExportedProgram) -> ExportedProgram:
    """Rewrites in-place ops (`x += y`, ReLU(inplace=True)) to plain ones; refuses a module that changes its own state."""
    mutable = [n for n in program.graph.nodes
               if isinstance(n.target, torch._ops.OpOverload) and n.target._schema.is_mutable
               and schema_name(n) not in HARMLESS_IN_PLACE]
    if mutable:
        program = program.run_decompositions({})
    signature = program.graph_signature
    changed = {**signature.buffers_to_mutate, **signature.user_inputs_to_mutate}
    if changed:
        raise ExportError(f"the module changes {', '.join(sorted(changed.values()))} in forward; expected a module without state")
    return program


def path_names(spec: pytree.TreeSpec) -> list[list[str]]:
    """For each leaf of a pytree the keys that lead to it."""
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    leaves, _ = pytree.tree_flatten_with_path(tree)
    by_leaf = {leaf: [_key_text(k) for k in path] for path, leaf in leaves}
    return [by_leaf[i] for i in range(spec.num_leaves)]


def _key_text(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def output_names(spec: pytree.TreeSpec) -> list[str]:
    """Names of results: dictionary keys and fields as they are, `output` for a bare tensor, `output.1` in a tuple."""
    names = []
    for path in path_names(spec):
        text = ".".join(path)
        names.append("output" if not path else text if not path[0].isdigit() else "output." + text)
    return names


def input_names(spec: pytree.TreeSpec, parameters: list[str]) -> list[str]:
    """Names of arguments: positional ones by the signature of forward, keywords by their key, nested ones with a path."""
    names = []
    for path in path_names(spec):
        first, *rest = path[1:]
        if path[0] == "0":
            position = int(first)
            first = parameters[position] if position < len(parameters) else f"args.{position}"
        names.append(".".join([first, *rest]))
    return names


def check_static(node: torch.fx.Node) -> None:
    value = node.meta.get("val")
    for v in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(v, torch.SymInt | torch.SymFloat | torch.SymBool) or (
                isinstance(v, torch.Tensor) and any(isinstance(n, torch.SymInt) for n in v.shape)):
            raise ExportError(f"{op_name(node)} at {location(node) or 'the top'}: its result has a dynamic shape; export with fixed "
                              "shapes (no torch.export.Dim, no op whose result's size depends on data)")


class ConstantEvaluator:
    """Evaluates nodes that depend on neither inputs nor weights, with torch on the CPU, each once."""

    def __init__(self, known: dict[torch.fx.Node, Any]):
        self._values = dict(known)

    def value(self, node: torch.fx.Node) -> Any:
        pending = [node]
        while pending:
            top = pending[-1]
            missing = [n for n in top.all_input_nodes if n not in self._values] if top not in self._values else []
            if missing:
                pending += missing
                continue
            pending.pop()
            if top not in self._values:
                self._values[top] = self._run(top)
        return self._values[node]

    def _run(self, node: torch.fx.Node) -> Any:
        if isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags:
            raise ExportError(f"{op_name(node)} at {location(node) or 'the top'}: a random constant; pass it as an input instead")
        look = lambda a: self._values[a] if isinstance(a, torch.fx.Node) else a
        on_cpu = lambda a: torch.device("cpu") if isinstance(a, torch.device) else look(a)
        args = torch.fx.node.map_aggregate(node.args, on_cpu)
        kwargs = torch.fx.node.map_aggregate(dict(node.kwargs), on_cpu)
        try:
            return node.target(*args, **kwargs)
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(f"{op_name(node)} at {location(node) or 'the top'}: cannot evaluate this constant: {error}") from error


@dataclasses.dataclass
class _Leaves:
    """What the placeholders of a program are, and which nodes follow from constants alone."""

    weights: dict[torch.fx.Node, Weight] = dataclasses.field(default_factory=dict)
    inputs: dict[torch.fx.Node, Input] = dataclasses.field(default_factory=dict)
    known: dict[torch.fx.Node, Any] = dataclasses.field(default_factory=dict)
    without_data: dict[torch.fx.Node, str] = dataclasses.field(default_factory=dict)
    constant: set[torch.fx.Node] = dataclasses.field(default_factory=set)

    def add_constant(self, node: torch.fx.Node, data: Any, missing: str) -> None:
        """`data` None, on the meta device or a reason why there is none: an error once the graph needs it."""
        self.constant.add(node)
        if isinstance(data, str):
            self.without_data[node] = data
        elif data is None or (isinstance(data, torch.Tensor) and data.device.type == "meta"):
            self.without_data[node] = missing
        else:
            self.known[node] = data


def _add_placeholder(leaves: _Leaves, node: torch.fx.Node, program: ExportedProgram, user_names: Iterator[str],
                     non_persistent: dict[str, torch.Tensor | str]) -> None:
    signature, fake = program.graph_signature, node.meta.get("val")
    # User inputs keep their order; those that are no tensors stand in the list as well.
    user_inputs = {spec.arg.name for spec in signature.input_specs if spec.kind.name == "USER_INPUT" and hasattr(spec.arg, "name")}
    if node.name in signature.inputs_to_parameters:
        leaves.weights[node] = Weight(signature.inputs_to_parameters[node.name], fake)
    elif node.name in signature.inputs_to_buffers:
        name = signature.inputs_to_buffers[node.name]
        if name not in signature.non_persistent_buffers and name not in non_persistent:
            leaves.weights[node] = Weight(name, fake)
            return
        leaves.add_constant(node, non_persistent.get(name, program.constants.get(name)), f"the non-persistent buffer {name} has no data")
    elif node.name in signature.inputs_to_lifted_tensor_constants:
        leaves.add_constant(node, program.constants[signature.inputs_to_lifted_tensor_constants[node.name]],
                            "a tensor made in forward lies on the meta device")
    elif node.name in user_inputs:
        name = next(user_names)
        if isinstance(fake, torch.Tensor):
            check_static(node)
            leaves.inputs[node] = Input(name, fake)
        else:
            leaves.known[node] = fake
            leaves.constant.add(node)
    else:
        raise ExportError(f"{node.name}: an input of a kind that cannot be exported")


def _select_outputs(program: ExportedProgram, keep: list[str] | None) -> list[tuple[str, torch.fx.Node]]:
    """The results by name, those of `keep` in its order, or all that are tensors."""
    results = next(n for n in program.graph.nodes if n.op == "output").args[0]
    found = output_names(program.call_spec.out_spec)
    outputs = [(name, node) for name, node in zip(found, results)
               if isinstance(node, torch.fx.Node) and (keep is None or name in keep)]
    if keep is not None:
        for name in keep:
            if name not in dict(outputs):
                raise ExportError(f"expected an output among {', '.join(found)}, found {name}")
        outputs.sort(key=lambda o: keep.index(o[0]))
    if not outputs:
        raise ExportError("the module returns no tensor")
    return outputs


def _live_nodes(outputs: list[tuple[str, torch.fx.Node]], constant: set[torch.fx.Node]) -> tuple[set[torch.fx.Node], list[torch.fx.Node]]:
    """The nodes that outputs depend on, and among them the constants that others read."""
    live: set[torch.fx.Node] = set()
    wanted: list[torch.fx.Node] = []
    stack = [node for _, node in outputs]
    while stack:
        node = stack.pop()
        if node in live:
            continue
        live.add(node)
        if node in constant:
            wanted.append(node)
        else:
            stack += node.all_input_nodes
    return live, wanted


def build_graph(program: ExportedProgram, names: list[str], keep_outputs: list[str] | None,
                non_persistent: dict[str, torch.Tensor | str]) -> Graph:
    """The live graph of `program`.

    `names` are the public names of the user inputs in order. `keep_outputs` selects results by name (None: all).
    `non_persistent` gives the data of buffers that stand in no checkpoint (persistent ones may be among them); a string instead of data is the reason why there is
    none, reported when the graph needs it.
    """
    program = without_mutation(program)
    leaves = _Leaves()
    user_names = iter(names)
    order: list[torch.fx.Node] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            _add_placeholder(leaves, node, program, user_names, non_persistent)
        elif node.op == "get_attr":
            raise ExportError(f"{location(node) or 'the top'}: control flow or a context manager in forward ({node.target}) cannot be "
                              "exported; expected straight tensor code")
        elif node.op == "call_function" and schema_name(node) not in ASSERTIONS:
            check_static(node)
            if all(n in leaves.constant for n in node.all_input_nodes):
                leaves.constant.add(node)
            order.append(node)

    outputs = _select_outputs(program, keep_outputs)
    live, wanted = _live_nodes(outputs, leaves.constant)
    for node, spec in leaves.inputs.items():
        if node not in live:
            raise ExportError(f"input {spec.name} reaches no output; leave it out, or ask for the output that needs it")

    evaluator = ConstantEvaluator(leaves.known)
    constants = {}
    for node in wanted:
        _check_data(node, leaves.without_data)
        value = evaluator.value(node)
        if isinstance(value, torch.Tensor):
            constants[node] = value
    # A list of constants (split of a constant) is read through getitem, which is constant itself.
    nodes = [n for n in order if n in live and n not in leaves.constant]
    return Graph(nodes, {n: w for n, w in leaves.weights.items() if n in live}, leaves.inputs, constants, outputs)


def _check_data(node: torch.fx.Node, without_data: dict[torch.fx.Node, str]) -> None:
    seen, stack = set(), [node]
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n in without_data:
            raise ExportError(f"{location(node) or node.name}: {without_data[n]}")
        stack += n.all_input_nodes


GETITEM = operator.getitem
