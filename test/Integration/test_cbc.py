# SPDX-License-Identifier: Apache-2.0
"""tp-solve against CBC, an integer-programming solver that shares nothing with it, on problems too large to enumerate.

The integer program is that of Alpa (OSDI 2022, section 4.2): one 0/1 variable per strategy, one per pair of strategies of an edge. A group adds one
variable per (form, target), and a memory limit one row per time. Without a limit the optima must be equal; with one, CBC's optimum
must lie between the bound and the objective.
"""

import concurrent.futures
import json
import os
import pathlib
import random
import subprocess

import pytest

BUILD = pathlib.Path(os.environ.get("TENON_BUILD_DIR", pathlib.Path(__file__).resolve().parents[2] / "build"))
COUNT = 160


def random_problem(rng: random.Random, limited: bool) -> dict:
    """A layered graph, 24 to 60 nodes of up to 6 strategies, with skips and groups; whole costs, so that sums are exact."""
    n = rng.randrange(24, 61)
    strategies = [rng.randrange(1, 7) for _ in range(n)]
    nodes = [{"name": f"n{i}", "costs": [rng.randrange(100) for _ in range(k)]} for i, k in enumerate(strategies)]
    edges, groups = [], []

    def price():
        return None if rng.random() < 0.04 else rng.randrange(100)

    for i in range(1, n):
        for j in {i - 1, max(0, i - rng.randrange(1, 4))}:
            edges.append({"nodes": [j, i], "costs": [price() for _ in range(strategies[i] * strategies[j])]})
    for i in range(0, n - 4, 5):
        forms, targets = rng.randrange(1, 4), rng.randrange(2, 5)
        users = rng.sample(range(i + 1, i + 5), rng.randrange(2, 5))
        groups.append({"producer": i, "form": [rng.randrange(forms) for _ in range(strategies[i])],
                       "users": [{"node": u, "target": [rng.randrange(targets) for _ in range(strategies[u])]} for u in users],
                       "forms": forms, "targets": targets, "price": [rng.randrange(100) for _ in range(forms * targets)]})
    problem = {"nodes": nodes, "edges": edges, "groups": groups}
    if limited:
        problem["uses"] = [{"node": i, "interval": [i, min(n, i + rng.randrange(1, 12))], "bytes": [rng.randrange(1, 50) for _ in range(k)]}
                           for i, k in enumerate(strategies)]
        least = max(sum(min(u["bytes"]) for u in problem["uses"] if u["interval"][0] <= t < u["interval"][1]) for t in range(n))
        problem["memory_limit"] = int(least * rng.uniform(1.2, 1.8))
    return problem


def integer_program(problem: dict) -> str:
    """The problem in CPLEX's LP format."""
    cost: dict[str, float] = {}
    rows: list[str] = []
    plus = " + ".join
    for i, node in enumerate(problem["nodes"]):
        rows.append(plus(f"x{i}_{s}" for s in range(len(node["costs"]))) + " = 1")
        for s, c in enumerate(node["costs"]):
            cost[f"x{i}_{s}"] = c or 0
            if c is None:
                rows.append(f"x{i}_{s} = 0")
    for e, edge in enumerate(problem["edges"]):
        a, b = edge["nodes"]
        sizes = [len(problem["nodes"][k]["costs"]) for k in (a, b)]
        for s in range(sizes[0]):
            rows.append(plus(f"e{e}_{s}_{t}" for t in range(sizes[1])) + f" - x{a}_{s} = 0")
            for t in range(sizes[1]):
                c = edge["costs"][s * sizes[1] + t]
                cost[f"e{e}_{s}_{t}"] = c or 0
                if c is None:
                    rows.append(f"e{e}_{s}_{t} = 0")
        for t in range(sizes[1]):
            rows.append(plus(f"e{e}_{s}_{t}" for s in range(sizes[0])) + f" - x{b}_{t} = 0")
    for g, group in enumerate(problem["groups"]):
        for f in range(group["forms"]):
            made = [f"x{group['producer']}_{s}" for s, form in enumerate(group["form"]) if form == f]
            for t in range(group["targets"]):
                c = group["price"][f * group["targets"] + t]
                for user in group["users"]:
                    wanted = [f"x{user['node']}_{s}" for s, target in enumerate(user["target"]) if target == t]
                    if not made or not wanted or c == 0:
                        continue
                    if c is None:
                        rows.append(plus(made + wanted) + " <= 1")
                    else:
                        cost[f"z{g}_{f}_{t}"] = c
                        rows.append(plus(made + wanted) + f" - z{g}_{f}_{t} <= 1")
    uses = problem.get("uses", [])
    for t in range(max((u["interval"][1] for u in uses), default=0)):
        held = [f"{b} x{u['node']}_{s}" for u in uses if u["interval"][0] <= t < u["interval"][1] for s, b in enumerate(u["bytes"])]
        if held:
            rows.append(plus(held) + f" <= {problem['memory_limit']}")
    objective = plus(f"{c!r} {name}" for name, c in cost.items())
    return "\n".join(["Minimize", f" obj: {objective}", "Subject To", *(f" r{i}: {row}" for i, row in enumerate(rows)), "Binary",
                      *(f" {name}" for name in cost), "End", ""])


def cbc(problem: dict, folder: pathlib.Path) -> float | None:
    """CBC's optimum, None when infeasible. Fails when CBC proves nothing within its time."""
    (folder / "in.lp").write_text(integer_program(problem))
    subprocess.run(["cbc", "in.lp", "ratio", "0", "seconds", "60", "solve", "solution", "out.txt"], cwd=folder, check=True, capture_output=True, timeout=90)
    first = (folder / "out.txt").read_text().splitlines()[0]
    if first.startswith("Infeasible") or first.startswith("Integer infeasible"):
        return None
    assert first.startswith("Optimal"), first
    return float(first.split()[-1])


def solve(problem: dict, folder: pathlib.Path) -> dict | None:
    (folder / "in.json").write_text(json.dumps(problem))
    done = subprocess.run([BUILD / "bin/tp-solve", "in.json", "--rounds=100"], cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode == 3 and "infeasible" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def both(seed: int, limited: bool, folder: pathlib.Path):
    problem = random_problem(random.Random(seed), limited)
    folder = folder / str(seed)
    folder.mkdir()
    return seed, cbc(problem, folder), solve(problem, folder)


def run(first: int, count: int, limited: bool, folder: pathlib.Path):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda seed: both(seed, limited, folder), range(first, first + count)))


def test_optima_equal_cbc(tmp_path):
    feasible = 0
    for seed, optimum, found in run(0, COUNT, False, tmp_path):
        assert (optimum is None) == (found is None), f"seed {seed}"
        if found:
            feasible += 1
            assert found["proven"] and found["objective"] == found["bound"] == pytest.approx(optimum, abs=1e-4), f"seed {seed}"
    assert feasible >= 100


def test_bounds_under_a_limit_hold(tmp_path):
    met = feasible = 0
    for seed, optimum, found in run(10_000, COUNT // 4, True, tmp_path):
        assert (optimum is None) == (found is None), f"seed {seed}"
        if found:
            feasible += 1
            assert found["bound"] <= optimum + 1e-4 and found["objective"] >= optimum - 1e-4, f"seed {seed}"
            assert found["peak_bytes"] <= found["memory_limit"]
            met += found["objective"] <= optimum * 1.005
    # The search finds the optimum, or within 0.5 %, of most.
    assert feasible >= COUNT // 5 and met >= 0.8 * feasible, (met, feasible)


GRAPH = """
ml_program.global private @up(#ml_program.extern : tensor<3072x1024xf32>) : tensor<3072x1024xf32> {tp.key = "up"}
ml_program.global private @gate(#ml_program.extern : tensor<3072x1024xf32>) : tensor<3072x1024xf32> {tp.key = "gate"}
ml_program.global private @down(#ml_program.extern : tensor<1024x3072xf32>) : tensor<1024x3072xf32> {tp.key = "down"}
func.func @forward(%x: tensor<1x128x1024xf32> {tp.name = "x"}) -> (tensor<1x128x1024xf32> {tp.name = "y"}) {
  %up = ml_program.global_load_const @up : tensor<3072x1024xf32>
  %gate = ml_program.global_load_const @gate : tensor<3072x1024xf32>
  %down = ml_program.global_load_const @down : tensor<1024x3072xf32>
LAYERS
}
"""
LAYER = """
  %a{i} = tp.matmul "bsk,nk->bsn" %x{i}, %up : (tensor<1x128x1024xf32>, tensor<3072x1024xf32>) -> tensor<1x128x3072xf32>
  %b{i} = tp.matmul "bsk,nk->bsn" %x{i}, %gate : (tensor<1x128x1024xf32>, tensor<3072x1024xf32>) -> tensor<1x128x3072xf32>
  %c{i} = tp.unary silu %b{i} : tensor<1x128x3072xf32>
  %d{i} = tp.binary mul %a{i}, %c{i} : (tensor<1x128x3072xf32>, tensor<1x128x3072xf32>) -> tensor<1x128x3072xf32>
  %e{i} = tp.matmul "bsn,kn->bsk" %d{i}, %down : (tensor<1x128x3072xf32>, tensor<1024x3072xf32>) -> tensor<1x128x1024xf32>
  %x{j} = tp.binary add %e{i}, %x{i} : (tensor<1x128x1024xf32>, tensor<1x128x1024xf32>) -> tensor<1x128x1024xf32>
"""


@pytest.mark.parametrize("mesh", ["tp:2", "tp:8", "node:2,tp:2"])
def test_the_compiler_s_own_problems_equal_cbc(tmp_path, mesh):
    layers = "".join(LAYER.format(i=i or "", j=i + 1) for i in range(2)) + "  return %x2 : tensor<1x128x1024xf32>"
    (tmp_path / "in.mlir").write_text(GRAPH.replace("LAYERS", layers))
    subprocess.run([BUILD / "bin/tp-opt", "in.mlir", f"--tp-compile=mesh={mesh} dump-problem=problem.json to=sharded", "-o", os.devnull], cwd=tmp_path,
                   check=True, timeout=60)
    problem = json.loads((tmp_path / "problem.json").read_text())
    found = solve(problem, tmp_path)
    # CBC works with absolute tolerances: microseconds, not seconds.
    scaled = json.loads(json.dumps(problem), parse_float=lambda text: float(text) * 1e6)
    optimum = cbc(scaled, tmp_path)
    assert found["proven"] and found["objective"] * 1e6 == pytest.approx(optimum, rel=1e-6)
