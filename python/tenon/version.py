# SPDX-License-Identifier: Apache-2.0
"""The version of this package and of what it was run with."""

from __future__ import annotations

import importlib.metadata
import platform

VERSION = "0.1.0"


def versions() -> dict[str, str]:
    found = {"tenon": VERSION, "python": platform.python_version()}
    for package in ("torch", "transformers", "tokenizers", "safetensors", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
