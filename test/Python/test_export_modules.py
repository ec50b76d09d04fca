# SPDX-License-Identifier: Apache-2.0
"""Plain modules: names from signature and pytree, op coverage against PyTorch, and what is refused."""

import pathlib
import tempfile

import numpy as np
import pytest
import tenon
import torch
import torch.nn.functional as F
from tenon.checkpoint import load_tensors
from tenon.interpret import interpret
from tenon.tp_text import parse_module
from torch import nn


ROOT = pathlib.Path(__file__).resolve().parents[2]


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def check(module, *args, names=None, tolerance=1e-5, **kwargs):
    """Exports, interprets, compares; returns the text."""
    module.eval()
    with tempfile.TemporaryDirectory() as directory:
        out = tenon.export(module, args, kwargs, directory, save_weights=True)
        text = (out / "model.mlir").read_text()
        flat = torch.utils._pytree.tree_leaves((args, kwargs))
        parsed = parse_module(text).functions["forward"]
        inputs = {p.name: t.numpy() for p, t in zip(parsed.arguments, [t for t in flat if isinstance(t, torch.Tensor)])}
        got = interpret(text, inputs, load_tensors(out))
    with torch.inference_mode():
        want = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
    want = [w for w in want if isinstance(w, torch.Tensor)]
    assert len(got) == len(want)
    for g, w in zip(got.values(), want):
        assert g.shape == tuple(w.shape)
        scale = max(1.0, w.float().abs().max().item()) if w.numel() else 1.0
        assert np.abs(g.astype(np.float64) - w.double().numpy()).max(initial=0) <= tolerance * scale
    if names is not None:
        assert [list(inputs), list(got)] == names
    return text


class Apply(nn.Module):
    """Wraps a function, so that a case is one line."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


X = numbers(2, 3, 8)
M = torch.tensor([[True, True, False], [True, False, True]])
CASES = {
    "activations": lambda x: F.gelu(x) + F.gelu(x, approximate="tanh") + F.silu(x) + F.relu(x) + x.sigmoid() + x.tanh() + x.erf(),
    "powers": lambda x: x.pow(2) + x.pow(3) + x.abs().pow(0.5) + (x.abs() + 1).pow(-0.5) + (x * x + 1).rsqrt() + x.square(),
    "scalars": lambda x: 2 - x + (x - 1) * 3 / 4 + 1 / (x.abs() + 1) - torch.sub(x, x, alpha=2),
    "integers": lambda x: x.to(torch.int64).float() + (x > 0).long() * 2 + (x > 0) * x + (x > 0).float() / 2,
    "promotion": lambda x: torch.arange(8) * x + torch.arange(8) / 3 + (x > 0.5),
    "compare": lambda x: ((x > 0) & (x <= 1) | ~(x == x)).float() + torch.where(x < 0, x, 2.0) + x.masked_fill(x > 1, -1.0),
    "clamp": lambda x: x.clamp(-1, 1) + x.clamp(min=0) + F.relu6(x) + F.leaky_relu(x) + torch.maximum(x, -x),
    "sums": lambda x: x.sum(-1, keepdim=True) + x.mean((0, 1)) + x.mean() + x.amax(1, keepdim=True) + x.sum(dim=0).amin(),
    "argmax": lambda x: x.argmax(-1) + x.argmin(1)[:, :3].float() + x.argmax() + x.max(1).indices[:, :3] + x.min(-1).values + x.argmax(2, keepdim=True)[..., 0],
    "ties": lambda x: (x > 0).float().argmax(-1) + torch.full((2, 3, 8), -torch.inf).argmax(1)[:, :3] + (x * 0).argmin(-1),
    "topk": lambda x: x.topk(3).indices + x.topk(3, largest=False).values + x.topk(1, dim=1).indices[..., :3] + x.topk(2, dim=0).values[:, :, :3],
    "softmax": lambda x: x.softmax(-1) + F.log_softmax(100 * x, 1) + F.softmax(x, 0, dtype=torch.float32),
    "views": lambda x: x.view(6, 8).unsqueeze(0).reshape(2, 3, 2, 4).flatten(2).squeeze().unflatten(-1, (4, 2)).flatten(2),
    "orders": lambda x: x.transpose(0, 1).permute(1, 0, 2).mT.mT.movedim(0, -1).movedim(-1, 0).contiguous(),
    "slices": lambda x: torch.cat([x[:, 1:, ::2], x[:, -2:, :4], x[:, :2, 4:]], -1) + x[..., :1].expand(2, 3, 12)[:, 1:],
    "select": lambda x: x[:, -1] + x[0, 0] + x.select(1, 0) + x.narrow(1, 1, 1).squeeze(1),
    "split": lambda x: sum(x.split(4, -1)) + x.chunk(2, -1)[1] + x.split([4, 4], -1)[0] + torch.stack(x.unbind(1), 1)[..., :4],
    "repeat": lambda x: x.repeat(1, 2, 1)[:, ::2] + x.repeat_interleave(2, dim=1)[:, 1::2] + x.expand(2, 3, 8),
    "products": lambda x: x @ x.mT @ x + torch.bmm(x, x.mT) @ x + (x @ x[0, 0])[..., None] + torch.einsum("bsk,btk->bst", x, x) @ x,
    "broadcast products": lambda x: x[:, None] @ x[None].mT,
    "row times matrix": lambda x: x[0, 0] @ x[0].t(),
    "einsum of heads": lambda x: torch.einsum("bskd,btkd->bkst", x.view(2, 3, 2, 4), x.view(2, 3, 2, 4)),
    "addmm": lambda x: torch.addmm(x[0, 0], x[0], x[0].t() @ x[0], beta=2, alpha=0.5),
    "norms": lambda x: F.layer_norm(x, (8,)) + F.rms_norm(x, (8,), eps=1e-5) + F.layer_norm(x, (3, 8)),
    "no-ops": lambda x: F.dropout(x, 0.5, training=False).clone().detach().contiguous().to(torch.float32),
    "literals": lambda x: x + torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]) + torch.full((3, 8), 0.5) + torch.linspace(0, 1, 8).cos(),
    "constant of a size": lambda x: x + torch.zeros_like(x) + torch.ones(3, 8).tril(),
}


@pytest.mark.parametrize("name", CASES)
def test_ops_equal_pytorch(name):
    check(Apply(CASES[name]), X)


sdpa = F.scaled_dot_product_attention
ATTENTION = {
    "plain": lambda q, k, v: sdpa(q, k, v),
    "causal with a scale": lambda q, k, v: sdpa(q, k, v, is_causal=True, scale=0.5),
    "square mask": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.ones(3, 3, dtype=torch.bool).tril()),
    "bias": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.arange(9.0).view(3, 3)),
    "grouped": lambda q, k, v: sdpa(q, k[:, :2], v[:, :2], is_causal=True, enable_gqa=True),
    "two dimensions": lambda q, k, v: sdpa(q[0, 0], k[0, 0], v[0, 0], is_causal=True),
    "one key head for all": lambda q, k, v: sdpa(q, k[:, :1].expand(2, 4, 3, 8), v),
}
MASKED = {
    "bool mask": lambda q, k, v, m: sdpa(q, k, v, attn_mask=m[:, None, None, :]),
    "three dimensions": lambda q, k, v, m: sdpa(q[:, 0], k[:, 0], v[:, 0], attn_mask=m[:, None]),
}


@pytest.mark.parametrize("name", [*ATTENTION, *MASKED])
def test_attention_equals_pytorch(name):
    q = numbers(2, 4, 3, 8)
    mask = (M,) if name in MASKED else ()
    assert "tp.sdpa" in check(Apply({**ATTENTION, **MASKED}[name]), q, q * 0.5, q - 1, *mask)


class Block(nn.Module):
    """A pre-norm transformer block with fused QKV and tied in- and output embedding."""

    def __init__(self, width=16, heads=4, vocab=37):
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(vocab, width, padding_idx=0)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, width))
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids, keep=None):
        x = self.embed(ids)
        b, s, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if keep is None else keep[:, None, None, :]
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(a.transpose(1, 2).reshape(b, s, w))
        x = x + self.mlp(self.norm2(x))
        return {"logits": self.head(x), "states": (x, x.mean(1))}


def test_block_with_names_and_tied_weights():
    ids = torch.arange(12).view(2, 6)
    keep = torch.ones(2, 6, dtype=torch.bool)
    keep[1, 3:] = False
    text = check(Block(), ids, keep=keep, names=[["ids", "keep"], ["logits", "states.0", "states.1"]])
    assert text.count("ml_program.global private") == 11  # 12 parameters, two of them tied
    assert 'tp.name = "ids", tp.range = array<i64: 0, 37>' in text
    assert 'loc("mlp.3")' in text


def test_a_transformers_model_inside_a_module_keeps_its_mask():
    import transformers

    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=31)

    class Pooled(nn.Module):
        """Sentence vectors: mean over real tokens, length 1."""

        def __init__(self):
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids, attention_mask):
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weights = attention_mask[:, :, None].float()
            mean = (states * weights).sum(1) / weights.sum(1)
            return mean / (mean * mean).sum(-1, keepdim=True).sqrt()

    module = Pooled().eval()
    before = module.bert.config._attn_implementation
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    text = check(module, torch.arange(8).view(2, 4), mask, names=[["input_ids", "attention_mask"], ["output"]])
    assert " mask %" in text and module.bert.config._attn_implementation == before


def test_mlp():
    text = check(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)), X, names=[["input"], ["output"]])
    assert 'tp.matmul "abk,nk->abn"' in text


def test_nested_inputs_and_tuples():
    class Nested(nn.Module):
        def forward(self, batch, *, extra):
            return batch["a"][0] + batch["b"], extra * 2

    check(Nested(), {"a": [X], "b": X}, extra=X, names=[["batch.a.0", "batch.b", "extra"], ["output.0", "output.1"]])


def test_in_place_ops_become_plain_ones():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.relu(x * 2)
            y += 1
            return y

    check(InPlace(), X)


def test_multi_head_attention_of_torch():
    layer = nn.MultiheadAttention(16, 4, batch_first=True)
    x = numbers(2, 5, 16)
    check(Apply(lambda x: layer(x, x, x, need_weights=False)[0]), x)


def test_large_constants_are_globals_once():
    table = numbers(9, 32)

    class Tables(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", table, persistent=False)

        def forward(self, x):
            return x @ self.table + x @ table.clone()

    text = check(Tables(), numbers(4, 9))
    assert text.count("ml_program.global") == 2  # one global and one load
    assert 'tp.key = "tenon.constant.0"' in text


def test_splats_of_any_size_stay_in_the_text():
    text = check(Apply(lambda x: x + torch.full((2, 3, 8), 7.0) + torch.zeros(3, 8)), X)
    assert "ml_program.global" not in text and "dense<7.0> : tensor<2x3x8xf32>" in text


def test_same_text_every_time(tmp_path):
    texts = {(tenon.export(Block().eval(), (torch.zeros(1, 4, dtype=torch.int64),), {}, tmp_path / str(i)) / "model.mlir").read_text()
             for i in range(2)}
    assert len(texts) == 1


# What is refused, and with which words.

REFUSED = {
    r"unsupported op: aten\.cumprod\.default at \w+": lambda x: x.cumprod(-1),
    "dynamic shape": lambda x: x[x > 0],
    "dropout_p = 0.1": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1),
    "is_causal needs as many queries as keys, found 3 and 2": lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], is_causal=True),
    "an order of integers": lambda x: (x > 0).long().argmax(-1),
    "expected k from 1 to 64, found 65": lambda x: x.flatten().repeat(2).topk(65).values,
    "sums of integers": lambda x: (x > 0).sum(-1).float(),
    "dtype torch.float64 is not supported": lambda x: x.double() * 2,
    "a random constant": lambda x: x + torch.rand(8),
    "returns no tensor": lambda x: 3,
}


@pytest.mark.parametrize("match", REFUSED)
def test_refuses(match, tmp_path):
    with pytest.raises(tenon.ExportError, match=match):
        tenon.export(Apply(REFUSED[match]).eval(), (X,), {}, tmp_path)


def test_refuses_an_input_that_reaches_no_output(tmp_path):
    with pytest.raises(tenon.ExportError, match="input args.1 reaches no output"):
        tenon.export(Apply(lambda x, y: x * 2 + y.shape[0]).eval(), (X, X), {}, tmp_path)


def test_refuses_training_mode_and_state(tmp_path):
    with pytest.raises(tenon.UsageError, match="evaluation mode"):
        tenon.export(nn.Linear(8, 8), (X,), {}, tmp_path)

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(8))

        def forward(self, x):
            self.count.add_(1)
            return x + self.count

    with pytest.raises(tenon.ExportError, match="changes count in forward"):
        tenon.export(Counter().eval(), (X,), {}, tmp_path)


def test_an_unsupported_op_in_a_dead_or_constant_part_does_no_harm():
    def forward(x):
        x.cumprod(-1)
        return x + torch.arange(8).cumprod(0).float().argsort()

    check(Apply(forward), X)


def test_the_documentation_lists_every_op():
    import re

    from tenon import exporter  # noqa: F401 (registers the handlers)
    from tenon.lowering import HANDLERS

    page = (ROOT / "docs/Import.md").read_text()
    table = page[page.index("## Ops"):page.index("In-place ops")]
    listed = {name for name in re.findall(r"`([a-z_A-Z0-9.]+)`", table) if not name.startswith("tp.")}
    assert listed == {h.removeprefix("aten.") for h in HANDLERS} - {"getitem", "tenon.attention"}
