#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Decides what torch reaches on the same GPU, and makes the large random weights that tp-run then reads.

Two roles, each a process of its own, started while the runtime is still being built: what can be prepared is prepared at once, what is
timed waits until the gate file exists, so that it has the machine for itself.

    torch_peers.py base     weights; copy bandwidth, GEMM peak, matmul shapes, eager prefill and its logits
    torch_peers.py compile  the same prefill through torch.compile

Results go to --out as JSON after every number, so an unfinished role leaves what it has.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import time
from typing import Any, Callable

import common

SEED = 1
# Every k-th tensor of bf16 has this standard deviation, as tp-run's random weights have.
DEVIATION = 0.02


class Role:
    """What both roles need: torch, the manifest, the result file, the gate."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch

        self.torch = torch
        self.device = "cuda"
        self.bundle: pathlib.Path = arguments.bundle
        self.weights: pathlib.Path = arguments.weights
        self.out: pathlib.Path = arguments.out
        self.gate: pathlib.Path = arguments.gate
        self.end = time.monotonic() + arguments.deadline
        self.speed = common.read_json(self.bundle / "manifest.json")["speed"]
        self.result: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda, "errors": []}
        torch.manual_seed(SEED)

    def keep(self, **values: Any) -> None:
        self.result.update(values)
        common.write_json(self.out, self.result)

    def attempt(self, name: str, function: Callable[[], None]) -> None:
        """A peer that fails is reported as absent; the others go on."""
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever torch raises
            self.result["errors"].append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            self.keep()

    def left(self) -> float:
        return self.end - time.monotonic()

    def wait_for_gate(self) -> None:
        self.keep(ready=True)
        while not self.gate.exists():
            if self.left() < 0:
                sys.exit(0)
            time.sleep(0.1)

    def random(self, *shape: int):
        return self.torch.randn(*shape, device=self.device, dtype=self.torch.bfloat16) * DEVIATION

    # --- timing --------------------------------------------------------------------------------------------------------------------

    def median_us(self, function: Callable[[], Any], rounds: int = 20, warmup: int = 3) -> tuple[float, float]:
        """(median, least) time of a call in microseconds, from events around it."""
        torch = self.torch
        for _ in range(warmup):
            function()
        torch.cuda.synchronize()
        times = []
        for _ in range(rounds):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            function()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e3)
        return statistics.median(times), min(times)

    def graph_us(self, functions: dict[str, Callable[[], Any]], rounds: int = 30) -> dict[str, float]:
        """Median time of each of several calls in a row, replayed as one CUDA graph with events between them: what tp-run measures too."""
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                for function in functions.values():
                    function()
        torch.cuda.synchronize()
        events = {name: [torch.cuda.Event(enable_timing=True, external=True) for _ in range(2)] for name in functions}
        graph, kept = torch.cuda.CUDAGraph(), []
        with torch.cuda.graph(graph):
            for name, function in functions.items():
                events[name][0].record()
                kept.append(function())
                events[name][1].record()
        times: dict[str, list[float]] = {name: [] for name in functions}
        for turn in range(rounds + 3):
            graph.replay()
            torch.cuda.synchronize()
            for name, (begin, end) in events.items():
                if turn >= 3:
                    times[name].append(begin.elapsed_time(end) * 1e3)
        return {name: statistics.median(values) for name, values in times.items()}

    def loop_us(self, function: Callable[[], Any], calls: int = 20) -> float:
        """Time of a call when many of it follow each other without anything between them."""
        torch = self.torch
        for _ in range(3):
            function()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(calls):
                function()
        median, _ = self.median_us(graph.replay, 10, 2)
        return median / calls

    # --- the model -------------------------------------------------------------------------------------------------------------------

    def llama(self):
        """Llama-3-8B's shape with random bf16 weights on the GPU; no checkpoint is read."""
        import transformers

        torch = self.torch
        config = transformers.LlamaConfig(**self.speed["llama_8b_config"])
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
        model = model.to_empty(device=self.device).eval()
        torch.manual_seed(SEED)
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.fill_(1.0) if "norm" in name else value.normal_(0.0, DEVIATION)
        # Buffers hold no numbers on the meta device: the rotary frequencies are computed again.
        model.model.rotary_emb = type(model.model.rotary_emb)(config).to(self.device)
        return model

    def prefill_ids(self):
        import numpy as np

        step = next(step for step in self.speed["steps"] if step["kind"] == "prefill")
        return self.torch.from_numpy(np.load(self.bundle / step["folder"] / step["inputs"]["input_ids"])).to(self.device)


class Base(Role):
    def run(self) -> None:
        from safetensors.torch import save_file

        self.weights.mkdir(parents=True, exist_ok=True)
        self.model = self.llama()
        # Tensors of the GPU go to the file one by one through host memory.
        self.save("llama-8b.safetensors", lambda: save_file({k: v.detach().cpu() for k, v in self.model.state_dict().items()
                                                             if "rotary" not in k}, self.weights / "llama-8b.safetensors.part"))
        self.matmul_weights = {}
        for case in self.speed["matmuls"]:
            tensors = {name: self.random(columns, summed) for name, (columns, summed) in case["shapes"].items()}
            self.save(f"matmul-{case['name']}.safetensors", lambda t=tensors, c=case: save_file(
                {k: v.cpu() for k, v in t.items()}, self.weights / f"matmul-{c['name']}.safetensors.part"))
            del tensors
        self.attempt("kernel inputs", self.kernel_inputs)
        self.keep(ready=True)
        self.attempt("matmul autotuning", self.tune)
        self.wait_for_gate()
        self.attempt("copy", self.copy)
        self.attempt("peak", self.peak)
        self.attempt("matmuls", self.matmuls)
        self.attempt("eager prefill", self.eager)
        self.keep(finished=True)

    def save(self, name: str, write: Callable[[], None]) -> None:
        """A file appears under its name when it is whole."""
        write()
        (self.weights / f"{name}.part").replace(self.weights / name)

    def kernel_inputs(self) -> None:
        import numpy as np
        from safetensors.torch import save_file

        torch, k = self.torch, self.speed["kernels"]
        angles = torch.outer(torch.arange(k["tokens"]), 500000.0 ** (-torch.arange(0, k["head"], 2) / k["head"]))
        ones = torch.ones(k["hidden"], dtype=torch.bfloat16)
        self.save("kernels.safetensors", lambda: save_file(
            {"scale": ones, "bias": ones.clone(), "table": self.random(k["vocabulary"], k["hidden"]).cpu(), "cos": angles.cos().float(),
             "sin": angles.sin().float()}, self.weights / "kernels.safetensors.part"))
        heads = k["hidden"] // k["head"]
        shapes = {"hidden": (k["batch"], k["tokens"], k["hidden"]), "wide": (k["wide_batch"], k["tokens"], k["ffn"]),
                  "split": (k["batch"], k["tokens"], heads, 1, k["head"])}
        for name, shape in shapes.items():
            # bf16 as two bytes without a meaning, which is how tp-run reads it.
            np.save(self.weights / f"kernel-{name}.npy", self.random(*shape).view(torch.int16).cpu().numpy().view(np.dtype("V2")))
        rng = np.random.default_rng(SEED)
        np.save(self.weights / "kernel-ids.npy", rng.integers(0, k["vocabulary"], (k["batch"], k["tokens"])))
        np.save(self.weights / "kernel-places.npy", np.arange(k["tokens"], dtype=np.int64)[None])

    def tune(self) -> None:
        """torch.compile's own matmul kernels, for as many shapes as it manages before the gate opens; the largest first."""
        torch = self.torch
        self.tuned: dict[tuple[int, int, int], Callable[..., Any]] = {}
        shapes = {(case["tokens"], *shape) for case in self.speed["matmuls"] for shape in case["shapes"].values()}
        for tokens, columns, summed in sorted(shapes, key=lambda s: -s[0] * s[1] * s[2]):
            if self.gate.exists() or self.left() < 60:
                break
            torch._dynamo.reset()
            function = torch.compile(torch.nn.functional.linear, mode="max-autotune-no-cudagraphs", dynamic=False)
            function(self.random(tokens, summed), self.random(columns, summed))
            torch.cuda.synchronize()
            self.tuned[tokens, columns, summed] = function
        self.keep(tuned_shapes=len(self.tuned), all_shapes=len(shapes))

    def copy(self) -> None:
        torch = self.torch
        best = {}
        for mib in (256, 1024, 4096):
            source = torch.empty(mib * 2**20, dtype=torch.uint8, device=self.device).random_(0, 255)
            target = torch.empty_like(source)
            _, least = self.median_us(lambda: target.copy_(source), 20)
            best[mib] = 2 * source.numel() / least * 1e-6
        self.keep(copy_tb_per_s=max(best.values()), copy_by_mib=best)

    def peak(self) -> None:
        torch = self.torch
        best = {}
        for size in (4096, 8192, 16384):
            a, b = self.random(size, size), self.random(size, size)
            median, _ = self.median_us(lambda: torch.nn.functional.linear(a, b), 10)
            best[size] = 2 * size**3 / median * 1e-6
        self.keep(gemm_peak_tflops=max(best.values()), gemm_by_size=best)

    def matmuls(self) -> None:
        torch = self.torch
        linear = torch.nn.functional.linear
        results: dict[str, dict[str, dict[str, float]]] = {}
        for case in self.speed["matmuls"]:
            tokens = case["tokens"]
            given = {name: (self.random(tokens, summed), self.random(columns, summed)) for name, (columns, summed) in case["shapes"].items()}
            found: dict[str, dict[str, float]] = {name: {} for name in given}
            for library in ("cublas", "cublaslt"):
                torch.backends.cuda.preferred_blas_library(library)
                try:
                    times = self.graph_us({name: (lambda p=pair: linear(*p)) for name, pair in given.items()})
                except Exception as error:  # noqa: BLE001 - events inside graphs need a recent torch
                    self.result["errors"].append(f"matmuls {case['name']} as a graph: {str(error)[:200]}")
                    times = {name: self.loop_us(lambda p=pair: linear(*p)) for name, pair in given.items()}
                for name, value in times.items():
                    found[name][library] = value
            tuned = {name: getattr(self, "tuned", {}).get((tokens, *shape)) for name, shape in case["shapes"].items()}
            if any(tuned.values()):
                # In the same row of four, so that caches are as cold as for the others.
                times = self.graph_us({name: (lambda f=tuned[name] or linear, p=pair: f(*p)) for name, pair in given.items()})
                for name, function in tuned.items():
                    if function:
                        found[name]["compiled"] = times[name]
            for name, pair in given.items():
                found[name]["loop"] = self.loop_us(lambda p=pair: linear(*p))
            results[case["name"]] = found
            self.keep(matmul_us=results)

    def eager(self) -> None:
        import numpy as np

        torch, ids = self.torch, self.prefill_ids()
        with torch.inference_mode():
            step = lambda: self.model(ids, use_cache=False, logits_to_keep=1).logits
            logits = step()
            np.save(self.weights / "prefill-logits.npy", logits.float().cpu().numpy())
            median, least = self.median_us(step, 10)
        self.keep(eager_prefill_ms=median * 1e-3, eager_prefill_least_ms=least * 1e-3)


class Compile(Role):
    def run(self) -> None:
        torch, ids = self.torch, self.prefill_ids()
        model = self.llama()
        begin = time.monotonic()
        compiled = torch.compile(model, dynamic=False)
        with torch.inference_mode():
            step = lambda: compiled(ids, use_cache=False, logits_to_keep=1).logits
            step()
            torch.cuda.synchronize()
            self.keep(compile_seconds=time.monotonic() - begin)
            self.wait_for_gate()
            median, least = self.median_us(step, 10)
        self.keep(compiled_prefill_ms=median * 1e-3, compiled_prefill_least_ms=least * 1e-3, finished=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["base", "compile"])
    for name in ("bundle", "weights", "out", "gate"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--deadline", type=float, default=480)
    arguments = parser.parse_args()
    role = {"base": Base, "compile": Compile}[arguments.role](arguments)
    try:
        role.run()
    except Exception as error:  # noqa: BLE001 - the reason belongs into the report
        role.keep(failed=f"{type(error).__name__}: {str(error)[:400]}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
