#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes that a rank sends in a step, against Megatron-LM's formula and Megatron-LM's plan under the same memory demand.

    .venv/bin/python bench/communication.py [--machine h100-sxm] [--dtype bf16]

The formula (Shoeybi et al. 2019, section 3; without the gather of the logits, which stay cut): two all-reduces of batch x sequence x
hidden per layer and one behind the lookup, each 2 (p - 1) / p of its tensor. Models whose attention and MLP read the same input (Falcon,
GPT-J, GPT-NeoX, Phi, Cohere) need one per layer.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import models

LAYERS, SEQ = 4, 1024
COMMON = {"num_hidden_layers": LAYERS, "hidden_size": 2048, "num_attention_heads": 16, "intermediate_size": 8192, "vocab_size": 32000,
          "max_position_embeddings": 2048, "tie_word_embeddings": False}
CONFIGS = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_embd": 2048, "n_layer": LAYERS, "n_head": 16, "n_positions": 2048, "vocab_size": 50304},
    "llama": {"architectures": ["LlamaForCausalLM"], **COMMON, "num_key_value_heads": 8},
    "mistral": {"architectures": ["MistralForCausalLM"], **COMMON, "num_key_value_heads": 8, "sliding_window": None},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], **COMMON, "num_key_value_heads": 8, "head_dim": 128},
    "cohere": {"architectures": ["CohereForCausalLM"], **COMMON, "num_key_value_heads": 8, "tie_word_embeddings": True},
    "falcon": {"architectures": ["FalconForCausalLM"], "hidden_size": 2048, "num_hidden_layers": LAYERS, "num_attention_heads": 16, "num_kv_heads": 8,
               "vocab_size": 32000, "new_decoder_architecture": True, "parallel_attn": True, "bias": False, "alibi": False},
    "gpt_neox": {"architectures": ["GPTNeoXForCausalLM"], **COMMON, "use_parallel_residual": True},
    "gptj": {"architectures": ["GPTJForCausalLM"], "n_embd": 2048, "n_layer": LAYERS, "n_head": 16, "n_positions": 2048, "rotary_dim": 64,
             "vocab_size": 32000, "tie_word_embeddings": False},
    "phi": {"architectures": ["PhiForCausalLM"], **COMMON},
}
PARALLEL = {"cohere", "falcon", "gpt_neox", "gptj", "phi"}


def sent(out: pathlib.Path, folder: pathlib.Path, options: str) -> tuple[int, int, float]:
    """Bytes that a rank sends, collectives and predicted milliseconds of a step."""
    plan = folder / "bench.plan"
    subprocess.run([models.ROOT / "build/bin/tp-opt", out / "model.mlir", f"--tp-compile={options}", "--emit=plan", "-o", plan], check=True)
    text = subprocess.run([models.ROOT / "build/bin/tp-opt", plan, "--to-json"], check=True, capture_output=True, text=True).stdout
    entry = json.loads(text)["entries"][0]
    ops = [op for op in entry["ops"] if "kind" in op]
    return sum(op["bytes"] for op in ops), len(ops), entry["predicted_us"] * 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="h100-sxm")
    parser.add_argument("--dtype", default="bf16", choices=("f32", "bf16"))
    arguments = parser.parse_args()
    width = 2 if arguments.dtype == "bf16" else 4
    print(f"{arguments.machine}, {arguments.dtype}, {LAYERS} layers, {SEQ} tokens; MiB that a rank sends per step")
    print(f"{'model':10} {'p':>2} {'formula':>9} {'megatron':>9} {'tenon':>9} {'ratio':>6} {'collectives':>12} {'ms':>8} {'megatron ms':>12}")
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        for model, config in CONFIGS.items():
            directory = folder / f"{model}-config"
            directory.mkdir()
            (directory / "config.json").write_text(json.dumps({"model_type": model, **config}))
            out = folder / model
            models.tenon.export_hf(directory, out, batch=1, seq=[SEQ], dtype=arguments.dtype)
            for p in (2, 4, 8):
                whole = SEQ * 2048 * width
                formula = (2 * LAYERS + 1) * 2 * (p - 1) * whole // p
                ours, count, ms = sent(out, folder, f"mesh=tp:{p} machine={arguments.machine}")
                theirs, _, their_ms = sent(out, folder, f"mesh=tp:{p} machine={arguments.machine} strategy=megatron")
                mark = " more" if ours > formula else " fewer" if ours < formula else ""
                print(f"{model:10} {p:>2} {formula / 2**20:>9.2f} {theirs / 2**20:>9.2f} {ours / 2**20:>9.2f} {ours / formula:>6.3f} {count:>12} "
                      f"{ms:>8.3f} {their_ms:>12.3f}{mark}", flush=True)


if __name__ == "__main__":
    main()
