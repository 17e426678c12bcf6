"""The errors of the tool, split by who is at fault, and the exit codes they lead to.

Text form, everywhere: ``<subject kind> <short id>: <what failed>: expected <x>, got <y> [E305]``
and a hint with one thing to do next. Lower-case start, no final stop.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of every command; one table for all of them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    EVIDENCE_FAILED = 4
    EVIDENCE_INDETERMINATE = 5
    STORE_REFUSED = 6
    INTERRUPTED = 130


class ArchiverError(Exception):
    """Base of what this package raises on purpose.

    Args:
        message: What failed, expected against got; lower-case start.
        code: ``E`` and three digits, unique to the kind of failure.
        hint: One action the reader can take, or an empty string.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class UsageError(ArchiverError):
    """The caller asked for something that cannot be asked for."""

    exit_code = ExitCode.USAGE


class EnvironmentUnfit(ArchiverError):
    """The machine lacks what the job needs: a browser, disk space, permission."""
