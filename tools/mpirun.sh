#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mpirun as the tests, the demo and the benchmarks call it: more ranks than cores are allowed, ranks are not
# bound to single cores (tp-run has threads of its own), and root may start it (containers).
set -euo pipefail
options=(--oversubscribe --bind-to none)
if [[ $(id -u) == 0 ]]; then
  options+=(--allow-run-as-root)
fi
exec mpirun "${options[@]}" "$@"
