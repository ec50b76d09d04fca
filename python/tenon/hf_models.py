# SPDX-License-Identifier: Apache-2.0
"""Hugging Face models without weights: which class, which inputs, which outputs, and buffers with real values.

Builds the model on the meta device, so a model of any size exports on a laptop. Non-persistent buffers (rotary frequencies, position
ids) stand in no checkpoint; they are created again on the CPU by the model's own `_init_weights`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pathlib
from collections.abc import Callable, Iterable

import torch
import transformers
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, apply_renamings
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tenon import hf_attention
from tenon.errors import ExportError, UsageError

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclasses.dataclass
class HfModel:
    """A model on the meta device and where it came from; `directory` is None when only a config was given."""

    module: torch.nn.Module
    config: transformers.PretrainedConfig
    directory: pathlib.Path | None
    decoder: bool

    @property
    def class_name(self) -> str:
        return type(self.module).__name__


def load_config(path: pathlib.Path) -> tuple[transformers.PretrainedConfig, pathlib.Path | None]:
    file = path / "config.json" if path.is_dir() else path
    if not file.exists():
        raise UsageError(f"expected a directory with config.json or a config file, found {path}")
    try:
        raw = json.loads(file.read_text())
    except ValueError as error:
        raise UsageError(f"{file}: not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{file}: expected a JSON object, found {type(raw).__name__}")
    kind = raw.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise UsageError(f"{file}: model_type {kind!r} is unknown to transformers {transformers.__version__}")
    try:
        config = CONFIG_MAPPING[kind].from_dict(raw)
    except Exception as error:  # transformers raises several kinds, some of them its own.
        raise UsageError(f"{file}: {' '.join(str(error).split())}") from None
    return config, path if path.is_dir() else None


def choose_class(config: transformers.PretrainedConfig, name: str | None) -> type:
    """The class asked for, else architectures[0], else causal LM for decoders and the bare model for encoders."""
    name = name or (config.architectures[0] if config.architectures else None)
    if name is None:
        kind = config.model_type
        causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
        masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(kind)
        decoder = getattr(config, "is_decoder", False) or not masked
        name = causal if causal and decoder else modeling_auto.MODEL_MAPPING_NAMES.get(kind)
        name = name[0] if isinstance(name, (tuple, list)) else name
    found = getattr(transformers, name or "", None)
    if found is None or not inspect.isclass(found):
        raise UsageError(f"expected a model class of transformers {transformers.__version__}, found {name}")
    return found


def attention_of(cls: type, config: transformers.PretrainedConfig) -> str:
    """How the class is told to compute attention: through our functions where its modelling file calls the registry of transformers, else by torch's
    scaled_dot_product_attention, else as the plain ops of eager attention. Masks are part of the graph in the last two."""
    if getattr(config, "attn_logit_softcapping", None):  # tanh between scores and softmax, which the op has no place for.
        return "eager"
    if getattr(cls, "_supports_attention_backend", False) or hasattr(inspect.getmodule(cls), "ALL_ATTENTION_FUNCTIONS"):
        return hf_attention.NAME
    return "sdpa" if getattr(cls, "_supports_sdpa", False) else "eager"


def build(path: str | pathlib.Path, class_name: str | None = None, dtype: str = "f32") -> HfModel:
    """Builds the model of a directory or config file on the meta device."""
    if dtype not in DTYPES:
        raise UsageError(f"expected a dtype among {', '.join(DTYPES)}, found {dtype}")
    config, directory = load_config(pathlib.Path(path))
    if getattr(config, "quantization_config", None):
        raise ExportError(f"{path}: quantised weights are not supported")
    cls = choose_class(config, class_name)
    implementation = attention_of(cls, config)
    config._attn_implementation = implementation
    for sub in getattr(config, "sub_configs", {}):
        if getattr(config, sub, None) is not None:
            getattr(config, sub)._attn_implementation = implementation
    previous = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])
    try:
        with torch.device("meta"):
            module = cls(config).eval()
    except (ValueError, NotImplementedError) as error:
        raise ExportError(f"{cls.__name__}: {error}") from None
    finally:
        torch.set_default_dtype(previous)
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(config.model_type)
    decoder = bool(getattr(config, "is_decoder", False) or not masked) and not getattr(config, "is_encoder_decoder", False)
    return HfModel(module, config, directory, decoder and not cls.__name__.endswith("EncoderModel"))


def renamed_keys(model: torch.nn.Module, keys: Iterable[str]) -> dict[str, str]:
    """For checkpoint keys that transformers renames when it loads this model (embed_out.weight is lm_head.weight now): new name to key."""
    renamings = [t for t in get_model_conversion_mapping(model) if isinstance(t, WeightRenaming)]
    named = {key: apply_renamings(key, renamings) for key in keys} if renamings else {}
    return {name: key for key, name in named.items() if name != key}


def buffers_without_key(model: torch.nn.Module, absent: Callable[[str], bool]) -> dict[str, torch.Tensor | str]:
    """Real values of the buffers that stand in no checkpoint, by name: non-persistent ones, and persistent ones whose key is `absent` (old checkpoints
    keep them elsewhere). A string is the reason why there is no value.

    `_init_weights` runs twice, on buffers filled with zeros and with ones: what it does not write differs.
    """
    found: dict[str, torch.Tensor | str] = {}
    for path, module in model.named_modules():
        names = [n for n, buffer in module._buffers.items()
                 if buffer is not None and (n in module._non_persistent_buffers_set or absent(f"{path}.{n}" if path else n))]
        meta = {n: module._buffers[n] for n in names if module._buffers[n].device.type == "meta"}
        results = []
        try:
            for fill in (0, 1) if meta else ():
                for name, buffer in meta.items():
                    module._buffers[name] = torch.full(buffer.shape, fill, dtype=buffer.dtype)
                with torch.no_grad():
                    model._init_weights(module)
                results.append({n: module._buffers[n].clone() for n in meta})
        finally:
            module._buffers.update(meta)
        for name in names:
            full = f"{path}.{name}" if path else name
            if name not in meta:
                found[full] = module._buffers[name]
            elif torch.equal(results[0][name], results[1][name]):
                found[full] = results[0][name]
            else:
                found[full] = f"the buffer {full} stands in no checkpoint and is not created again by {type(model).__name__}._init_weights"
    return found


def example_inputs(model: HfModel, names: list[str], batch: int, seq: int) -> dict[str, torch.Tensor]:
    """Meta tensors for the named inputs: everything is [batch, seq] of i64."""
    accepted = inspect.signature(model.module.forward).parameters
    known = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]
    for name in names:
        if name not in known or name not in accepted:
            raise UsageError(f"expected inputs among {', '.join(n for n in known if n in accepted)}, found {name}")
    return {name: torch.zeros(batch, seq, dtype=torch.int64, device="meta") for name in names}


def default_inputs(model: HfModel) -> list[str]:
    return ["input_ids"] if model.decoder else ["input_ids", "attention_mask"]


def input_range(model: HfModel, name: str) -> tuple[int, int] | None:
    """Legal values of an input, high exclusive."""
    config = model.config
    sizes = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size", "position_ids": "max_position_embeddings"}
    if name == "attention_mask":
        return (0, 2)
    size = getattr(config, sizes.get(name, ""), None)
    return (0, int(size)) if size else None


def extra_arguments(model: HfModel, logits: str) -> dict[str, object]:
    """Arguments that fix what an entry computes: no cache, and with `last` only the last position's logits."""
    accepted = inspect.signature(model.module.forward).parameters
    extra: dict[str, object] = {}
    if "use_cache" in accepted or any(p.kind is p.VAR_KEYWORD for p in accepted.values()) and model.decoder:
        extra["use_cache"] = False
    if logits == "last":
        keep = next((n for n in ("logits_to_keep", "num_logits_to_keep") if n in accepted), None)
        head = model.module.get_output_embeddings() if hasattr(model.module, "get_output_embeddings") else None
        if keep:
            extra[keep] = 1
        elif head is not None:
            head.register_forward_pre_hook(lambda _, arguments: (arguments[0][:, -1:], *arguments[1:]))
        else:
            raise UsageError(f"--logits last: {model.class_name} has no logits")
    return extra


def default_outputs(model: HfModel, found: list[str]) -> list[str]:
    for name in ("logits", "last_hidden_state"):
        if name in found:
            return [name]
    return found


def config_excerpt(config: transformers.PretrainedConfig) -> dict[str, object]:
    """The numbers that readers of model.json want to know about the model."""
    heads = getattr(config, "num_attention_heads", None)
    hidden = getattr(config, "hidden_size", None)
    excerpt = {
        "model_type": config.model_type, "layers": getattr(config, "num_hidden_layers", None), "hidden": hidden, "heads": heads,
        "kv_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or (hidden // heads if heads and hidden else None),
        "intermediate": getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None),
        "vocab": getattr(config, "vocab_size", None), "tied": bool(getattr(config, "tie_word_embeddings", False)),
    }
    return {k: v for k, v in excerpt.items() if v is not None}


def layer_plan(module: torch.nn.Module) -> dict[str, str]:
    """The tensor-parallel plan that the config and the class bring along: pattern of a layer's name to style; mostly empty or whole."""
    return {**(getattr(module.config, "base_model_tp_plan", None) or {}), **(type(module)._tp_plan or {})}
