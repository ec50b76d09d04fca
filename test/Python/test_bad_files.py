# SPDX-License-Identifier: Apache-2.0
"""Files that are JSON but not what they should be: one line and an exit code, never a traceback."""

import json
import re
import struct

import pytest

from tenon import checkpoint, cli, tp_text
from tenon.errors import UsageError


@pytest.mark.parametrize("content", ["[]", '"text"', '{"model_type": "llama", "hidden_size": "big"}', '{"model_type": "nonsense"}', "{"])
def test_configs(tmp_path, capsys, content):
    (tmp_path / "config.json").write_text(content)
    assert cli.main(["export", str(tmp_path), "--batch", "1", "--seq", "8", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("tenon: error: ")


@pytest.mark.parametrize("content", [[1], {"schema": 1}, "text"])
def test_reports(tmp_path, capsys, content):
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert cli.main(["report", str(tmp_path / "r.json")]) == 2
    assert "expected a report" in capsys.readouterr().err


@pytest.mark.parametrize("content", [{}, [3], {"values": 3}])
def test_dumps(tmp_path, capsys, content):
    (tmp_path / "index.json").write_text(json.dumps(content))
    assert cli.main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "expected a list of values" in capsys.readouterr().err


def test_manifests(tmp_path, capsys):
    (tmp_path / "model.json").write_text("[]")
    assert cli.main(["compile", str(tmp_path), "--tp", "2"]) == 2
    assert "expected a JSON object" in capsys.readouterr().err


REPORT = {"schema": 1, "ranks": 1, "device": "cpu", "plan_digest": "00", "weights_bytes_per_rank": [1], "arena_bytes_per_rank": [1],
          "weights_bytes_unsharded": 1, "padding_bytes": 0, "collectives": [{"axes": ["tp"]}], "time_ms": {}}


def test_a_report_with_half_a_collective(tmp_path, capsys):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    assert cli.main(["report", str(tmp_path / "r.json")]) == 2
    assert "malformed report" in capsys.readouterr().err


@pytest.mark.parametrize("data", [None, b"no array"])
def test_dumped_values(tmp_path, capsys, data):
    if data:
        (tmp_path / "a.npy").write_bytes(data)
    entry = {"op": 0, "name": "matmul", "role": "c", "location": "", "rank": 0, "type": "f32", "dtype": "f32", "shape": [1], "file": "a.npy"}
    (tmp_path / "index.json").write_text(json.dumps({"values": [entry]}))
    assert cli.main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "a.npy: cannot read this value" in capsys.readouterr().err


def header(content) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize("content, message", [([1], "expected a header of tensors by key"), ({"w": {"dtype": "F32", "shape": [2, 2]}}, "expected dtype, shape and data_offsets"),
                                              ({"w": {"dtype": "F32", "shape": "22", "data_offsets": [0, 0]}}, "expected dtype, shape and data_offsets"),
                                              ({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 0]}}, "its place has 0 bytes"),
                                              ({"w": {"dtype": "F32", "shape": [0], "data_offsets": [0, 4]}}, "the file has 0 bytes of data")])
def test_checkpoint_headers(tmp_path, content, message):
    (tmp_path / "model.safetensors").write_bytes(header(content))
    with pytest.raises(UsageError, match=re.escape(message)):
        checkpoint.read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_checkpoint_indices(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UsageError, match="expected JSON with a weight_map"):
        checkpoint.read_checkpoint(tmp_path)


def test_names_with_quotes():
    assert tp_text.unquote('"a\\22b\\\\22\\\\c\\C3\\A9"') == 'a"b\\22\\cé'
