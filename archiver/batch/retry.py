"""When a capture settles its seed, and when the seed is tried again. Rules only, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from archiver.batch.settings import Batch
from archiver.summary import CaptureSummary

TRANSIENT = frozenset({"rate-limited", "overloaded", "unreachable", "failed", "unclear"})
"""Outcomes that say more of the moment than of the page."""
GONE = frozenset({"not-found", "removed", "parked", "unreachable"})
"""Outcomes of a page that a web archive may still have."""
MAX_DOUBLINGS = 30
SERVER_ERROR = 500

Random = Callable[[], float]
"""Gives a number from 0 up to 1."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one capture ended.

    Args:
        outcome: One of the outcomes.
        interrupted: The capture was broken off.
        refused: Our own guard refused the address, which no wait will change.
        status: Of the main response, or 0.
    """

    outcome: str
    interrupted: bool = False
    refused: bool = False
    status: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a seed after a capture.

    Args:
        step: ``settled``; ``again`` in this run; ``later`` in a later run; ``failed`` for good.
        wait_ms: Until it may be tried again; 0 unless ``again`` or ``later``.
    """

    step: Literal["settled", "again", "later", "failed"]
    wait_ms: int = 0


def ending_of(summary: CaptureSummary) -> Ending:
    """Take from a capture's summary what the rules look at."""
    interrupted = summary.completeness == "interrupted"
    return Ending(summary.outcome, interrupted, summary.refused, summary.http_status)


def is_settled(ending: Ending) -> bool:
    """Tell whether the capture says what became of the page, so that no other one is needed."""
    if ending.refused:
        return True
    if ending.outcome == "unclear":
        # A page that we have no word for will be the same tomorrow; one that never came, or a server's own
        # error, may not.
        return not ending.interrupted and 0 < ending.status < SERVER_ERROR
    return not ending.interrupted and ending.outcome not in TRANSIENT


def next_step(ending: Ending, rules: Batch, *, in_run: int, in_all: int, random: Random) -> Next:
    """Decide what becomes of a seed.

    Args:
        ending: Of the capture just made.
        rules: Of the run.
        in_run: Captures of the seed in this run, this one included.
        in_all: Captures of the seed in all runs that did not settle it, this one included.
        random: Source of the jitter.
    """
    if is_settled(ending):
        return Next("settled")
    if in_all >= rules.attempts:
        return Next("failed")
    wait_ms = backoff_ms(in_all, rules, random)
    return Next("again" if in_run < rules.attempts_per_run else "later", wait_ms)


def backoff_ms(failures: int, rules: Batch, random: Random) -> int:
    """Return the wait after *failures* in a row (at least 1): doubling, capped, between half and all of it.

    The jitter keeps seeds that failed together from coming back together.
    """
    whole = min(rules.retry_ms << min(failures - 1, MAX_DOUBLINGS), rules.retry_max_ms)
    return round(whole * (0.5 + random() / 2))
