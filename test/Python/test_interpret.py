# SPDX-License-Identifier: Apache-2.0
"""The numpy interpreter on hand-written text: ops of the graph form, views, literals, tp-opt's way of printing."""

import pathlib

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tenon.interpret import interpret, parse_dense
from tenon.tp_text import TextType, parse_module, parse_op, strip_location

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
RNG = np.random.default_rng(5)


def one_op(line, result, **inputs):
    """Runs `%y = line` over inputs named as in the line."""
    element = {"f": "f32", "i": "i64", "b": "i1"}
    spell = lambda a: f"tensor<{''.join(f'{n}x' for n in a.shape)}{element[a.dtype.kind]}>"
    arguments = ", ".join(f'%{k}: {spell(v)} {{tp.name = "{k}"}}' for k, v in inputs.items())
    text = f"module {{\n func.func @forward({arguments}) -> ({result} {{tp.name = \"y\"}}) {{\n  %y = {line}\n  return %y : {result}\n }}\n}}"
    return interpret(text, inputs, {})["y"]


def test_attention_example_equals_torch():
    x = RNG.standard_normal((2, 16, 384)).astype(np.float32)
    mask = np.ones((2, 1, 16), bool)
    mask[1, :, 9:] = False
    w = {f"{n}.weight": RNG.standard_normal((384, 384)).astype(np.float32) / 20 for n in "qkvo"}
    got = interpret((EXAMPLES / "attention.mlir").read_text(), {"x": x, "mask": mask}, w)["y"]
    t = {k: torch.from_numpy(v) for k, v in w.items()}
    heads = lambda n: (torch.from_numpy(x) @ t[f"{n}.weight"].T).view(2, 16, 12, 32).transpose(1, 2)
    a = F.scaled_dot_product_attention(heads("q"), heads("k"), heads("v"), attn_mask=torch.from_numpy(mask)[:, None])
    want = a.transpose(1, 2).reshape(2, 16, 384) @ t["o.weight"].T
    assert np.abs(got - want.numpy()).max() <= 1e-4


@pytest.mark.parametrize("name", ["linear_column", "linear_row", "mlp"])
def test_examples_run(name):
    text = (EXAMPLES / f"{name}.mlir").read_text()
    module = parse_module(text)
    parameters = {g.attributes["tp.key"].strip('"'): RNG.standard_normal(g.type.shape) for g in module.globals.values()}
    (function,) = module.functions.values()
    x = RNG.standard_normal(function.arguments[0].type.shape)
    got = interpret(text, {"x": x}, parameters)["y"]
    if name == "mlp":
        gelu = F.gelu(torch.from_numpy(x @ parameters["up.weight"].T + parameters["up.bias"])).numpy()
        assert np.allclose(got, gelu @ parameters["down.weight"].T + parameters["down.bias"])
    else:
        before = F.gelu(torch.from_numpy(x)).numpy() if name == "linear_row" else x
        assert np.allclose(got, before @ parameters["weight"].T)


def test_grouped_causal_attention_and_a_row_that_attends_to_nothing():
    q, k, v = (RNG.standard_normal(s).astype(np.float32) for s in ((1, 3, 2, 2, 4), (1, 3, 2, 4), (1, 3, 2, 5)))
    mask = np.array([[[False, True, True]]])
    got = one_op("tp.attention %q, %k, %v mask %m scale = 5.000000e-01 causal = true : (tensor<1x3x2x2x4xf32>, tensor<1x3x2x4xf32>, "
                 "tensor<1x3x2x5xf32>, tensor<1x1x3xi1>) -> tensor<1x3x2x2x5xf32>", "tensor<1x3x2x2x5xf32>", q=q, k=k, v=v, m=mask)
    assert (got[0, 0] == 0).all() and np.isfinite(got).all()
    # Row 1 sees key 1 only; query head g*2+r reads KV head g.
    assert np.allclose(got[0, 1, 1, 0], v[0, 1, 1]) and np.allclose(got[0, 1, 0, 1], v[0, 1, 0])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rope_rotates_pairs(interleaved):
    x = RNG.standard_normal((1, 2, 1, 6)).astype(np.float32)
    angles = RNG.standard_normal((8, 2)).astype(np.float32)
    positions = np.array([[5, 1]])
    got = one_op(f"tp.rope %x at %p cos %c sin %s interleaved = {str(interleaved).lower()} : (tensor<1x2x1x6xf32>, tensor<1x2xi64>, "
                 "tensor<8x2xf32>, tensor<8x2xf32>) -> tensor<1x2x1x6xf32>", "tensor<1x2x1x6xf32>",
                 x=x, p=positions, c=np.cos(angles), s=np.sin(angles))
    first, second = ([0, 2], [1, 3]) if interleaved else ([0, 1], [2, 3])
    for s, p in enumerate((5, 1)):
        z = (x[0, s, 0, first] + 1j * x[0, s, 0, second]) * np.exp(1j * angles[p])
        assert np.allclose(got[0, s, 0, first], z.real, atol=1e-6) and np.allclose(got[0, s, 0, second], z.imag, atol=1e-6)
    assert np.array_equal(got[..., 4:], x[..., 4:])


def test_elementwise_is_postfix():
    a, b = np.array([1.0, -2.0], np.float32), np.array([3.0, 4.0], np.float32)
    got = one_op('tp.elementwise "$0 0 gt $0 $1 mul $1 neg 2.5 add select" %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>',
                 "tensor<2xf32>", a=a, b=b)
    assert got.tolist() == [3.0, -1.5]


def test_take_keeps_the_dimension():
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    got = one_op("tp.take %x dim = 1 index = 2 : tensor<2x3x2xf32> to tensor<2x1x2xf32>", "tensor<2x1x2xf32>", x=x)
    assert np.array_equal(got, x[:, 2:])


def test_strided_slice_and_transpose():
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    got = one_op("tp.slice %x [0, 1] [2, 3] [1, 2] : tensor<2x6xf32> to tensor<2x3xf32>", "tensor<2x3xf32>", x=x)
    assert np.array_equal(got, x[:, 1::2])
    got = one_op("tp.transpose %x [1, 0] : tensor<2x6xf32> to tensor<6x2xf32>", "tensor<6x2xf32>", x=x)
    assert np.array_equal(got, x.T)


def test_matmul_with_epilogue():
    x, w, b, r = (RNG.standard_normal(s).astype(np.float32) for s in ((2, 3), (4, 3), (4,), (2, 4)))
    got = one_op('tp.matmul "bk,nk->bn" %x, %w bias %b residual %r {activation = #tp.activation<relu>} : (tensor<2x3xf32>, '
                 "tensor<4x3xf32>, tensor<4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>", "tensor<2x4xf32>", x=x, w=w, b=b, r=r)
    assert np.allclose(got, np.maximum(x @ w.T + b, 0) + r)


def test_views_of_a_fused_weight():
    # The k part of GPT-2's c_attn [3, 12] with two heads of two: columns 4 to 8.
    stored = np.arange(36, dtype=np.float32).reshape(3, 12)
    text = """module {
  ml_program.global private @k(#ml_program.extern : tensor<3x2x2xf32>) : tensor<3x2x2xf32> {tp.view = #tp.view<"c_attn", shape = [3, 12], offset = 4, sizes = [3, 2, 2], strides = [12, 2, 1]>}
  func.func @forward() -> (tensor<3x2x2xf32> {tp.name = "y"}) {
    %0 = ml_program.global_load_const @k : tensor<3x2x2xf32>
    return %0 : tensor<3x2x2xf32>
  }
}"""
    assert np.array_equal(interpret(text, {}, {"c_attn": stored})["y"].reshape(3, 4), stored[:, 4:8])


def test_narrow_types_are_rounded():
    x = np.array([1.0 + 2**-9], np.float32)
    got = one_op("tp.convert %x : tensor<1xf32> to tensor<1xbf16>", "tensor<1xbf16>", x=x)
    assert got[0] == np.float32(x.astype(ml_dtypes.bfloat16)[0]) == 1.0
    assert one_op("tp.convert %x : tensor<1xf32> to tensor<1xi64>", "tensor<1xi64>", x=np.array([-1.7], np.float32))[0] == -1


def test_literals():
    assert parse_dense("dense<0xFF800000> : tensor<f32>", TextType((), "f32")) == -np.inf
    assert parse_dense("dense<[[1, -2]]> : tensor<1x2xi64>", TextType((1, 2), "i64")).tolist() == [[1, -2]]
    assert parse_dense("dense<true> : tensor<2xi1>", TextType((2,), "i1")).tolist() == [True, True]
    assert parse_dense("dense<1.000000e-05> : tensor<2xf32>", TextType((2,), "f32"))[1] == 1e-5


def test_locations_are_cut():
    assert strip_location('%0 = tp.unary gelu %x : tensor<2xf32> loc("a (b) : c")') == "%0 = tp.unary gelu %x : tensor<2xf32>"
    assert strip_location("%0 = tp.unary gelu %x : tensor<2xf32> loc(#loc3)") == "%0 = tp.unary gelu %x : tensor<2xf32>"
    op = parse_op('tp.layer_norm %x scale %w bias %b eps = 9.99999996E-13 {dims = 2 : i64} : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>')
    assert op.operands == ["%x"] and op.named == {"scale": "%w", "bias": "%b"}
    assert op.attributes == {"eps": "9.99999996E-13", "dims": "2 : i64"}


def test_wrong_shapes_are_told():
    text = (EXAMPLES / "linear_row.mlir").read_text()
    with pytest.raises(ValueError, match=r"x: expected shape \[4, 128, 4096\], found \[1\]"):
        interpret(text, {"x": np.zeros(1)}, {"weight": np.zeros((256, 4096))})
    with pytest.raises(KeyError, match="no parameter weight"):
        interpret(text, {"x": np.zeros((4, 128, 4096))}, {})
