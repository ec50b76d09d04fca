# SPDX-License-Identifier: Apache-2.0
"""Gap and time of the solver over many architectures and meshes: two layers of each, as Hugging Face configures them.

    .venv/bin/python bench/optimality.py [--architectures NAME,...] [--meshes tp:2,...]
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile

import models

WIDE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 1000,
        "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
GROUPED = {**WIDE, "num_key_value_heads": 4}
ARCHITECTURES = {
    "albert": ("AlbertModel", {**WIDE, "embedding_size": 128}),
    "bert": ("BertModel", WIDE),
    "cohere": ("CohereForCausalLM", GROUPED),
    "distilbert": ("DistilBertModel", {"dim": 256, "hidden_dim": 512, "n_layers": 2, "n_heads": 8, "vocab_size": 1000}),
    "electra": ("ElectraModel", {**WIDE, "embedding_size": 128}),
    "gemma": ("GemmaForCausalLM", {**GROUPED, "head_dim": 32}),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 256, "n_layer": 2, "n_head": 8, "n_positions": 128, "vocab_size": 1000}),
    "granite": ("GraniteForCausalLM", GROUPED),
    "llama": ("LlamaForCausalLM", GROUPED),
    "mistral": ("MistralForCausalLM", GROUPED),
    "modernbert": ("ModernBertModel", WIDE),
    "olmo2": ("Olmo2ForCausalLM", GROUPED),
    "opt": ("OPTForCausalLM", {**WIDE, "ffn_dim": 512, "word_embed_proj_dim": 256}),
    "phi": ("PhiForCausalLM", WIDE),
    "phi3": ("Phi3ForCausalLM", GROUPED),
    "qwen2": ("Qwen2ForCausalLM", GROUPED),
    "qwen3": ("Qwen3ForCausalLM", {**GROUPED, "head_dim": 32}),
    "starcoder2": ("Starcoder2ForCausalLM", GROUPED),
}
MESHES = ["tp:2", "tp:4", "tp:8", "node:2,tp:2", "node:2,tp:4"]


def solve(module: pathlib.Path, mesh: str) -> tuple[float, float]:
    """Gap and milliseconds of solve()."""
    done = subprocess.run([models.ROOT / "build/bin/tp-opt", module, f"--tp-compile=mesh={mesh} to=sharded", "--tp-report", "-o", "/dev/null"],
                          check=True, capture_output=True, text=True)
    certificate = json.loads(re.search(r"^certificate: (.*)$", done.stderr, re.M).group(1))
    return certificate["gap"], float(re.search(r"^solve: ([0-9.]+) ms", done.stderr, re.M).group(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES))
    parser.add_argument("--meshes", default=";".join(MESHES), help="separated by semicolons")
    arguments = parser.parse_args()
    meshes = arguments.meshes.split(";")
    print("| architecture | " + " | ".join(meshes) + " |")
    print("|---" * (len(meshes) + 1) + "|")
    closed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        names = arguments.architectures.split(",")
        for architecture in names:
            cls, sizes = ARCHITECTURES[architecture]
            models.CONFIGS[architecture] = {"architectures": [cls], "model_type": architecture, **sizes}
            out = models.export(architecture, folder, batch=1, seq=32)
            cells, all_closed = [], True
            for mesh in meshes:
                gap, milliseconds = solve(out / "model.mlir", mesh)
                all_closed &= gap == 0
                cells.append(f"{'0' if gap == 0 else f'{100 * gap:.2g} %'} ({milliseconds:.1f} ms)")
            closed += all_closed
            print(f"| {architecture} | " + " | ".join(cells) + " |", flush=True)
    print(f"\ngap 0 on all meshes: {closed} of {len(names)} architectures")


if __name__ == "__main__":
    main()
