"""How long a host is left alone, and when our own line is to blame. Rules only, no I/O, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from archiver.batch.retry import Random, backoff_ms
from archiver.batch.settings import DAY_MS, MINUTE_MS, Batch
from archiver.incidents.rules import url_identity

MAX_RETRY_AFTER_MS = DAY_MS
"""A server may ask for a day and no more: the figure is its own, and so may be hostile."""
MAX_RETRY_AFTER_CHARS = 100
DEAD_HOSTS = 5
"""Hosts in a row, all of them different, none of which was reached: then it is the line and not the hosts."""
LINE_PAUSE_MS = MINUTE_MS
MAX_LINE_PAUSE_MS = 10 * MINUTE_MS

_BUSY = frozenset({429, 502, 503, 504, *range(520, 531)})
_SECONDS = re.compile(r"[0-9]{1,18}")


def host_of(url: str) -> str:
    """Return the host that *url* burdens: as DNS spells it, without port.

    Raises:
        UsageError: E241, no URL.
    """
    netloc = url_identity(url).split("/")[2]
    return netloc if netloc.endswith("]") else re.sub(r":[0-9]+$", "", netloc)


def retry_after_ms(value: str, now: datetime) -> int | None:
    """Read a ``Retry-After`` header: seconds, or an HTTP date; None when it is neither.

    Args:
        value: As sent; anything.
        now: Aware UTC.

    Source: RFC 9110 section 10.2.3.
    """
    text = value.strip()
    if len(text) > MAX_RETRY_AFTER_CHARS:
        return None
    if _SECONDS.fullmatch(text):
        return min(int(text) * 1_000, MAX_RETRY_AFTER_MS)
    try:
        moment = parsedate_to_datetime(text)
        wait_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return round(min(max(wait_s, 0), MAX_RETRY_AFTER_MS / 1_000) * 1_000)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a host answered for a page.

    Args:
        status: Of the main response; None when none came.
        retry_after: The header as sent, or empty.
        reached: Whether the host was reached at all.
    """

    status: int | None
    retry_after: str = ""
    reached: bool = True

    @property
    def busy(self) -> bool:
        """Whether it asks, in whatever words, to be left alone."""
        return not self.reached or self.status in _BUSY


def host_pause_ms(answer: Answer, rules: Batch, troubles: int, now: datetime, random: Random) -> int:
    """Return how long to leave a host alone after a page.

    Args:
        answer: To the page just loaded.
        rules: Of the run.
        troubles: Busy answers in a row, this one included; 0 after a good one.
        now: Aware UTC.
        random: Source of the jitter.
    """
    asked = (retry_after_ms(answer.retry_after, now) or 0) if answer.busy else 0
    own = backoff_ms(troubles, rules, random) if answer.busy else 0
    return max(rules.host_gap_ms, asked, own)


@dataclass(slots=True)
class Line:
    """Whether the way out of one vantage seems to work."""

    dead: set[str] = field(default_factory=set)
    pauses: int = 0

    def saw(self, host: str, *, reached: bool) -> int:
        """Take one more answer in, and return how long to pause the vantage, in ms; 0 to go on."""
        if reached:
            self.dead.clear()
            self.pauses = 0
            return 0
        self.dead.add(host)
        if len(self.dead) < DEAD_HOSTS:
            return 0
        self.pauses += 1
        return min(LINE_PAUSE_MS << min(self.pauses - 1, 10), MAX_LINE_PAUSE_MS)
