# SPDX-License-Identifier: Apache-2.0
"""argmax and topk of logits that are cut over the vocabulary: equal to PyTorch, ties to the lowest id, and the logits are not gathered (where
there are so few that latency counts more than bytes, they may be)."""

import pathlib
import sys

import numpy as np
import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import tenon  # noqa: E402

ROWS, HIDDEN, VOCABULARY = 256, 16, 1003


class Head(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
        self.head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
        # Words 200 and 900 score as word 700 does, on other ranks.
        with torch.no_grad():
            self.head.weight[700] *= 20
            self.head.weight[200] = self.head.weight[900] = self.head.weight[700]

    def forward(self, x):
        logits = self.head(x)
        return logits.argmax(-1) if self.k == 0 else logits.topk(self.k)


@pytest.mark.parametrize("k", [0, 4])
@pytest.mark.parametrize("mesh", ["tp:2", "tp:3", "tp:4", "node:2,tp:2"])
def test_the_logits_stay_where_they_are(tmp_path, k, mesh):
    torch.manual_seed(3)
    head = Head(k).eval()
    x = torch.randn(1, ROWS, HIDDEN)
    tenon.export(head, (x,), {}, tmp_path, save_weights=True)
    report = {}
    found = list(tenon.run(tenon.compile(tmp_path, mesh=mesh, machine="cpu"), {"x": x.numpy()}, local_ranks=True, threads=1, report=report).values())
    with torch.no_grad():
        logits = head.head(x)
    # A stable order of the negated logits: the lowest id first among equals.
    order = np.argsort(-logits.numpy(), axis=-1, kind="stable")
    assert 200 in order[..., 0]
    if k == 0:
        assert np.array_equal(found[0], order[..., 0])
    else:
        assert np.array_equal(found[1], order[..., :k])
        assert np.abs(found[0] - np.take_along_axis(logits.numpy(), order[..., :k], -1)).max() <= 1e-5
    # Two numbers per row and element found, each reduced over the ranks.
    assert report["collectives"]
    sent = sum(c["bytes"] for c in report["collectives"])
    assert sent <= max(k, 1) * 2 * ROWS * 4 * 2, report["collectives"]
    assert sent < ROWS * VOCABULARY * 4 / 8
