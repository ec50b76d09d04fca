# SPDX-License-Identifier: Apache-2.0
"""The equivalence fuzz (equivalence.py) over a fixed range of seeds: 2,000 cases, 10,000 with TENON_LONG."""

import os
import pathlib

import equivalence

COUNT = 10_000 if os.environ.get("TENON_LONG") else 2_000
# Every op of the graph phase, and every collective, must come up.
OPS = {"matmul", "unary", "binary", "compare", "select", "constant", "softmax", "layer_norm", "rms_norm", "attention", "rope", "embedding", "take",
       "reshape", "transpose", "broadcast", "slice", "concat", "reduce"}


def test_random_graphs_equal_numpy():
    kinds, collectives, failures = equivalence.run_cases(0, COUNT, pathlib.Path("equivalence-failures"))
    told = "\n".join(f"case {seed}: {failure}" for seed, failure in failures[:5])
    assert not failures, f"{len(failures)} of {COUNT} cases; kept in equivalence-failures:\n{told}"
    assert OPS <= set(kinds)
    assert {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"} <= set(collectives)
