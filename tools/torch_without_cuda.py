#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lets torch's wheel be imported on a machine without its CUDA packages (2.5 GB that a CPU never uses).

The wheel's libraries name CUDA's libraries as needed, so the loader refuses them when those are absent. This
writes a small library of each missing name beside them, with every symbol (and symbol version) that torch asks
for. Each function answers with error 35, which CUDA defines as "driver insufficient": torch then reports that
no device is available, exactly as on a machine without a GPU. Run it with the interpreter that has torch; needs
gcc and binutils.
"""

import collections
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

# Functions that return text; a number in its place would be followed as a pointer.
TEXT = re.compile(r"Get(Error|Status)(String|Name)$|^ncclGetLastError$")
# The driver's functions of that name return a status and write the text's address.
TEXT_BY_POINTER = re.compile(r"^cuGetError(String|Name)$")
MESSAGE = '"this installation of torch has no CUDA libraries"'


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def definition(symbol):
    if TEXT_BY_POINTER.search(symbol):
        return f"int {symbol}(int error, const char **text) {{ *text = {MESSAGE}; return 0; }}\n"
    if TEXT.search(symbol):
        return f"const char *{symbol}(void) {{ return {MESSAGE}; }}\n"
    return f"long {symbol}(void) {{ return 35; }}\n"


def demands(libraries):
    """What torch's own libraries ask of CUDA's: names, versions of each, symbols of each version."""
    needed, versions, symbols = set(), collections.defaultdict(set), collections.defaultdict(set)
    for library in libraries:
        header = output("objdump", "-p", str(library))
        needed |= set(re.findall(r"NEEDED\s+(lib(?:cu|nv|nccl)\S*)", header))
        for match in re.finditer(r"required from (\S+):\n((?:\s+0x.*\n)+)", header):
            versions[match[1]] |= {line.split()[-1] for line in match[2].splitlines()}
        for match in re.finditer(r" [Uw] (\w+)(?:@+(\S+))?$", output("nm", "-D", "--undefined-only", str(library)), re.M):
            symbols[match[2]].add(match[1])
    return needed, versions, symbols


def write_library(path, versions, symbols):
    """Compiles one library; `versions` maps a symbol version to its symbols, `symbols` have none."""
    source = "".join(definition(symbol) for symbol in sorted(symbols.union(*versions.values())))
    script = "".join(f"{version} {{ global: {' '.join(symbol + ';' for symbol in sorted(names))} }};\n"
                     for version, names in sorted(versions.items()))
    with tempfile.TemporaryDirectory() as folder:
        code, map_file = pathlib.Path(folder, "stub.c"), pathlib.Path(folder, "versions.map")
        code.write_text(source)
        map_file.write_text(script)
        options = [f"-Wl,--version-script={map_file}"] if script else []
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", str(code), f"-Wl,-soname,{path.name}",
                        *options, "-o", str(path)], check=True)


def main():
    spec = importlib.util.find_spec("torch")
    if spec is None:
        print("torch_without_cuda: torch is not installed for this interpreter", file=sys.stderr)
        return 2
    folder = pathlib.Path(spec.submodule_search_locations[0], "lib")
    own = sorted(path for pattern in ("libtorch*.so", "libc10*.so", "libcaffe2*.so") for path in folder.glob(pattern))
    needed, versions, symbols = demands(own)
    unversioned = {symbol for symbol in symbols[None] if re.match(r"(cu|nccl|nv)", symbol)}
    for name in sorted(needed):
        # A symbol without a version may come from any library: one holds them all.
        rest = unversioned if name.startswith("libcudart.so") else set()
        write_library(folder / name, {version: symbols[version] for version in versions[name]}, rest)
    print(f"torch_without_cuda: {len(needed)} libraries in torch/lib")
    return 0


if __name__ == "__main__":
    sys.exit(main())
