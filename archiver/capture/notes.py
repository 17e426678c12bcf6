"""What one capture writes down of itself while it goes on: steps, limits, problems, exhibits."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from archiver.spool import utc_text

if TYPE_CHECKING:
    from archiver.capture.exhibits import ExhibitFacts


@dataclass
class Notes:
    """Kept by the session and by everything that works for it.

    Attributes:
        problems: Each ``part: what is missing of it and why``.
        limits_reached: Names of the budgets that cut something off, each once.
        actions: Steps in order, in the record's shape.
        exhibits: What was taken.
    """

    problems: list[str] = field(default_factory=list)
    limits_reached: list[str] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    exhibits: list[ExhibitFacts] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _started_at: str = field(default_factory=lambda: utc_text(datetime.now(UTC)))

    def step(self, kind: str, detail: str | None = None) -> None:
        """End one step of what was done; the next begins now."""
        now = time.monotonic()
        duration_ms = round((now - self._started) * 1000)
        self.actions.append(
            {"kind": kind, "started_at": self._started_at, "duration_ms": duration_ms, "detail": detail}
        )
        self._started, self._started_at = now, utc_text(datetime.now(UTC))

    def over(self, limit: str, problem: str) -> None:
        """Take note that *limit* was reached, and what is missing for it."""
        if limit not in self.limits_reached:
            self.limits_reached.append(limit)
        self.problems.append(problem)


def clean(error: BaseException) -> str:
    """The first line of Playwright's message, without the name of its function and its call log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[A-Za-z]+\.[a-zA-Z_]+: ", "", lines[0])[:300] if lines else type(error).__name__
