"""The errors of evidence: each says whose fault it is and carries the code that documents it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifests.findings import Code


class ManifestError(Exception):
    """Base of what this package raises on purpose.

    Args:
        message: What failed, expected against got; lower-case start, no final stop.
        code: ``E`` and three digits, unique to the kind of failure.
        hint: One action the reader can take, or an empty string.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class VerificationError(ManifestError):
    """A check of evidence failed: the bytes are there and are not what they should be."""


class MalformedJson(VerificationError):
    """Bytes that strict JSON does not allow.

    Args:
        kind: The finding that a verifier reports for it.
        message: What failed.
        hint: One action the reader can take.
    """

    def __init__(self, kind: Code, message: str, *, hint: str = "") -> None:
        super().__init__(message, code=kind.number, hint=hint)
        self.kind = kind


class MalformedRecord(MalformedJson):
    """Bytes that are not an evidence record of a format this program knows."""
