# SPDX-License-Identifier: Apache-2.0
"""Makes the package of this checkout importable and gives the tests small models on disk."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))


@pytest.fixture(scope="session", autouse=True)
def quiet():
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(2)
    torch.manual_seed(0)
