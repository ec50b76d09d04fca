# SPDX-License-Identifier: Apache-2.0
"""exits.py CODE COMMAND...: passes when the command exits with CODE."""
import subprocess
import sys

code = subprocess.run(sys.argv[2:], timeout=60).returncode
if code != int(sys.argv[1]):
    sys.exit(f"expected exit code {sys.argv[1]}, found {code}")
