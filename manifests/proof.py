"""What the checks of a seal share: the error that carries a finding, and a proven interval of time.

A primitive raises ``ProofError`` at the first thing wrong. The ``verify_*`` functions, which the
verifier's steps call, collect its findings and hold nothing proven that is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from manifests.errors import VerificationError
from manifests.findings import Code, Finding


class ProofError(VerificationError):
    """Evidence does not prove what it should.

    Args:
        code: What kind of failure.
        subject: What was looked at.
        expected: The trusted value, or empty.
        got: What was found, or empty.
    """

    def __init__(self, code: Code, subject: str, expected: str = "", got: str = "") -> None:
        self.finding = Finding(code, subject, expected, got)
        super().__init__(str(self.finding).removesuffix(f" [{code.number}]"), code=code.number)


@dataclass(frozen=True, slots=True)
class Interval:
    """The span of time in which something was proven to exist.

    Args:
        earliest: Aware UTC.
        latest: Aware UTC; what was stamped existed at this moment at the latest.
    """

    earliest: datetime
    latest: datetime


def utc_text(moment: datetime) -> str:
    """*moment*, which is in UTC, as RFC 3339 to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
