# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every supported family, saved as Hugging Face directories, with PyTorch's answers.

Sizes are as small as they can be while every structure stays: two layers, grouped heads, a vocabulary that divides by nothing.
"""

import dataclasses
import pathlib

import numpy as np
import torch
import transformers

COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 101,
          "max_position_embeddings": 64}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


@dataclasses.dataclass
class Case:
    config: transformers.PretrainedConfig
    cls: type
    output: str = "logits"


def cases() -> dict[str, Case]:
    t = transformers
    gqa = {**COMMON, "num_key_value_heads": 2, **TOKENS}
    return {
        "bert": Case(t.BertConfig(**COMMON), t.BertModel, "last_hidden_state"),
        "gpt2": Case(t.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=101, **TOKENS), t.GPT2LMHeadModel),
        "llama": Case(t.LlamaConfig(**gqa), t.LlamaForCausalLM),
        "llama-tied": Case(t.LlamaConfig(**gqa, tie_word_embeddings=True), t.LlamaForCausalLM),
        "qwen2": Case(t.Qwen2Config(**gqa), t.Qwen2ForCausalLM),
    }


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that every op matters: norms away from 1, biases away from 0."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * spread if "norm" in name.lower() or ".ln_" in name and name.endswith("weight") else 0.2 * spread)
    return model.eval()


def save(case: Case, directory: pathlib.Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    case.config._attn_implementation = "sdpa"
    model = randomise(case.cls(case.config)).to(dtype)
    model.save_pretrained(directory)
    return model.float()


def inputs(case: Case, batch: int, seq: int, mask: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    given = {"input_ids": rng.integers(0, case.config.vocab_size, (batch, seq))}
    if mask:
        given["attention_mask"] = np.ones((batch, seq), np.int64)
        given["attention_mask"][-1, seq // 2:] = 0
    return given


def reference(model: torch.nn.Module, given: dict[str, np.ndarray], output: str) -> np.ndarray:
    with torch.no_grad():
        return getattr(model(**{k: torch.tensor(v) for k, v in given.items()}), output).float().numpy()
