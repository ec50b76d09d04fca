# SPDX-License-Identifier: Apache-2.0
# The lit suite: every .mlir and .test file below test/, run with the tools of this build.
# Substitutions: %S, %s, %t as usual; %examples (the examples' folder), %python (.venv's interpreter),
# %exits CODE COMMAND (passes when the command exits so).
import os

import lit.formats
from lit.llvm import llvm_config

config.name = "Tenon"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "Python", "Integration", "unit", "fuzz", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.tenon_build_dir, "test")

config.substitutions.append(("%examples", os.path.join(config.tenon_source_dir, "examples")))
config.substitutions.append(("%python", config.tenon_python))
config.substitutions.append(
    ("%exits", f"{config.tenon_python} {os.path.join(config.test_source_root, 'exits.py')}"))
# One thread per process: the suite runs one test per core.
config.environment["OMP_NUM_THREADS"] = "1"

llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
llvm_config.add_tool_substitutions(
    ["tp-opt", "tp-solve", "tp-run"], [os.path.join(config.tenon_build_dir, "bin")])
llvm_config.add_tool_substitutions(
    ["FileCheck", "not", "count", "split-file"], [config.llvm_tools_dir])
