#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Decides what the bundle for a machine with a GPU holds, and makes it: packages, plans, inputs, reference outputs, manifest.

Runs where Tenon is built (build/bin, .venv). No weights travel: those of the small models come from tp-run's --random-weights, which is
a function of seed, key and element index, and those of the large ones are made on the GPU machine.

    .venv/bin/python tools/gpu_check/prepare.py [--bundle gpu-bundle] [--no-packages]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from typing import Any

import numpy as np

import common

sys.path.insert(0, str(common.ROOT / "python"))

LIMIT_MIB = 48
SEED = 1
MACHINE = "h100-sxm"
# What a bare machine lacks to build and run tp-run: generator and headers of the plan format, JSON, command lines, Open MPI with the
# libraries that its one-machine components need. The last two are unpacked only where the machine has no such library.
PACKAGES = ["flatbuffers-compiler", "flatbuffers-compiler-dev", "libflatbuffers-dev", "libflatbuffers2", "nlohmann-json3-dev", "libcli11-dev",
            "openmpi-bin", "openmpi-common", "libopenmpi3", "libopenmpi-dev", "libpmix2", "libhwloc15", "libevent-core-2.1-7",
            "libevent-pthreads-2.1-7", "libudev1", "zlib1g"]
OPTIONAL_PACKAGES = {"libudev1": "libudev.so.1", "zlib1g": "libz.so.1"}

TOKENS = {"bos_token_id": 1, "eos_token_id": 2}


def llama(hidden: int, ffn: int, layers: int, heads: int, kv: int, vocabulary: int, positions: int = 4096) -> dict[str, Any]:
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": vocabulary,
            "max_position_embeddings": positions, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": False, **TOKENS}


# Small models for equality: config, batch, length, logits, degrees; layers, matmuls in a row per layer and the widest sum say how far
# rounding may go.
EQUALITY: dict[str, dict[str, Any]] = {
    "minilm": {"config": {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6,
                          "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512,
                          "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"},
               "batch": 2, "seq": 64, "logits": "all", "tp": [1, 2, 4], "types": ["f32", "bf16"], "layers": 6, "widest": 1536},
    "gpt2": {"config": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 12},
             "batch": 1, "seq": 64, "logits": "last", "tp": [1, 2], "types": ["f32", "bf16"], "layers": 12, "widest": 3072},
    "llama": {"config": llama(512, 1408, 4, 8, 4, 4096), "batch": 2, "seq": 96, "logits": "all", "tp": [1, 2, 4],
              "types": ["f32", "bf16"], "layers": 4, "widest": 1408},
    # Six heads, two KV heads, widths and a vocabulary that four ranks do not divide.
    "llama-uneven": {"config": llama(384, 1002, 2, 6, 2, 1001), "batch": 1, "seq": 33, "logits": "all", "tp": [1, 4],
                     "types": ["f32"], "layers": 2, "widest": 1002},
}

LLAMA_8B = {"hidden": 4096, "ffn": 14336, "layers": 32, "heads": 32, "kv": 8, "head": 128, "vocabulary": 128256}
LLAMA_70B = {"hidden": 8192, "ffn": 28672, "layers": 80, "heads": 64, "kv": 8, "head": 128, "vocabulary": 128256}
PREFILL = 2048
MATMUL_TOKENS = 2048
MATMUL_DEGREES = [1, 2, 4, 8]


# --- tolerances ----------------------------------------------------------------------------------------------------------------------

TOLERANCE_RULES = {
    "f32": "Sums of K terms in another order differ by about sqrt(K) u, u = 2^-24, and L matmuls in a row add such errors like a random "
           "walk: root mean square at most sqrt(6 layers K) u of the reference's, single elements at most 8 times that (and 2^-20 of the "
           "largest). TF32, with u = 2^-11, is a hundred times outside.",
    "bf16": "Both sides round about R = 8 layers + 2 tensors in a row to bf16, u = 2^-9, and agree on sums in f32. A rounding's root mean "
            "square is u / sqrt(3); two runs that round independently differ by at most sqrt(2 R / 3) u < sqrt(R) u: that is the limit of "
            "the root mean square, 8 times that the limit of single elements, and u of the largest element for its own rounding.",
    "ranks": "On p > 1 ranks two sums per layer are made of p parts: that adds 2 p layers to L = 6 layers and to R.",
    "bf16 against f32": "Where this processor cannot compute in bf16, the reference is the f32 plan's result: its weights are not rounded, "
                        "which counts as one more rounding for each of four matmuls per layer: R = 12 layers + 2.",
}


def limits(case: dict[str, Any], dtype: str, reference: str, expected: np.ndarray, tp: int) -> dict[str, float]:
    """By TOLERANCE_RULES, relative to the reference's root mean square."""
    parts = 2 * tp if tp > 1 else 0
    if dtype == "f32":
        rms, own = ((6 + parts) * case["layers"] * case["widest"]) ** 0.5 * 2.0**-24, 2.0**-20
    else:
        roundings = ((8 if reference == "bf16" else 12) + parts) * case["layers"] + 2
        rms, own = roundings**0.5 * 2.0**-9, 2.0**-9
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    return {"rms": rms, "largest": 8 * rms + own * float(np.abs(expected).max()) / scale}


# --- graphs ---------------------------------------------------------------------------------------------------------------------------

def module(name: str, weights: dict[str, str], inputs: dict[str, tuple[str, str]], body: list[str], outputs: dict[str, tuple[str, str]]) -> str:
    """A graph as text. weights: name -> type; inputs: name -> (type, further attributes); outputs: name -> (value, type)."""
    globals_ = [f'  ml_program.global private @{key}(#ml_program.extern : {kind}) : {kind} {{tp.key = "{key}"}}' for key, kind in weights.items()]
    arguments = [f'%{key}: {kind} {{tp.name = "{key}"{more}}}' for key, (kind, more) in inputs.items()]
    results = [f'{kind} {{tp.name = "{key}"}}' for key, (_, kind) in outputs.items()]
    loads = [f"    %{key} = ml_program.global_load_const @{key} : {kind}" for key, kind in weights.items()]
    values, kinds = zip(*outputs.values())
    return "\n".join([f'module attributes {{tp.model = "{name}"}} {{', *globals_,
                      f"  func.func @forward({', '.join(arguments)}) -> ({', '.join(results)}) {{", *loads,
                      *(f"    {line}" for line in body), f"    return {', '.join(values)} : {', '.join(kinds)}", "  }", "}", ""])


def layer_matmuls(model: dict[str, int], tp: int) -> dict[str, tuple[int, int]]:
    """(columns, summed) of one layer's matmuls on one of tp ranks, merged as tp-opt merges them."""
    h, f, q, kv = model["hidden"], model["ffn"], model["heads"] * model["head"], model["kv"] * model["head"]
    return {"qkv": ((q + 2 * kv) // tp, h), "o": (h, q // tp), "gate_up": (2 * f // tp, h), "down": (h, f // tp)}


def matmul_graph(shapes: dict[str, tuple[int, int]], tokens: int) -> str:
    """Independent matmuls, each with an input of its own so that none are merged."""
    weights, inputs, body, outputs = {}, {}, [], {}
    for name, (columns, summed) in shapes.items():
        x, w, y = f"tensor<{tokens}x{summed}xbf16>", f"tensor<{columns}x{summed}xbf16>", f"tensor<{tokens}x{columns}xbf16>"
        weights[name], inputs[f"x_{name}"], outputs[f"y_{name}"] = w, (x, ""), (f"%r_{name}", y)
        body.append(f'%r_{name} = tp.matmul "tk,nk->tn" %x_{name}, %{name} : ({x}, {w}) -> {y} loc("{name}")')
    return module("matmuls", weights, inputs, body, outputs)


KERNEL_TOKENS, KERNEL_BATCH, KERNEL_WIDE_BATCH = 2048, 8, 2


def kernel_graph() -> tuple[str, dict[str, dict[str, Any]]]:
    """Norm, activation, rope and embedding on tensors that no cache holds; and what each of them reads and writes."""
    b, s, h, f, v, d = KERNEL_BATCH, KERNEL_TOKENS, LLAMA_8B["hidden"], LLAMA_8B["ffn"], LLAMA_8B["vocabulary"], LLAMA_8B["head"]
    heads = h // d
    hidden, wide, split = f"tensor<{b}x{s}x{h}xbf16>", f"tensor<{KERNEL_WIDE_BATCH}x{s}x{f}xbf16>", f"tensor<{b}x{s}x{heads}x1x{d}xbf16>"
    scale, table, angles, ids = f"tensor<{h}xbf16>", f"tensor<{v}x{h}xbf16>", f"tensor<{s}x{d // 2}xf32>", f"tensor<{b}x{s}xi64>"
    places = f"tensor<1x{s}xi64>"
    text = module(
        "kernels", {"scale": scale, "bias": scale, "table": table, "cos": angles, "sin": angles},
        {"x_rms": (hidden, ""), "x_layer": (hidden, ""), "x_gate": (wide, ""), "x_up": (wide, ""), "x_gelu": (wide, ""), "x_rope": (split, ""),
         "places": (places, f", tp.range = array<i64: 0, {s}>"), "ids": (ids, f", tp.range = array<i64: 0, {v}>")},
        [f'%r_rms = tp.rms_norm %x_rms scale %scale eps = 1.0e-5 : ({hidden}, {scale}) -> {hidden} loc("rms_norm")',
         f'%r_layer = tp.layer_norm %x_layer scale %scale bias %bias eps = 1.0e-5 : ({hidden}, {scale}, {scale}) -> {hidden} loc("layer_norm")',
         f'%silu = tp.unary silu %x_gate : {wide} loc("silu_mul")',
         f'%r_act = tp.binary mul %silu, %x_up : ({wide}, {wide}) -> {wide} loc("silu_mul")',
         f'%r_gelu = tp.unary gelu %x_gelu : {wide} loc("gelu")',
         f'%r_rope = tp.rope %x_rope at %places cos %cos sin %sin interleaved = false : ({split}, {places}, {angles}, {angles}) -> {split} '
         'loc("rope")',
         f'%r_embedding = tp.embedding %ids, %table : ({ids}, {table}) -> {hidden} loc("embedding")'],
        {"rms": ("%r_rms", hidden), "layer": ("%r_layer", hidden), "act": ("%r_act", wide), "gelu_out": ("%r_gelu", wide),
         "rope": ("%r_rope", split), "embedding": ("%r_embedding", hidden)})
    small, large = 2 * b * s * h, 2 * KERNEL_WIDE_BATCH * s * f
    facts = {"rms_norm": {"op": "norm", "bytes": 2 * small + 2 * h}, "layer_norm": {"op": "norm", "bytes": 2 * small + 4 * h},
             "silu_mul": {"op": "elementwise", "bytes": 3 * large}, "gelu": {"op": "elementwise", "bytes": 2 * large},
             "rope": {"op": "rope", "bytes": 2 * small + 4 * s * d}, "embedding": {"op": "gather_rows", "bytes": 2 * small + 8 * b * s}}
    return text, facts


def llama_bounds(model: dict[str, int], batch: int, seq: int, tp: int) -> dict[str, float]:
    """Operations and bytes that one rank cannot avoid in a step with the logits of the last position."""
    h, layers, tokens = model["hidden"], model["layers"], batch * seq
    q, kv = model["heads"] * model["head"], model["kv"] * model["head"]
    per_layer = h * (q + 2 * kv) + q * h + 3 * h * model["ffn"]
    attention = 4 * q * batch * seq * (seq + 1) / 2
    flops = layers * (2 * tokens * per_layer + attention) + 2 * batch * h * model["vocabulary"]
    weights = layers * per_layer + h * model["vocabulary"]  # Of the embedding table only the rows of the tokens are read.
    return {"flops": flops / tp, "bytes": 2 * (weights / tp + layers * 2 * h + h) + 2 * 2 * tokens * h / tp}


# --- making the bundle ----------------------------------------------------------------------------------------------------------------

def say(text: str) -> None:
    print(f"gpu-check: {text}", flush=True)


def checked(command: list[Any], deadline: float = 900) -> str:
    done = common.call(command, deadline, os.environ)
    if done.code != 0:
        sys.stderr.write(done.output[-4000:])
        raise SystemExit(f"gpu-check: {'no end of' if done.code is None else f'exit {done.code} from'}: {' '.join(map(str, command))}")
    return done.output


def compile_plan(graph: pathlib.Path, plan: pathlib.Path, tp: int) -> None:
    plan.parent.mkdir(parents=True, exist_ok=True)
    checked([common.ROOT / "build/bin/tp-opt", graph, f"--tp-compile=mesh=tp:{tp} machine={MACHINE}", "--emit=plan", "-o", plan])


def export(config: dict[str, Any], name: str, folder: pathlib.Path, **options: Any) -> pathlib.Path:
    import tenon

    source = folder / f"{name}-config"
    source.mkdir(parents=True, exist_ok=True)
    (source / "config.json").write_text(json.dumps(config))
    return tenon.export_hf(source, folder / name, **options)


def model_inputs(manifest: dict[str, Any], folder: pathlib.Path, vocabulary: int) -> dict[str, str]:
    """Random tokens; row i of a mask is padded behind its (seq - 5 i)-th token."""
    rng = np.random.default_rng(SEED)
    files = {}
    for port in manifest["entries"][0]["inputs"]:
        name, (batch, seq) = port["name"], port["shape"]
        if name == "attention_mask":
            value = np.ones((batch, seq), np.int64)
            for row in range(batch):
                value[row, max(1, seq - 5 * row):] = 0
        else:
            value = rng.integers(0, vocabulary, (batch, seq))
        files[name] = f"input-{name}.npy"
        np.save(folder / files[name], value)
    return files


def write_norm_weights(manifest: dict[str, Any], file: pathlib.Path) -> None:
    """Ones for the weights of norms, which --random-weights makes ones only where the plan holds them as a norm's operand."""
    from safetensors.numpy import save_file

    norms = re.compile(r"(norm|ln_\w+)\.weight$", re.IGNORECASE)
    keys = {w["key"]: w["shape"] for w in manifest["weights"] if len(w["shape"]) == 1 and norms.search(w["key"])}
    save_file({key: np.ones(shape, np.float32) for key, shape in keys.items()}, file)


def cpu_has_bf16() -> bool:
    try:
        return bool(re.search(r"\bavx512_bf16\b|\bamx_bf16\b", pathlib.Path("/proc/cpuinfo").read_text()))
    except OSError:
        return False


def make_equality(bundle: pathlib.Path, folder: pathlib.Path) -> list[dict[str, Any]]:
    cases = []
    for name, case in EQUALITY.items():
        reference_f32: pathlib.Path | None = None
        for dtype in case["types"]:
            label = f"{name}-{dtype}"
            exported = export(case["config"], label, folder, batch=case["batch"], seq=[case["seq"]], dtype=dtype, logits=case["logits"])
            manifest = common.read_json(exported / "model.json")
            target = bundle / "equality" / label
            target.mkdir(parents=True)
            shutil.copy(exported / "constants.safetensors", target)
            write_norm_weights(manifest, target / "norms.safetensors")
            plans = {}
            for tp in case["tp"]:
                plans[str(tp)] = f"tp{tp}.plan"
                compile_plan(exported / "model.mlir", target / plans[str(tp)], tp)
            inputs = model_inputs(manifest, target, case["config"].get("vocab_size", 50257))
            output = manifest["entries"][0]["outputs"][0]["name"]
            expected = target / "expected.npy"
            native = dtype == "f32" or cpu_has_bf16()
            if native:
                checked([common.ROOT / "build/bin/tp-run", target / plans["1"], "--device=cpu", "-q", f"--random-weights={SEED}",
                         f"--parameters={target}", *(f"--input={key}=@{target / file}" for key, file in inputs.items()),
                         f"--output={output}=@{expected}"])
            else:
                shutil.copy(reference_f32, expected)
            if dtype == "f32":
                reference_f32 = expected
            reference = dtype if native else "f32"
            entry = {"name": label, "model": name, "dtype": dtype, "folder": f"equality/{label}", "plans": plans, "inputs": inputs,
                     "output": output, "expected": "expected.npy", "reference": f"CPU device, {reference}",
                     "limits": {str(tp): limits(case, dtype, reference, common.load_floats(expected), tp) for tp in case["tp"]}}
            if dtype == "bf16" and native and reference_f32:
                # How far bf16 is from f32 on one device: the size of what the limit must allow and must not exceed by much.
                seen = common.difference(expected, reference_f32)
                entry["cpu_bf16_against_f32"] = {"rms": seen.rms, "largest": seen.largest}
            cases.append(entry)
            own = entry["limits"]["1"]
            say(f"{label}: degrees {', '.join(plans)}; limits on one rank: rms {own['rms']:.2e}, largest {own['largest']:.2e}"
                + (f"; bf16 is {entry['cpu_bf16_against_f32']['rms']:.2e} from f32" if "cpu_bf16_against_f32" in entry else ""))
    return cases


def make_speed(bundle: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    target = bundle / "speed"
    target.mkdir(parents=True)
    speed: dict[str, Any] = {"matmuls": [], "steps": []}
    for name, model in (("8b", LLAMA_8B), ("70b", LLAMA_70B)):
        for tp in MATMUL_DEGREES:
            shapes = layer_matmuls(model, tp)
            graph, plan = folder / f"matmul-{name}-tp{tp}.mlir", f"speed/matmul-{name}-tp{tp}.plan"
            graph.write_text(matmul_graph(shapes, MATMUL_TOKENS))
            compile_plan(graph, bundle / plan, 1)
            speed["matmuls"].append({"name": f"{name}-tp{tp}", "plan": plan, "tokens": MATMUL_TOKENS, "shapes": shapes})
    text, facts = kernel_graph()
    (folder / "kernels.mlir").write_text(text)
    compile_plan(folder / "kernels.mlir", target / "kernels.plan", 1)
    speed["kernels"] = {"plan": "speed/kernels.plan", "facts": facts, "batch": KERNEL_BATCH, "wide_batch": KERNEL_WIDE_BATCH, "tokens": KERNEL_TOKENS,
                        "hidden": LLAMA_8B["hidden"], "ffn": LLAMA_8B["ffn"], "head": LLAMA_8B["head"], "vocabulary": LLAMA_8B["vocabulary"]}
    config = llama(4096, 14336, 32, 32, 8, 128256, 8192)
    speed["llama_8b_config"] = config
    for label, batch, seq, degrees in (("prefill", 1, PREFILL, [1]), ("token-b1", 1, 1, [1, 2]), ("token-b16", 16, 1, [1, 2])):
        exported = export(config, label, folder, batch=batch, seq=[seq], dtype="bf16", logits="last")
        own = target / label
        own.mkdir()
        shutil.copy(exported / "constants.safetensors", own)
        files = model_inputs(common.read_json(exported / "model.json"), own, config["vocab_size"])
        for tp in degrees:
            compile_plan(exported / "model.mlir", own / f"tp{tp}.plan", tp)
            speed["steps"].append({"name": f"{label}-tp{tp}", "kind": label.partition("-")[0], "folder": f"speed/{label}", "plan": f"tp{tp}.plan",
                                   "inputs": files, "output": "logits", "batch": batch, "seq": seq, "tp": tp,
                                   **llama_bounds(LLAMA_8B, batch, seq, tp)})
        say(f"Llama-3-8B {label}: degrees {', '.join(map(str, degrees))}")
    return speed


def fetch_packages(bundle: pathlib.Path) -> list[dict[str, Any]]:
    """The Debian packages as files; they are unpacked, never installed."""
    folder = bundle / "packages"
    folder.mkdir()
    folder.chmod(0o755)
    checked(["sh", "-c", 'cd "$1" && shift && apt-get download "$@"', "sh", folder, *PACKAGES])
    packages = []
    for name in PACKAGES:
        files = sorted(folder.glob(f"{name}_*.deb"))
        if len(files) != 1:
            raise SystemExit(f"gpu-check: expected one file of the package {name}, found {len(files)}")
        packages.append({"name": name, "file": f"packages/{files[0].name}", "version": files[0].name.split("_")[1].replace("%3a", ":"),
                         "only_without": OPTIONAL_PACKAGES.get(name)})
    return packages


def fetch_frontend(bundle: pathlib.Path, folder: pathlib.Path) -> str | None:
    """The headers of cuDNN's frontend, of the version that the build here uses; None leaves cuDNN's attention out."""
    wanted = re.search(r"^nvidia-cudnn-frontend==\S+", (common.ROOT / "python/requirements-nodeps.txt").read_text(), re.MULTILINE)
    requirement = wanted.group(0) if wanted else "nvidia-cudnn-frontend"
    done = common.call([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                        "-d", folder / "wheel", requirement], 300, os.environ)
    wheels = sorted((folder / "wheel").glob("*.whl")) if done.code == 0 else []
    if not wheels:
        say(f"no {requirement}: attention will run on Tenon's own kernel ({done.tail(1)})")
        return None
    unpacked = folder / "frontend"
    shutil.unpack_archive(wheels[0], unpacked, "zip")
    with tarfile.open(bundle / "cudnn-frontend.tar.xz", "w:xz") as archive:
        archive.add(unpacked / "include", "include")
    return wheels[0].name


def git(*arguments: str) -> str:
    done = common.call(["git", "-C", common.ROOT, *arguments], 60, os.environ)
    return done.output.strip() if done.code == 0 else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=pathlib.Path, default=common.ROOT / "gpu-bundle")
    parser.add_argument("--no-packages", action="store_true", help="plans and references only; for tests of this script")
    arguments = parser.parse_args()
    for tool in ("tp-opt", "tp-run"):
        if not (common.ROOT / "build/bin" / tool).exists():
            raise SystemExit(f"gpu-check: --prepare needs build/bin/{tool}; run tools/setup.sh")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    bundle = arguments.bundle.resolve()
    if bundle.exists() and any(bundle.iterdir()) and not (bundle / "manifest.json").exists():
        raise SystemExit(f"gpu-check: {bundle} is no bundle; it is left as it is")
    with tempfile.TemporaryDirectory(prefix="tenon-gpu-") as name:
        folder, fresh = pathlib.Path(name), pathlib.Path(name) / "bundle"
        fresh.mkdir()
        packages = [] if arguments.no_packages else fetch_packages(fresh)
        frontend = None if arguments.no_packages else fetch_frontend(fresh, folder)
        equality = make_equality(fresh, folder)
        speed = make_speed(fresh, folder)
        versions = subprocess.run([common.ROOT / "build/bin/tp-run", "--version"], capture_output=True, text=True, check=False).stdout.strip()
        common.write_json(fresh / "manifest.json", {
            "schema": common.SCHEMA, "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": git("rev-parse", "HEAD"), "changed_files": len(git("status", "--porcelain").splitlines()),
            "versions": {"tp-run": versions, "python": platform.python_version(), "cudnn-frontend": frontend},
            "seed": SEED, "machine_model": MACHINE, "tolerances": TOLERANCE_RULES, "packages": packages, "equality": equality, "speed": speed})
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(fresh, bundle)
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 2**20
    say(f"{bundle}: {size:.1f} MiB in {sum(1 for f in bundle.rglob('*') if f.is_file())} files")
    if size > LIMIT_MIB:
        raise SystemExit(f"gpu-check: expected at most {LIMIT_MIB} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
