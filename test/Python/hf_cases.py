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


def more_cases() -> dict[str, Case]:
    """Families whose structure differs from those of cases(): positions, projections, blocks."""
    t = transformers
    few = {**COMMON, **TOKENS}
    gqa = {**few, "num_key_value_heads": 2}
    return {
        "bloom": Case(t.BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=101, **TOKENS), t.BloomForCausalLM),  # ALiBi, interleaved QKV
        "falcon": Case(t.FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2, vocab_size=101,
                                      new_decoder_architecture=True, alibi=False, **TOKENS), t.FalconForCausalLM),  # QKV by groups, parallel block
        "falcon-7b": Case(t.FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=101, multi_query=True,
                                         parallel_attn=True, alibi=False, **TOKENS), t.FalconForCausalLM),  # one KV head
        "gemma2": Case(t.Gemma2Config(**gqa, head_dim=8), t.Gemma2ForCausalLM),  # soft caps
        "gptj": Case(t.GPTJConfig(n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4, vocab_size=101, **TOKENS), t.GPTJForCausalLM),
        "gpt-neox": Case(t.GPTNeoXConfig(**few, rotary_pct=0.5), t.GPTNeoXForCausalLM),  # interleaved QKV, parallel block, an old key of the head
        "phi": Case(t.PhiConfig(**few, partial_rotary_factor=0.5), t.PhiForCausalLM),
        "phi3": Case(t.Phi3Config(**gqa), t.Phi3ForCausalLM),  # fused gate and up
        "roberta": Case(t.RobertaConfig(**few), t.RobertaModel, "last_hidden_state"),  # positions counted from the ids
        "stablelm": Case(t.StableLmConfig(**gqa, partial_rotary_factor=0.5), t.StableLmForCausalLM),
        "t5": Case(t.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=101, **TOKENS), t.T5EncoderModel,
                   "last_hidden_state"),  # relative bias shared by all layers
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
    case.config._attn_implementation = "sdpa" if getattr(case.cls, "_supports_sdpa", False) else "eager"
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
