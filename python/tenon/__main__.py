# SPDX-License-Identifier: Apache-2.0
"""`python -m tenon`: the same as the command `tenon`."""

import sys

from tenon.cli import main

sys.exit(main())
