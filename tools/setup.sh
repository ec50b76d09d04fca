#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a clean clone ready: Debian packages, Python packages in .venv, CMake and build. Run it as often
# as you like: each step looks first whether there is anything to do. Exit codes: 0 ready, 2 wrong usage
# or something that only you can do (it is printed), anything else the failed step's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

debian_packages=(
  # tools
  build-essential binutils cmake ninja-build ccache pkg-config git python3 python3-psutil python3-venv
  # compiler: MLIR 22, lit and FileCheck; clang for fuzzing and for the linters
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools
  clang-22 lld-22 libclang-rt-22-dev clang-format-22 clang-tidy-22
  # runtime; mpirun looks for ssh even on one machine
  libopenmpi-dev openmpi-bin openssh-client libdnnl-dev libflatbuffers-dev flatbuffers-compiler
  nlohmann-json3-dev libcli11-dev
  # tests and benchmarks; cbc is an independent solver to compare with
  libgtest-dev libgmock-dev libbenchmark-dev coinor-cbc
)

usage() {
  cat <<'TEXT'
usage: tools/setup.sh [--no-build] [--with-cuda-torch] [--help]
  --no-build         install packages only, do not configure or build
  --with-cuda-torch  install torch with its CUDA packages (2.5 GB more; Tenon itself does not need them)
TEXT
}

build=1 cuda=0
for argument in "$@"; do
  case $argument in
    --no-build) build=0 ;;
    --with-cuda-torch) cuda=1 ;;
    --help | -h) usage; exit 0 ;;
    *) echo "setup: unknown option '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done

# step NAME: ends the step before it is named on one line with its time. Output of the commands goes to a
# log that is shown only when one of them fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
now() { date +%s%N; }
begin() { step_name=$1 step_start=$(now); }
end() {
  local ms=$((($(now) - step_start) / 1000000))
  printf 'setup: %-16s %-44s %6d.%d s\n' "$step_name" "$1" $((ms / 1000)) $((ms % 1000 / 100))
}
quietly() {
  local status=0
  "$@" >"$log" 2>&1 || status=$?
  if ((status)); then
    tail -n 60 "$log" >&2
    echo "setup: $step_name failed (exit $status): $*" >&2
    exit "$status"
  fi
}

# --- Debian packages ---------------------------------------------------------------------------------
begin "Debian packages"
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${debian_packages[@]}" 2>/dev/null || true)
missing=()
for package in "${debian_packages[@]}"; do
  grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]})); then
  as_root=()
  if ((EUID != 0)); then
    if ! sudo -n true 2>/dev/null; then
      echo "setup: these Debian packages are missing; run this and start again:" >&2
      echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 2
    fi
    as_root=(sudo -n)
  fi
  quietly "${as_root[@]}" apt-get update
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"
  end "${#missing[@]} installed"
else
  end "${#debian_packages[@]} present"
fi

# --- Python packages ---------------------------------------------------------------------------------
begin "Python packages"
venv=$root/.venv
stamp=$venv/tenon-setup
wanted=$({ cat python/requirements.txt python/requirements-nodeps.txt python/pyproject.toml \
  tools/torch_without_cuda.py; echo "cuda=$cuda root=$root"; } | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $venv/bin/python ]]; then
  end "unchanged"
else
  rm -f "$stamp"
  # Made anew when its interpreter has gone, when it was moved, and when torch changes its kind: the empty
  # libraries would otherwise be found before CUDA's own.
  kind=$venv/tenon-torch
  if [[ ! -f $kind || $(<"$kind") != "cuda=$cuda" ||
        $("$venv/bin/python" -c 'import sys; print(sys.prefix)' 2>/dev/null) != "$venv" ]]; then
    quietly /usr/bin/python3 -m venv --clear "$venv"
    echo "cuda=$cuda" >"$kind"
  fi
  pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet)
  quietly "${pip[@]}" install -r python/requirements.txt
  if ((cuda)); then
    quietly "${pip[@]}" install "$(grep '^torch==' python/requirements-nodeps.txt)"
    quietly "${pip[@]}" install --no-deps -r python/requirements-nodeps.txt
  else
    quietly "${pip[@]}" install --no-deps -r python/requirements-nodeps.txt
    quietly "$venv/bin/python" tools/torch_without_cuda.py
  fi
  quietly "${pip[@]}" install --no-deps --no-build-isolation -e python
  quietly "$venv/bin/python" -c 'import torch, transformers, safetensors, tenon'
  echo "$wanted" >"$stamp"
  end "installed"
fi

((build)) || exit 0

# --- configure and build -----------------------------------------------------------------------------
# Clones of the same sources share compiler results whatever their folder is called.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
begin "configure"
stamp=build/tenon-presets
wanted=$(sha256sum CMakePresets.json)
if [[ -f $stamp && $(<"$stamp") == "$wanted" && -f build/build.ninja ]]; then
  end "unchanged"
else
  rm -f "$stamp"
  quietly cmake --preset release
  echo "$wanted" >"$stamp"
  end "build/ (preset release)"
fi

begin "build"
quietly cmake --build build
if grep -q 'no work to do' "$log"; then end "up to date"; else end "bin: build/bin"; fi
