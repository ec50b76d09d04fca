#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-format and clang-tidy over every tracked C++ file. --fix applies what they propose; --format-only
# leaves clang-tidy out (it takes minutes, and needs the build that tools/setup.sh makes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fix=0 tidy=1 files=()
for argument in "$@"; do
  case $argument in
    --fix) fix=1 ;;
    --format-only) tidy=0 ;;
    --help | -h) echo "usage: tools/lint.sh [--fix] [--format-only] [FILE...]"; exit 0 ;;
    -*) echo "lint: unknown option '$argument'" >&2; exit 2 ;;
    *) files+=("$argument") ;;
  esac
done
if ((!${#files[@]})); then
  mapfile -t files < <(git ls-files '*.cpp' '*.h')
fi
jobs=$(nproc)
status=0

format=(clang-format-22 --dry-run -Werror)
((fix)) && format=(clang-format-22 -i)
printf '%s\0' "${files[@]}" | xargs -0 -P "$jobs" -n 8 "${format[@]}" || status=1
echo "lint: clang-format over ${#files[@]} files: $([[ $status == 0 ]] && echo clean || echo 'not clean')"

if ((tidy)); then
  [[ -f build/compile_commands.json ]] || { echo "lint: no build/compile_commands.json; run tools/setup.sh" >&2; exit 2; }
  # Headers are checked through the sources that include them; sources of other builds have no command.
  mapfile -t sources < <(/usr/bin/python3 - "${files[@]}" <<'PY'
import json, os, sys
known = {os.path.realpath(os.path.join(c["directory"], c["file"])) for c in json.load(open("build/compile_commands.json"))}
for f in sys.argv[1:]:
    if os.path.realpath(f) in known:
        print(f)
PY
  )
  # g++'s own warning options are unknown to clang, and omp.h comes with g++.
  tidy_command=(clang-tidy-22 -p build --quiet --extra-arg=-Wno-unknown-warning-option
    --extra-arg=-Wno-ignored-optimization-argument "--extra-arg=-idirafter$(g++ -print-file-name=include)")
  ((fix)) && tidy_command+=(--fix) && jobs=1
  tidy_status=0
  # No sources print one empty name.
  ((${#sources[@]})) && feed=(printf '%s\0' "${sources[@]}") || feed=(true)
  "${feed[@]}" | xargs -0 -r -P "$jobs" -n 1 "${tidy_command[@]}" 2> >(grep -v 'warnings\? generated' >&2) ||
    tidy_status=1
  echo "lint: clang-tidy over ${#sources[@]} files: $([[ $tidy_status == 0 ]] && echo clean || echo 'not clean')"
  ((tidy_status)) && status=1
fi
exit $status
