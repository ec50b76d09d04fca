# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, one class per exit code family.

`ExportError` is a model or request that the exporter refuses; `ToolError` is a tool of ours (tp-opt, tp-run) that failed and
carries its exit code; `UsageError` is a request that makes no sense before anything ran.
"""


class TenonError(Exception):
    """Base of all errors of this package; `code` is the exit code of the command line."""

    code = 3


class UsageError(TenonError):
    """Bad arguments: unknown names, missing files, wrong shapes given by the caller."""

    code = 2


class ExportError(TenonError):
    """The model cannot be expressed in the imported form of the tp dialect."""

    code = 3


class ToolError(TenonError):
    """A subprocess failed. `code` is its exit code and `output` what it wrote to stderr."""

    def __init__(self, message: str, code: int, output: str = "", command: list[str] | None = None):
        super().__init__(message)
        self.code = code
        self.output = output
        self.command = command or []
