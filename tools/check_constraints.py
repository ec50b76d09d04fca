#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every labelled constraint of the dialects has verifier code and a negative test.

A definition in a .td file lists what its verifier demands as `(C1) ...`, `(C2) ...`. For each label there must be
  - in lib/Dialect/<dialect>: a comment `// MatMulOp C1` (the C++ class) at the code that checks it, or in the .td
    file where a trait or a type constraint does;
  - in test/Dialect/<dialect>: a comment `// MatMulOp C1` or `// tp.matmul C1` (`#tp.view C1` for an attribute,
    `!plan.buffer C1` for a type) at a case that breaks it, in a file whose RUN line has -verify-diagnostics or `not`.
One comment may name several: `// MatMulOp C1, C2`, `// tp.all_gather C1; tp.all_reduce C1`. `(C1), (C3) as
plan.all_reduce` in a description says that the check and the test are those of the other definition.

Prints what is missing, one line each, and the totals; exits 1 if anything is.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TBLGEN = "/usr/lib/llvm-22/bin/llvm-tblgen"
# Definitions, verifiers, negative tests of each dialect.
DIALECTS = {
    "tp": ("include/tenon/Dialect/TP/IR/TPCollectiveOps.td", "lib/Dialect/TP", "test/Dialect/TP"),
    "plan": ("include/tenon/Dialect/Plan/IR/PlanOps.td", "lib/Dialect/Plan", "test/Dialect/Plan"),
}


def records(definitions, dialect):
    """Yields (C++ class, name in the IR, description) of each op, attribute and type of a dialect."""
    out = subprocess.run(
        [TBLGEN, "--dump-json", "-I", "/usr/lib/llvm-22/include", "-I", str(ROOT / "include"),
         "-I", str((ROOT / definitions).parent), str(ROOT / definitions)],
        check=True, capture_output=True, text=True).stdout
    table = json.loads(out)
    for kind, prefix in (("Op", ""), ("AttrDef", "#"), ("TypeDef", "!")):
        for name in table["!instanceof"].get(kind, []):
            record = table[name]
            owner = record.get("opDialect") or record.get("dialect")
            if table[owner["def"]]["name"] != dialect:
                continue
            cpp_class = record.get("cppClassName") or name.split("_", 1)[1]
            yield cpp_class, f"{prefix}{dialect}.{record.get('opName') or record['mnemonic']}", record["description"]


def own_labels(description):
    """The labels that a definition states itself, in order: not those taken over with `as other.op`."""
    stated = re.sub(r"\(C\d+\)(?:, \(C\d+\))* as [#!]?\w+\.\w+", "", description)
    return re.findall(r"\((C\d+)\)", stated)


def mentions(folder, suffixes, name_pattern, negative_only=False):
    """The set of (name, label) named in comments of the files below a folder."""
    found = set()
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix not in suffixes:
            continue
        text = path.read_text()
        if negative_only and not re.search(r"RUN:.*(--?verify-diagnostics|\bnot\b)", text):
            continue
        for comment in re.findall(r"//(.*)", text):
            for name, labels in re.findall(rf"({name_pattern}) ((?:C\d+(?:, |\b))+)", comment):
                found |= {(name, label) for label in re.findall(r"C\d+", labels)}
    return found


def main():
    total = missing = 0
    for dialect, (definitions, code, tests) in DIALECTS.items():
        checked = mentions(code, {".cpp", ".h"}, r"\w+")
        checked |= mentions(pathlib.Path(definitions).parent, {".td"}, r"\w+")
        tested = mentions(tests, {".mlir"}, r"[#!]?[\w.]+", negative_only=True)
        known = set()
        for cpp_class, name, description in records(definitions, dialect):
            for label in re.findall(r"\((C\d+)\)", description or ""):
                known |= {(cpp_class, label), (name, label)}
            for label in own_labels(description or ""):
                total += 1
                lacks = [what for what, has in (("verifier code", (cpp_class, label) in checked),
                                                ("a negative test", {(name, label), (cpp_class, label)} & tested)) if not has]
                if lacks:
                    missing += 1
                    print(f"{name} {label}: without {' and '.join(lacks)}")
        for name, label in sorted((checked | tested) - known):
            if name.startswith(("#", "!", f"{dialect}.")) or name.endswith(("Op", "Attr", "Type")):
                missing += 1
                print(f"{name} {label}: named in a comment, but no definition states it")
    print(f"{total} constraints, {missing} findings")
    return 1 if missing or not total else 0


if __name__ == "__main__":
    sys.exit(main())
