"""A bound from below: a public value nobody knew before, fetched before a capture, bound into its record.

A record that holds the value cannot have been written before the value was published. Two sources are known:
a round of a drand randomness beacon, whose time follows from its number, and the checkpoint of a public log,
which states no time of its own. That the value is genuine is not verified here: for that, a reader looks the
round, or the log's tree of that size, up where it is public for ever. Absent when there is no network.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from manifests.errors import ManifestError
from manifests.findings import shown
from manifests.http_fetch import FetchError, fetch

MAX_VALUE_BYTES = 4096
_HEX = re.compile(r"[0-9a-f]{64,400}")
_SIZE = re.compile(r"[0-9]{1,18}")


class BeaconUnavailable(ManifestError):
    """No fresh public value could be had; the capture goes on without a lower bound."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"beacon {shown(url)}: {what}",
            code="E496",
            hint="the capture has no bound from below; choose another source in the settings",
        )


@dataclass(frozen=True, slots=True)
class Beacon:
    """A source of fresh public values.

    Args:
        source: ``drand`` or ``tlog-checkpoint``.
        url: Of the latest round or checkpoint.
        genesis_at: When round 1 of a drand chain was due; None for logs.
        period_s: Seconds between two rounds.
    """

    source: Literal["drand", "tlog-checkpoint"]
    url: str
    genesis_at: datetime | None = None
    period_s: int = 0


@dataclass(frozen=True, slots=True)
class PublicValue:
    """A value as fetched.

    Args:
        source: As in ``Beacon``.
        url: Where it was fetched.
        value: ``round <n> <randomness> <signature>``, or the checkpoint's text.
        published_at: When the round was due; None where the source states no time.
        fetched_at: Aware UTC, by this machine's clock.
    """

    source: str
    url: str
    value: str
    published_at: datetime | None
    fetched_at: datetime


def fetch_value(beacon: Beacon) -> PublicValue:
    """Fetch the latest value of *beacon*.

    Raises:
        BeaconUnavailable: No answer, or not the form of the source.
    """
    try:
        answer = fetch(beacon.url, None, "", MAX_VALUE_BYTES).decode("utf-8")
        value, published_at = _drand(answer, beacon) if beacon.source == "drand" else _checkpoint(answer)
    except (FetchError, ValueError, OverflowError, RecursionError) as error:
        raise BeaconUnavailable(beacon.url, shown(str(error))) from error
    return PublicValue(beacon.source, beacon.url, value, published_at, datetime.now(UTC))


def _drand(answer: str, beacon: Beacon) -> tuple[str, datetime | None]:
    facts = json.loads(answer)
    number = facts.get("round") if isinstance(facts, dict) else None
    if not isinstance(number, int) or number < 1:
        raise ValueError("answer: expected a drand round, got another form")
    parts = [str(facts.get(name, "")) for name in ("randomness", "signature")]
    if not all(_HEX.fullmatch(part) for part in parts):
        raise ValueError("answer: expected randomness and signature in hex, got another form")
    due = None
    if beacon.genesis_at is not None:
        due = beacon.genesis_at + timedelta(seconds=beacon.period_s * (number - 1))
    return f"round {number} {' '.join(parts)}", due


def _checkpoint(answer: str) -> tuple[str, datetime | None]:
    lines = answer.split("\n")
    printable = all(line.isprintable() for line in lines)
    if len(lines) < 6 or not printable or not _SIZE.fullmatch(lines[1]) or "\n\n— " not in answer:
        raise ValueError("answer: expected a checkpoint, got another form")
    return answer, None
