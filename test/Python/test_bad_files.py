# SPDX-License-Identifier: Apache-2.0
"""Files that are JSON but not what they should be: one line and an exit code, never a traceback."""

import json

import pytest

from tenon import cli


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
