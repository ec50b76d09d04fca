# SPDX-License-Identifier: Apache-2.0
"""A plan as one HTML page (`tenon report PLAN -o FILE.html`): complete without scripts, which only filter its rows; nothing is loaded
from elsewhere. Colours stand for mesh axes, whose names are always written too."""

from __future__ import annotations

import collections
import re
from html import escape
from typing import Any, Iterable

from tenon.plan_file import PlanFile, Repeated, Row, choice_of, grouped, mib, pattern_of, runner_up_of, sent, times

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --ground: #ffffff; --panel: #f6f8fa; --bar: #3b6ea8; --bar2: #b35900;
  --a0: #cfe3ff; --a1: #ffe0b5; --a2: #cdeccf; --a3: #ead6ff; --a4: #ffd3dc; --a5: #d8f0f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --line: #3d444d; --ground: #0d1117; --panel: #161b22;
  --bar: #6ea8e8; --bar2: #f0a860; --a0: #1f3f66; --a1: #5a3d10; --a2: #1e4a26; --a3: #432a63; --a4: #5c2430; --a5: #1d4a4a; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--ground); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; } a { color: inherit; } .soft { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .5rem; margin: 1rem 0; }
dl div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; }
dt { color: var(--soft); font-size: .875rem; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.search { position: sticky; top: 0; background: var(--ground); padding: .5rem 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; z-index: 1; }
.search input { font: inherit; flex: 1 1 14rem; min-width: 0; padding: .4rem .6rem; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { background: var(--panel); font-size: .875rem; white-space: nowrap; } tr:last-child td { border-bottom: 0; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; } td { overflow-wrap: break-word; } td.name { min-width: 15rem; overflow-wrap: anywhere; }
td.why { min-width: 20rem; } td.kind { overflow-wrap: normal; } .axis { border-radius: 4px; padding: 0 .3rem; color: var(--ink); } details > div { color: var(--soft); font-size: .875rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, "DejaVu Sans", sans-serif; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .2rem .6rem; align-items: center; }
.bars .bar { height: .9rem; background: var(--bar); border-radius: 3px; min-width: 1px; } .bars .bar.measured { background: var(--bar2); }
.bars .value { font-variant-numeric: tabular-nums; text-align: right; }
:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; }
"""

SCRIPT = """
const field = document.getElementById('q'), said = document.getElementById('said');
const rows = [...document.querySelectorAll('tr[data-s]')];
function filter() {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const match = words.every(word => row.dataset.s.includes(word));
    row.hidden = !match;
    count += match;
  }
  said.textContent = words.length ? count + ' of ' + rows.length + ' rows' : rows.length + ' rows';
}
const asked = new URLSearchParams(location.hash.slice(1)).get('q');
if (asked) field.value = asked;
field.addEventListener('input', filter);
filter();
"""


class Page:
    """The parts of one page; every text goes through `text` or `axes`."""

    def __init__(self, plan: PlanFile, run: dict[str, Any] | None):
        self.plan = plan
        self.run = run
        self.entry = plan.entry(run.get("entry") if run else None)
        self.colours = {axis["name"]: i % 6 for i, axis in enumerate(plan.content["mesh"])}

    def axes(self, text: str) -> str:
        """A choice or a sharding with the names of axes in their colours."""
        return "".join(f'<span class="axis" style="background: var(--a{self.colours[part]})">{escape(part)}</span>' if part in self.colours else escape(part)
                       for part in re.split(r"([\w.]+)", text.replace('"', "")))

    @staticmethod
    def row(search: Iterable[str], cells: Iterable[str]) -> str:
        return f'<tr data-s="{escape(" ".join(search).lower())}">{"".join(cells)}</tr>'

    @staticmethod
    def table(head: Iterable[str], rows: Iterable[str]) -> str:
        columns = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
        return f'<div class="scroll" tabindex="0"><table><thead><tr>{columns}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'

    @staticmethod
    def name(group: Repeated) -> str:
        layers = list(dict.fromkeys(r.layer for r in group.rows))
        if len(layers) < 2:
            return f'<td class="name">{escape(group.name or "-")}</td>'
        return (f'<td class="name"><details><summary>{escape(group.name)}</summary><div>{"<br>".join(map(escape, layers))}</div></details></td>')

    def facts(self) -> str:
        c, e = self.plan.content, self.entry
        compute, communication, exposed = times(e)
        whole, held = c["weights_bytes_unsharded"], c["weights_bytes_per_rank"]
        pairs = [("mesh", f"{self.plan.mesh}, {c['ranks']} ranks"), ("machine", c["machine"]),
                 ("predicted step", f"{e['predicted_us'] * 1e-3:.3f} ms"), ("computation", f"{compute * 1e-3:.3f} ms"),
                 ("communication", f"{communication * 1e-3:.3f} ms, {exposed * 1e-3:.3f} exposed"), ("sent by a rank", mib(sent(e))),
                 ("weights per rank", f"{mib(held)} of {mib(whole)}" + (f", {held / whole * c['ranks']:.3f} x 1/{c['ranks']}" if whole else "")),
                 ("arena per rank", mib(e["arena_bytes"]))]
        if self.run:
            pairs.insert(3, ("measured step", f"{self.run['time_ms']['median']:.3f} ms median, {self.run['time_ms']['min']:.3f} least"))
        return "<dl>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs) + "</dl>"

    def choices(self, what: str, rows: list[Row]) -> str:
        found = []
        for group in grouped(rows):
            c = group.rows[0].content
            note = f"; {c['note']}" if "note" in c else ""
            cells = [self.name(group), f"<td>{escape(c['what'])}</td>" if what == "op" else "", f"<td>{self.axes(choice_of(c))}</td>",
                     f'<td class="n">{c["us"]:.2f}</td>' if what == "op" and c["what"] != "result" else "<td></td>" if what == "op" else f'<td class="n">{mib(self.weight_bytes(group))}</td>',
                     f"<td>{self.axes(runner_up_of(c))}{escape(note)}</td>"]
            found.append(self.row([group.pattern, *(r.layer for r in group.rows), c["what"], choice_of(c)], cells))
        head = ["layer", "op", "choice", "us", "runner-up and what it costs more"] if what == "op" else ["weight", "sharding", "bytes per rank", "runner-up"]
        return self.table(head, found)

    def weight_bytes(self, group: Repeated) -> int:
        names = {r.layer for r in group.rows}
        total = 0
        for weight in self.plan.content["weights"]:
            parts = weight["name"].split("+")
            if names & set(parts):
                total += weight["bytes_per_rank"] * len(names & set(parts)) // len(parts)
        return total

    def collectives(self) -> str:
        found = []
        step = self.entry["predicted_us"]
        for group in grouped(self.plan.collectives(self.entry)):
            c = group.rows[0].content
            us = sum(r.content["predicted_us"] for r in group.rows)
            measured = [f'<td class="n">{sum(self.measured(r.content["op"]) for r in group.rows):.2f}</td>'] if self.run else []
            cells = [self.name(group), f"<td class=\"kind\">{escape(c['kind'])} over {self.axes(','.join(c['axes']))}</td>", f'<td class="n">{mib(c["bytes"])}</td>',
                     f'<td class="n">{us:.2f}</td>', *measured, f'<td class="n">{us / step if step else 0:.1%}</td>', f'<td class="why">{self.axes(c["cause"])}</td>']
            found.append(self.row([group.pattern, *(r.layer for r in group.rows), c["kind"], *c["axes"], c["cause"]], cells))
        if not found:
            return "<p>No collective: nothing is sent.</p>"
        return self.table(["behind", "collective", "sent by each", "us", *(["measured us"] if self.run else []), "of the step", "because"], found)

    def measured(self, op: int) -> float:
        return self.run["ops"][op]["measured_us"]

    def memory(self) -> str:
        """Bytes of a rank over the ops of a step, in program order."""
        weights = self.plan.content["weights_bytes_per_rank"]
        live = [op["live_bytes"] for op in self.entry["ops"]] or [0]
        most = max(live)
        at = live.index(most)
        width, height, x0, y0 = 800, 220, 8, 24
        scale = (height - y0 - 24) / max(1, weights + most)
        x = lambda i: x0 + (width - 2 * x0) * i / max(1, len(live) - 1)
        y = lambda value: height - 24 - value * scale
        points = " ".join(f"{x(i):.1f},{y(weights + value):.1f}" for i, value in enumerate(live))
        floor = f"{x(len(live) - 1):.1f},{height - 24} {x0},{height - 24}"
        side = "end" if at > len(live) / 2 else "start"
        where = self.entry["ops"][at]["layer"] if self.entry["ops"] else ""
        label = f"peak {mib(weights + most)}: {mib(weights)} of weights, {mib(most)} live at {where or 'op ' + str(at)}"
        return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}"><polygon points="{points} {floor}" fill="var(--bar)" opacity=".35"/>'
                f'<rect x="{x0}" y="{y(weights):.1f}" width="{width - 2 * x0}" height="{weights * scale:.1f}" fill="var(--bar)" opacity=".55"/>'
                f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y0 - 6}" y2="{height - 24}" stroke="var(--bar2)" stroke-width="2"/>'
                f'<text x="{x(at) + (-6 if side == "end" else 6):.1f}" y="14" text-anchor="{side}">peak {mib(weights + most)}</text>'
                f'<text x="{x0}" y="{height - 8}">first op</text><text x="{width - x0}" y="{height - 8}" text-anchor="end">last op</text></svg>'
                f"<p>{escape(label)}. Dark: weights; light: values of the arena in use, op by op.</p>")

    def time(self) -> str:
        predicted: collections.Counter = collections.Counter()
        measured: collections.Counter = collections.Counter()
        for i, op in enumerate(self.entry["ops"]):
            if op["name"] in ("record", "wait"):
                continue
            predicted[op["name"]] += op["predicted_us"]
            if self.run:
                measured[op["name"]] += self.measured(i)
        most = max([*predicted.values(), *measured.values(), 1e-9])
        bars = []
        for name, us in sorted(predicted.items(), key=lambda item: -item[1]):
            bars.append(f'<span>{escape(name)}</span><div class="bar" style="width: {100 * us / most:.2f}%"></div><span class="value">{us:.1f} us</span>')
            if self.run:
                bars.append(f'<span class="soft">measured</span><div class="bar measured" style="width: {100 * measured[name] / most:.2f}%"></div>'
                            f'<span class="value">{measured[name]:.1f} us</span>')
        return f'<div class="bars">{"".join(bars)}</div>'

    def comparison(self) -> str:
        """Predicted beside measured, ops of repeated layers together."""
        sums: dict[tuple[str, str], list] = {}
        for i, op in enumerate(self.entry["ops"]):
            if op["name"] not in ("record", "wait"):
                row = sums.setdefault((pattern_of(op["layer"]), op["name"]), [0, 0.0, 0.0])
                row[0] += 1
                row[1] += op["predicted_us"]
                row[2] += self.measured(i)
        rows = []
        for (layer, name), (count, predicted, measured) in sums.items():
            ratio = f"{measured / predicted:.2f}" if predicted > 0 else "-"
            rows.append(self.row([layer, name], [f'<td class="name">{escape(layer or "-")}</td><td>{escape(name)}</td><td class="n">{count}</td>',
                                                 f'<td class="n">{predicted:.2f}</td><td class="n">{measured:.2f}</td><td class="n">{ratio}</td>']))
        error = self.run.get("model_error")
        worst = ""
        if error:
            op = self.entry["ops"][error["worst_op"]]
            worst = (f"<p>Median error of the model {error['median']:.1%} over {error['ops']} ops; the worst is {escape(op['name'])} of "
                     f"{escape(op['layer'] or '-')} (op {error['worst_op']}): predicted {error['worst_predicted_us']:.2f} us, measured "
                     f"{error['worst_measured_us']:.2f} us.</p>")
        return worst + self.table(["layer", "op", "count", "predicted us", "measured us", "measured / predicted"], rows)

    def html(self) -> str:
        c, e = self.plan.content, self.entry
        rows = self.plan.choices(e["name"])
        sections = [("layers", "Layers", self.choices("op", [r for r in rows if r.content["what"] != "weight"])),
                    ("collectives", "Collectives of a step", self.collectives()), ("memory", "Memory of a rank", self.memory()),
                    ("time", "Time by kind of op", self.time()), ("weights", "Weights", self.choices("weight", [r for r in rows if r.content["what"] == "weight"]))]
        if self.run:
            sections.insert(4, ("measured", "Predicted and measured", self.comparison()))
        legend = " ".join(self.axes(f"{a['name']}") + f" {a['size']} ranks" for a in c["mesh"])
        others = [x["name"] for x in self.plan.entries if x["name"] != e["name"]]
        title = f"{c['model'] or 'plan'}: {e['name']} on {self.plan.mesh}"
        body = "".join(f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(head)}</h2>{content}</section>' for key, head, content in sections)
        links = "".join(f'<a href="#{key}">{escape(head)}</a>' for key, head, _ in sections)
        return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
                f'<title>{escape(title)}</title><style>{STYLE}</style></head><body><header><h1>{escape(title)}</h1><p>{escape(self.plan.certificate())}</p>'
                f'<p>Axes: {legend}.{escape(" Other entries: " + ", ".join(others) + ".") if others else ""}</p>{self.facts()}'
                f'<nav aria-label="Sections">{links}</nav></header><main><div class="search"><label for="q">Search rows</label>'
                f'<input id="q" type="search" placeholder="layer, op, axis" autocomplete="off"><span id="said" role="status"></span></div>{body}</main>'
                f'<footer class="soft">{escape(c["producer"])}</footer><script>{SCRIPT}</script></body></html>\n')


def page(plan: PlanFile, run: dict[str, Any] | None = None) -> str:
    """The whole page. `run`: what tp-run --json wrote of this plan; raises KeyError or IndexError where it is of another one."""
    if run:
        ops = [op["name"] for op in plan.entry(run["entry"])["ops"]]
        if run["ranks"] != plan.content["ranks"] or [op["name"] for op in run["ops"]] != ops:
            raise IndexError("another plan has run")
    return Page(plan, run).html()
