#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job on real input: all-MiniLM-L6-v2 with its own weights and tokenizer, exported from PyTorch,
# compiled for 2 ranks, run under mpirun, compared with PyTorch. Ends with `demo: OK ...` or with a reason
# and a non-zero exit code. Writes demo-report.json and the files of every step into demo-out/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
exec .venv/bin/python tools/demo.py "$@"
