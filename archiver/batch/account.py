"""What came of a run, kept in little memory: counts here, the captures themselves in a temporary file."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from archiver.errors import ExitCode
from archiver.incidents.register import Seed
from archiver.summary import CaptureSummary

PACE_OF = 50
"""Captures that the rate is measured over: long enough to be steady, short enough to follow the line."""


class DiskList(list[dict[str, Any]]):
    """JSON objects that are written to a file as they come, and read one by one.

    It is a list to whoever reads it, the JSON encoder among them, and holds none of its items in memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # closed with this object
        self._count = 0

    def append(self, item: dict[str, Any]) -> None:
        """Add one at the end."""
        self._file.seek(0, 2)
        self._file.write(json.dumps(item) + "\n")
        self._count += 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        at = 0
        while True:
            self._file.seek(at)
            line = self._file.readline()
            if not line:
                return
            at = self._file.tell()
            yield json.loads(line)

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0


@dataclass(slots=True)
class Account:
    """What came of a run.

    Args:
        to_be_sealed: There is a signing key, so that a capture that is not sealed is work left to do.
        captures: Made now, as ``CaptureSummary.to_json`` gives them, in the order they were finished.
        skipped: Seeds that were not captured, and why.
        left: Seeds that no capture settles, and why; they are put off, or have failed.
        problems: What went wrong besides, none of it the end of a capture.
        failures: Where this program failed; what was received is kept for the next run.
        outcomes: How many captures had which outcome.
        not_shown: Outcome of the last capture of each seed that was not captured as a page.
        unsealed: Captures that are not sealed.
    """

    to_be_sealed: bool = False
    captures: DiskList = field(default_factory=DiskList)
    skipped: DiskList = field(default_factory=DiskList)
    left: DiskList = field(default_factory=DiskList)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    not_shown: dict[tuple[str, str, str], str] = field(default_factory=dict)
    unsealed: int = 0

    def take(self, summary: CaptureSummary) -> None:
        """Count one capture. A later one of the same seed stands for the earlier ones."""
        self.captures.append(summary.to_json())
        self.outcomes[summary.outcome] += 1
        self.unsealed += summary.state != "sealed"
        seed = (summary.incident_ids[0], summary.url, summary.vantage)
        if summary.outcome == "captured":
            self.not_shown.pop(seed, None)
        else:
            self.not_shown[seed] = summary.outcome

    def skip(self, seed: Seed, why: str) -> None:
        """Count a seed that is not captured."""
        self.skipped.append(_told(seed, why))

    def leave(self, seed: Seed, why: str, *, failed: bool) -> None:
        """Count a seed that no capture settles."""
        self.left.append(_told(seed, why) | {"failed": failed})

    @property
    def exit_code(self) -> ExitCode:
        """Done only when every page was captured as a page, and sealed where there is a key to seal with."""
        if self.failures:
            return ExitCode.FAILED
        if self.not_shown or self.left or (self.to_be_sealed and self.unsealed):
            return ExitCode.PARTIAL
        return ExitCode.DONE

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "captures": len(self.captures),
            "outcomes": dict(sorted(self.outcomes.items())),
            "skipped": len(self.skipped),
            "put_off": sum(not one["failed"] for one in self.left),
            "failed": sum(one["failed"] for one in self.left),
            "unsealed": self.unsealed,
            "problems": len(self.problems),
            "failures": len(self.failures),
            "exit_code": int(self.exit_code),
        }


@dataclass(slots=True)
class Pace:
    """How fast captures are finished, by the times of the last ``PACE_OF``. Rules only."""

    finished: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_OF))

    def took(self, at_s: float) -> None:
        """Take in the time of one finished capture, on a monotonic clock."""
        self.finished.append(at_s)

    def per_minute(self) -> float | None:
        """Return captures a minute, or None while there are too few to say."""
        if len(self.finished) < 3:
            return None
        span_s = self.finished[-1] - self.finished[0]
        return 60 * (len(self.finished) - 1) / span_s if span_s > 0 else None

    def left_s(self, count: int) -> float | None:
        """Return how long *count* more take at this pace, or None."""
        rate = self.per_minute()
        return 60 * count / rate if rate else None


def _told(seed: Seed, why: str) -> dict[str, Any]:
    return {
        "url": seed.url,
        "incident_ids": list(seed.incident_ids),
        "vantage": seed.vantage,
        "line": seed.line,
        "why": why,
    }
