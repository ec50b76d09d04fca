#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks and times Tenon on a machine with an NVIDIA GPU that has a compiler, CMake, nvcc and a python3 with torch, but neither LLVM nor
# a network. Plans and references are made beforehand, with --prepare, where Tenon is built; the bundle travels. Builds the
# runtime alone, prints one line per check and a table, and writes gpu-report.json. Exit codes: 0 nothing failed, 1 a check failed,
# 2 usage or a missing tool, 3 no GPU here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

usage() {
  cat <<'TEXT'
usage: tools/gpu-check.sh [--bundle DIR] [--only NAME,...] [--budget SECONDS] [--build-only] [--no-torch]
                          [--work DIR] [--report FILE] [--jobs N]
       tools/gpu-check.sh --prepare [DIR]
  --prepare [DIR]   make the bundle (default gpu-bundle/): needs build/bin/tp-opt, build/bin/tp-run and .venv
  --bundle DIR      the bundle to check with (default gpu-bundle/)
  --only NAME,...   these checks alone; the beginning of a name means all that begin so: equal,ranks,speed-token
  --budget SECONDS  no check is started after this time; those left are reported as SKIP (default 480)
  --build-only      build the runtime from the bundle and stop
  --no-torch        leave out what torch measures; speed figures that need it are SKIP
  --work DIR        where to unpack and build (default build-gpu/)
  --report FILE     where the report goes (default gpu-report.json)
  --jobs N          compilers at a time (default: all processors)
TEXT
}

prepare=0 bundle=$root/gpu-bundle options=()
value() { # OPTION VALUE...: the value behind an option
  if (($# < 2)) || [[ -z $2 ]]; then
    echo "gpu-check: expected a value behind $1" >&2
    exit 2
  fi
}
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --prepare)
      prepare=1
      if (($# > 1)) && [[ $2 != -* ]]; then bundle=$2; shift; fi ;;
    --bundle) value "$@"; bundle=$2; shift ;;
    --bundle=*) bundle=${1#*=} ;;
    --only | --budget | --work | --report | --jobs) value "$@"; options+=("$1=$2"); shift ;;
    --only=* | --budget=* | --work=* | --report=* | --jobs=*) options+=("$1") ;;
    --build-only | --no-torch) options+=("$1") ;;
    *) echo "gpu-check: unknown option '$1'" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

if ((prepare)); then
  python=$root/.venv/bin/python
  [[ -x $python ]] || { echo "gpu-check: --prepare needs .venv; run tools/setup.sh" >&2; exit 2; }
  exec "$python" "$here/gpu_check/prepare.py" --bundle "$bundle"
fi

# CUDA's programs are often outside PATH.
export PATH=$PATH:/usr/local/cuda/bin:/usr/local/nvidia/bin
missing=()
for tool in python3 cmake g++ nvcc; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]})); then
  echo "gpu-check: not found: ${missing[*]}" >&2
  exit 2
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
exec python3 "$here/gpu_check/main.py" --bundle "$bundle" ${options[@]+"${options[@]}"}
