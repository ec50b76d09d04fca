# SPDX-License-Identifier: Apache-2.0
"""Cuts a suite into pieces that run beside each other: TENON_PIECE=I/N keeps every N-th test from the I-th (0 to N-1)."""

import os


def pytest_collection_modifyitems(config, items):
    index, count = map(int, os.environ.get("TENON_PIECE", "0/1").split("/"))
    config.hook.pytest_deselected(items=[item for i, item in enumerate(items) if i % count != index])
    items[:] = items[index::count]
