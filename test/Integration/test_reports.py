# SPDX-License-Identifier: Apache-2.0
"""explain, diff, report -o and advise on plans of a small model; the page also in a real browser where there is one."""

import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "Python")]

import hf_cases  # noqa: E402
import tenon  # noqa: E402
from tenon import advise, cli, html_report, plan_file  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """A Llama of three layers, exported, and plans by name."""
    folder = tmp_path_factory.mktemp("plans")
    config = transformers.LlamaConfig(**{**hf_cases.COMMON, "num_hidden_layers": 3}, num_key_value_heads=2, **hf_cases.TOKENS)
    hf_cases.save(hf_cases.Case(config, transformers.LlamaForCausalLM), folder / "hf")
    tenon.export_hf(folder / "hf", folder / "out", batch=1, seq=[16])
    made = {"folder": folder}
    for name, options in {"two": {"tp": 2}, "again": {"tp": 2}, "nodes": {"mesh": "node:2,tp:2"}, "megatron": {"mesh": "tp:2", "strategy": "megatron"},
                          "whole": {"mesh": "tp:2", "memory": "none"}}.items():
        made[name] = tenon.compile(folder / "out", plan=folder / f"{name}.plan", machine="h100-sxm", **options).path
    return made


def tenon_cli(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    done = capsys.readouterr()
    return code, done.out, done.err


def test_summary(plans, capsys):
    code, out, _ = tenon_cli(capsys, "explain", plans["two"])
    assert code == 0
    assert "on tp:2 (2 ranks), priced for h100-sxm" in out and "no choice is better" in out
    # Three equal layers are one row.
    rows = [line for line in out.splitlines() if "mlp.down_proj" in line and "matmul" in line and "│" in line]
    assert sum(int(m) for line in rows for m in re.findall(r"\(x(\d)\)", line)) + sum("(x" not in line for line in rows) == 3
    assert "row-parallel" in out and "column-parallel" in out and "vocabulary-parallel" in out
    assert re.search(r"model\.layers\.\* \(x\d\) +│ all_reduce", out)
    assert "bytes sent" in out and "because model.embed_tokens (embedding v=[tp])" in out


def test_layer(plans, capsys):
    code, out, _ = tenon_cli(capsys, "explain", plans["two"], "layers.1.mlp")
    assert code == 0
    assert "model.layers.1.mlp.up_proj" in out and "model.layers.1.mlp.down_proj.weight" in out and "layers.2.mlp" not in out
    assert "self_attn" not in out.split("all_reduce")[0]
    assert re.search(r"all_reduce over tp \(2 ranks\), .* sent by each, [\d.]+ us, behind model\.layers\.1", out)
    # The chain of choices behind it, one per line.
    assert re.search(r"^    model\.layers\.1\.mlp\.down_proj \(matmul k=\[tp\]\)$", out, re.M)
    assert re.search(r"^    model\.layers\.2\.input_layernorm \(rms_norm.*\).* needs", out, re.M)


def test_patterns_and_entries(plans, capsys):
    assert "model.layers.* (x3)" not in tenon_cli(capsys, "explain", plans["two"], "lm_head")[1]
    assert "model.layers.*.self_attn.o_proj.weight (x3)" in tenon_cli(capsys, "explain", plans["two"], "*.o_proj")[1]
    code, _, err = tenon_cli(capsys, "explain", plans["two"], "layers.1.mpl")
    assert code == 2 and "no layer of entry forward is named layers.1.mpl; did you mean" in err and "layers.1.mlp" in err
    code, _, err = tenon_cli(capsys, "explain", plans["two"], "--entry", "backward")
    assert code == 2 and "expected an entry among forward, found backward" in err


def test_a_hand_made_plan_says_what_the_solver_gains(plans, capsys):
    out = " ".join(tenon_cli(capsys, "explain", plans["megatron"])[1].split())
    certificate = plan_file.PlanFile.read(plans["megatron"]).content["certificate"]
    assert certificate["objective_s"] >= certificate["free_objective_s"]
    assert f"Pinned by megatron: the solver's own choice takes {certificate['free_objective_s'] * 1e6:.2f} us" in out


def test_diff(plans, capsys):
    code, out, _ = tenon_cli(capsys, "diff", plans["two"], plans["again"])
    assert code == 0 and out.strip() == "no difference"
    code, out, _ = tenon_cli(capsys, "diff", plans["two"], plans["nodes"])
    assert code == 8
    assert re.search(r"mesh +│ tp:2 +│ node:2 x tp:2", out)
    assert re.search(r"lm_head +│ matmul +│ n=\[tp\]", out)
    code, out, _ = tenon_cli(capsys, "diff", plans["two"], plans["whole"])
    weights = [plan_file.PlanFile.read(plans[n]).content["weights_bytes_per_rank"] for n in ("two", "whole")]
    assert code == 8 and weights[0] < weights[1] and "weights per rank" in out and "collectives of forward that differ in number" in out


class Balanced(html.parser.HTMLParser):
    """Checks that tags close in order and collects the text."""

    VOID = {"meta", "input", "br", "line", "rect", "polygon"}

    def __init__(self):
        super().__init__()
        self.open, self.text, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


def test_the_page_holds_every_layer_and_collective(plans, tmp_path, capsys):
    code, _, _ = tenon_cli(capsys, "report", plans["nodes"], "-o", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert code == 0 and len(page) < 200_000
    parser = parsed(page)
    text = "".join(parser.text)
    plan = plan_file.PlanFile.read(plans["nodes"])
    entry = plan.entry(None)
    assert all(layer in text for layer in plan.layers(entry))
    assert plan.collectives(entry)
    for row in plan.collectives(entry):
        assert row.content["kind"] in text
    for name in ("node", "tp"):
        assert re.search(rf'class="axis" style="background: var\(--a\d\)">{name}<', page)
    # One file: nothing is loaded from elsewhere.
    assert not [v for k, v in parser.attributes if k in ("src", "href") and not v.startswith("#")]
    assert "url(" not in page and "@import" not in page
    peak = max(op["live_bytes"] for op in entry["ops"]) + plan.content["weights_bytes_per_rank"]
    assert f"peak {plan_file.mib(peak)}" in text


def test_names_are_escaped(plans):
    content = plan_file.PlanFile.read(plans["two"]).content
    evil = '<script>alert("x")</script>'
    content["model"] = evil
    content["choices"][0]["layer"] = evil
    for op in content["entries"][0]["ops"]:
        op["layer"] = evil
        if "cause" in op:
            op["cause"] = evil
    page = html_report.page(plan_file.PlanFile(content))
    assert page.count("<script>") == 1 and "alert(" in page
    parsed(page)


def test_measured_beside_predicted(plans, tmp_path, capsys):
    report = {}
    plan = tenon.compile(plans["folder"] / "out", tp=2, plan=tmp_path / "p.plan")
    tenon.run(plan, {"input_ids": hf_cases.np.zeros((1, 16), "int64")}, local_ranks=True, threads=1, report=report, options=["--iters=3"])
    (tmp_path / "run.json").write_text(json.dumps(report))
    assert tenon_cli(capsys, "report", plan.path, "-o", tmp_path / "r.html", "--run", tmp_path / "run.json")[0] == 0
    text = "".join(parsed((tmp_path / "r.html").read_text()).text)
    assert "Predicted and measured" in text and f"{report['time_ms']['median']:.3f} ms median" in text
    worst = report["model_error"]
    assert f"(op {worst['worst_op']}): predicted {worst['worst_predicted_us']:.2f} us, measured {worst['worst_measured_us']:.2f} us" in text
    code, _, err = tenon_cli(capsys, "report", plans["nodes"], "-o", tmp_path / "x.html", "--run", tmp_path / "run.json")
    assert code == 2 and "does not describe a run of" in err and not (tmp_path / "x.html").exists()


def test_a_run_names_the_op_that_the_model_misses_most(plans, tmp_path):
    done = subprocess.run([tenon.toolchain.find("tp-run"), plans["two"], "--local-ranks", "--threads=1", "--random-weights=1", "--random-inputs=1", "--iters=5",
                           f"--parameters={plans['folder'] / 'out'}", f"--json={tmp_path / 'r.json'}"], capture_output=True, text=True, timeout=120, check=True)
    report = json.loads((tmp_path / "r.json").read_text())
    line = re.search(r"model +median error (\d+) % of (\d+) ops; worst: (\w+) of (\S+), predicted ([\d.]+) us, measured ([\d.]+)", done.stdout + done.stderr)
    assert line, done.stdout
    # The one that is furthest off in time, of all that were measured.
    worst = max((op for op in report["ops"] if op["measured_us"] > 0 and op["name"] not in ("record", "wait")),
                key=lambda op: abs(op["predicted_us"] - op["measured_us"]))
    assert report["model_error"]["ops"] == int(line[2]) > 10
    named = report["ops"][report["model_error"]["worst_op"]]
    assert (line[3], line[4]) == (named["name"], named["location"] or "-")
    assert abs(named["predicted_us"] - float(line[5])) <= 0.06
    collectives = {c["op"] for c in report["collectives"]}
    assert named["op"] == worst["op"] or named["op"] in collectives or worst["op"] in collectives


def test_wrong_files(plans, tmp_path, capsys):
    text = tmp_path / "text.plan"
    text.write_text("no plan")
    short = tmp_path / "short.plan"
    short.write_bytes(plans["two"].read_bytes()[:200])
    for command in (["explain"], ["diff", plans["two"]]):
        code, _, err = tenon_cli(capsys, *command, tmp_path / "absent.plan")
        assert code == 2 and "found no file" in err
        assert tenon_cli(capsys, *command, short)[0] == 3
        assert tenon_cli(capsys, *command, text)[0] == 3
    code, _, err = tenon_cli(capsys, "report", plans["two"])
    assert code == 2 and "-o FILE.html writes its page" in err
    code, _, err = tenon_cli(capsys, "report", text, "-o", tmp_path / "x.html")
    assert code == 2 and "go with a plan" in err
    code, _, err = tenon_cli(capsys, "report", plans["two"], "-o", tmp_path / "no" / "x.html")
    assert code == 2 and "cannot write" in err
    assert tenon_cli(capsys, "report", tmp_path / "absent.json")[0] == 2


@pytest.mark.skipif(not CHROMIUM, reason="no browser is installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(plans, tmp_path, capsys, width):
    assert tenon_cli(capsys, "report", plans["nodes"], "-o", tmp_path / "r.html")[0] == 0
    # The page in a frame of this width, as windows have a least width; what the frame holds is written into its parent.
    (tmp_path / "frame.html").write_text(
        f'<iframe id="f" src="r.html#q=mlp" style="width: {width}px; height: 800px; border: 0"></iframe><p id="out"></p><script>'
        "document.getElementById('f').onload = e => { const d = e.target.contentDocument.documentElement;"
        "document.getElementById('out').textContent = ['width', d.scrollWidth, 'shown',"
        "[...d.querySelectorAll('tr[data-s]')].filter(r => !r.hidden).every(r => r.dataset.s.includes('mlp')), d.querySelector('#said').textContent].join(' '); }"
        "</script>")
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}"]
    dom = subprocess.run([*browser, "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path / 'frame.html'}"], capture_output=True, text=True,
                         timeout=120, check=True).stdout
    found = re.search(r"width (\d+) shown (\w+) (\d+) of (\d+) rows", dom)
    assert found, dom[-500:]
    assert int(found[1]) <= width and found[2] == "true" and 0 < int(found[3]) < int(found[4])


def step(name, predicted, exposed):
    return advise.Step(name, 128, predicted, predicted - exposed, exposed, 1000, 2, 100)


def test_recommendation_stops_where_communication_eats_the_gain():
    degree = lambda ranks, predicted, exposed: advise.Degree(ranks, f"tp:{ranks}", 1000 // ranks, 1000, (step("forward", predicted, exposed),))
    good = [degree(1, 100, 0), degree(2, 55, 5), degree(4, 32, 7), degree(8, 28, 15)]
    chosen, why = advise.recommend(good)
    assert chosen.ranks == 4 and "from 4 to 8 ranks the step gets only 1.14 x as fast" in why and "54%" in why
    assert advise.recommend(good[:2])[0].ranks == 2
    assert advise.recommend(good[3:])[0].ranks == 8


def test_advise(plans, tmp_path, capsys):
    code, out, _ = tenon_cli(capsys, "advise", plans["folder"] / "out", "--machine", "h100-sxm", "--tp", "1,2,4", "--mesh", "node:2,tp:2",
                             "--json", tmp_path / "a.json")
    result = json.loads((tmp_path / "a.json").read_text())
    assert code == 0 and [d["mesh"] for d in result["degrees"]] == ["tp:1", "tp:2", "tp:4", "node:2,tp:2"]
    one = result["degrees"][0]
    assert one["entries"][0]["collectives"] == 0 and one["entries"][0]["exposed_us"] == 0 and one["entries"][0]["efficiency"] == 1
    assert all(d["fits"] and d["weights_bytes"] < one["weights_bytes"] for d in result["degrees"][1:])
    assert result["usable_bytes"] == pytest.approx(0.9 * 8e10)
    # A model this small gains nothing from more ranks.
    assert result["recommended"]["mesh"] == "tp:1" and "recommended: tp:1" in out


def test_advise_where_nothing_fits(plans, tmp_path, capsys):
    machine = json.loads(subprocess.run([tenon.toolchain.find("tp-opt"), "--print-machine=h100-sxm"], capture_output=True, check=True).stdout)
    (tmp_path / "tiny.json").write_text(json.dumps({**machine, "name": "tiny", "memory_bytes": 1000}))
    code, out, _ = tenon_cli(capsys, "advise", plans["folder"] / "out", "--machine", tmp_path / "tiny.json", "--tp", "1,2")
    assert code == 0 and "none fits: tp:2 needs" in out
    for arguments, words in ((["--tp", "0"], "at least one rank"), (["--compile", "memory"], "NAME=VALUE"), (["--machine", "abacus"], "abacus")):
        code, _, err = tenon_cli(capsys, "advise", plans["folder"] / "out", *arguments)
        assert code == 2 and words in err
    assert tenon_cli(capsys, "advise", tmp_path / "absent")[0] == 2
