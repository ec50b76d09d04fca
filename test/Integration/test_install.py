# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` puts down works from there, away from the build."""

import os
import pathlib
import subprocess

import pytest

from ranks import ROOT, run_command


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("installed")
    subprocess.run(["cmake", "--install", os.environ["TENON_BUILD_DIR"], "--prefix", place], check=True, timeout=60, capture_output=True)
    return place


def test_tools_work_from_where_they_are_installed(prefix, tmp_path):
    plan = tmp_path / "mlp.plan"
    outcome = run_command([str(prefix / "bin/tp-opt"), str(ROOT / "examples/mlp.mlir"), "--tp-compile=mesh=tp:2", "--emit=plan", "-o", str(plan)])
    assert outcome.code == 0, outcome
    outcome = run_command([str(prefix / "bin/tp-run"), str(plan), "--local-ranks", "--random-weights=1", "--random-inputs=1", "--threads=1"])
    assert outcome.code == 0 and outcome.out.startswith("y f32 4x128x256:"), outcome


def test_headers_and_documents_are_there(prefix):
    for name in ("include/tenon/runtime/plan/Plan.h", "include/tenon/runtime/Device.h", "share/doc/tenon/Runtime.md"):
        assert (prefix / name).is_file(), name
