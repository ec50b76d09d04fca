# SPDX-License-Identifier: Apache-2.0
"""The attention and the mask function that we register with transformers, both under one name.

A registered attention function without a mask function gets no mask at all, so padding would be ignored without a word. Ours hands
the caller's [batch, keys] mask through and keeps attention one op. What the op cannot say (windows, soft caps, sinks,
packed sequences, unknown keywords) is refused by name. Registering happens once, at import.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from tenon.errors import ExportError

NAME = "tenon"


@torch.library.custom_op("tenon::attention", mutates_args=())
def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, bias: torch.Tensor | None,
              scale: float, causal: bool) -> torch.Tensor:
    """Heads in dimension 1, fewer key heads than query heads allowed, mask [batch, keys]. Exists to be exported, not run."""
    raise NotImplementedError("tenon::attention is a graph op; export the model instead of running it")


@attention.register_fake
def _(query, key, value, mask, bias, scale, causal):
    return query.new_empty(query.shape[0], query.shape[1], query.shape[2], value.shape[3])


@dataclasses.dataclass
class Trace:
    """What the mask functions of one export said: the shapes of attention that were asked for."""

    positions_given: bool = False
    kinds: set[str] = dataclasses.field(default_factory=set)


_trace = Trace()


@contextlib.contextmanager
def tracing(positions_given: bool):
    """Notes what one export asks for; `positions_given`: position_ids are an input of the entry."""
    global _trace
    previous, _trace = _trace, Trace(positions_given)
    try:
        yield
    finally:
        _trace = previous


def _leaves(function) -> list[tuple[str, dict]]:
    """The plain functions inside a composed mask function with what they close over."""
    name = function.__qualname__.split(".")[0]
    cells = dict(zip(function.__code__.co_freevars, [c.cell_contents for c in function.__closure__ or ()]))
    if name in ("and_masks", "or_masks"):
        return [leaf for f in cells["mask_functions"] for leaf in _leaves(f)] + ([("or_masks", {})] if name == "or_masks" else [])
    inner = [leaf for f in cells.values() if callable(f) for leaf in _leaves(f)]
    return [(name, cells), *inner]


def mask_function(*, mask_function, attention_mask=None, q_length, kv_length, q_offset=0, kv_offset=0, **_):
    """Hands the padding mask through after a look at what else the model wants of its mask."""
    for name, cells in _leaves(mask_function):
        if name in ("causal_mask_function", "bidirectional_mask_function"):
            _trace.kinds.add(name.removesuffix("_mask_function"))
        elif name in ("sliding_window_overlay", "sliding_window_bidirectional_overlay"):
            if cells["sliding_window"] < kv_length:
                raise ExportError(f"attention over a sliding window of {cells['sliding_window']} with {kv_length} keys is not supported; "
                                  "export a sequence that is not longer than the window")
        elif name in ("packed_sequence_mask_function", "remap_positions_for_packed_sequence"):
            # Positions that the model itself counts up are one sequence; only a caller's could mean several.
            if _trace.positions_given:
                raise ExportError("position_ids as an input without attention_mask may mean packed sequences, which are not supported; "
                                  "add attention_mask to --inputs")
        else:
            raise ExportError(f"the attention mask {name} is not supported, expected causal or bidirectional")
    if attention_mask is not None and attention_mask.ndim != 2:
        raise ExportError(f"expected an attention mask [batch, keys], found {list(attention_mask.shape)}")
    return attention_mask


# Keywords that say nothing about the scores.
IGNORED = {"position_ids", "cache_position", "use_cache", "layer_idx", "deterministic", "target_dtype", "implementation"}


def attention_function(module, query, key, value, attention_mask, scaling=None, is_causal=None, dropout=0.0, position_bias=None,
                       sliding_window=None, **keywords):
    """One tenon::attention; refuses by name what that op cannot express."""
    where = type(module).__name__
    if dropout:
        raise ExportError(f"{where}: attention dropout {dropout}; call model.eval() first")
    if sliding_window is not None and sliding_window < key.shape[2]:
        raise ExportError(f"{where}: attention over a sliding window of {sliding_window} with {key.shape[2]} keys is not supported")
    for name, given in keywords.items():
        if name not in IGNORED and given is not None and given is not False:
            raise ExportError(f"{where}: attention keyword {name} is not supported, found {_short(given)}")
    causal = bool(is_causal if is_causal is not None else getattr(module, "is_causal", True))
    wanted = "causal" if causal else "bidirectional"
    if len(_trace.kinds) == 1 and wanted not in _trace.kinds:
        raise ExportError(f"{where}: its attention is {wanted} and the model's mask is {next(iter(_trace.kinds))}")
    scale = float(scaling) if scaling is not None else query.shape[-1] ** -0.5
    out = torch.ops.tenon.attention(query, key, value, attention_mask, position_bias, scale, causal)
    return out.transpose(1, 2).contiguous(), None


def _short(value) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:60]


@contextlib.contextmanager
def routed(module: torch.nn.Module):
    """Sends the attention of every transformers model inside `module` through our functions, for the time of an export."""
    changed = []
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and getattr(part, "_supports_attention_backend", False):
            changed.append((part.config, part.config._attn_implementation))
            part.config._attn_implementation = NAME
    try:
        with tracing(False):
            yield
    finally:
        for config, before in reversed(changed):
            config._attn_implementation = before


AttentionInterface.register(NAME, attention_function)
AttentionMaskInterface.register(NAME, mask_function)
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
