#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds everything and runs every test: the release build through ctest (lit, gtest, pytest), the runtime
# and the libraries without LLVM under AddressSanitizer and UBSan, and a short run of the fuzzer. All stages
# run even when one fails; the last line has the totals, and the exit code is 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzz_seconds=30
for argument in "$@"; do
  case $argument in
    --long) fuzz_seconds=600; export TENON_LONG=1 ;;
    --help | -h)
      echo "usage: tools/check.sh [--long]"
      echo "  --long  ten minutes of fuzzing, and the tests that scale with TENON_LONG at their large size"
      exit 0 ;;
    *) echo "check: unknown option '$argument'" >&2; exit 2 ;;
  esac
done

bash tools/setup.sh

export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
export UBSAN_OPTIONS=print_stacktrace=1
# Open MPI, hwloc and OpenMP keep memory to the end of the process on purpose.
export LSAN_OPTIONS=suppressions=$PWD/tools/lsan-suppressions.txt:print_suppressions=0
summary=()
failed_stages=0
results=()

# stage NAME COMMAND...: runs the command, notes its outcome and time for the summary.
stage() {
  local name=$1 start=$SECONDS outcome=ok
  shift
  echo "check: $name"
  if ! "$@"; then
    outcome=FAILED
    failed_stages=$((failed_stages + 1))
  fi
  summary+=("$(printf 'check: %-24s %-7s %5d s' "$name" "$outcome" $((SECONDS - start)))")
}

build_and_test() { # PRESET BUILD_DIRECTORY
  rm -rf "$2/test-results"
  mkdir -p "$2/test-results"
  if [[ $1 != release ]]; then
    cmake --preset "$1" >"$2/configure.log" 2>&1 || { cat "$2/configure.log"; return 1; }
    cmake --build "$2" >"$2/build.log" 2>&1 || { tail -n 60 "$2/build.log"; return 1; }
  fi
  results+=("$2/test-results")
  ctest --preset "$1" --progress --output-junit test-results/ctest.xml
}

fuzz() {
  mkdir -p build-fuzz
  { cmake --preset fuzz && cmake --build build-fuzz --target plan-fuzzer plan-corpus; } \
    >build-fuzz/build.log 2>&1 || { tail -n 60 build-fuzz/build.log; return 1; }
  # The seeds: the plans of the runtime's tests, and the examples as the compiler makes them.
  build-fuzz/bin/plan-corpus build-fuzz/corpus || return 1
  local example
  for example in examples/*.mlir; do
    build/bin/tp-opt "$example" --tp-compile="mesh=tp:2" --emit=plan \
      -o "build-fuzz/corpus/$(basename "$example" .mlir).plan" || return 1
  done
  if ! build-fuzz/bin/plan-fuzzer -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=build-fuzz/ build-fuzz/corpus >build-fuzz/fuzz.log 2>&1; then
    tail -n 60 build-fuzz/fuzz.log
    return 1
  fi
  grep -E 'number_of_executed_units|new_units_added' build-fuzz/fuzz.log
}

stage "tests (release)" build_and_test release build
stage "tests (asan, ubsan)" build_and_test asan build-asan
stage "fuzz (${fuzz_seconds} s)" fuzz

printf '%s\n' "${summary[@]}"
printf 'check: %-24s %13d s\n' "all" "$SECONDS"
# A stage that failed before or outside its tests counts as one failure.
/usr/bin/python3 tools/test_totals.py --failed-stages "$failed_stages" "${results[@]}"
