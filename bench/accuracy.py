#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Largest error against PyTorch (sdpa, f32), over all positions.

    .venv/bin/python bench/accuracy.py [--tp 1,2,3,4,6]
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers

import models

sys.path.insert(0, str(models.ROOT / "test/Python"))

import hf_cases  # noqa: E402


def minilm_inputs(batch, seq, vocabulary):
    rng = np.random.default_rng(batch * 1000 + seq)
    mask = np.ones((batch, seq), np.int64)
    for row in range(batch):
        mask[row, max(1, seq - 2 * row):] = 0
    return {"input_ids": rng.integers(0, vocabulary, (batch, seq)), "attention_mask": mask}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tp", default="1,2,3,4,6")
    degrees = [int(tp) for tp in parser.parse_args().tp.split(",")]
    transformers.logging.set_verbosity_error()
    print(f"{'model':34}" + "".join(f"{f'tp {tp}':>11}" for tp in degrees))
    with tempfile.TemporaryDirectory(prefix="tenon-") as name:
        folder = pathlib.Path(name)
        source = models.source("minilm", folder)
        model = transformers.AutoModel.from_pretrained(str(source), dtype=torch.float32, attn_implementation="sdpa").eval()
        for batch, seq in ((1, 1), (1, 13), (2, 32), (3, 7), (4, 65), (2, 128)):
            given = minilm_inputs(batch, seq, model.config.vocab_size)
            expected = hf_cases.reference(model, given, "last_hidden_state")
            out = models.export("minilm", folder, batch, seq)
            errors = [np.abs(models.tenon.run(models.tenon.compile(out, tp=tp), given, local_ranks=True)["last_hidden_state"] - expected).max()
                      for tp in degrees]
            print(f"{f'minilm, batch {batch}, {seq} tokens':34}" + "".join(f"{error:>11.2e}" for error in errors) + "  absolute", flush=True)
        for key, case in hf_cases.cases().items():
            model = hf_cases.save(case, folder / key)
            given = hf_cases.inputs(case, 2, 11, case.output == "last_hidden_state")
            expected = hf_cases.reference(model, given, case.output)
            out = folder / f"{key}-out"
            models.tenon.export_hf(folder / key, out, batch=2, seq=[11])
            errors = [np.abs(models.tenon.run(models.tenon.compile(out, tp=tp), given, local_ranks=True)[case.output] - expected).max()
                      / np.abs(expected).max() for tp in degrees]
            print(f"{f'{key}, batch 2, 11 tokens':34}" + "".join(f"{error:>11.2e}" for error in errors) + "  of the largest", flush=True)


if __name__ == "__main__":
    main()
