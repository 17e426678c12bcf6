"""What one URL was from several vantages: "blocked from here, present from there". Rules only, no I/O.

Says what was observed from where and when, and never why: two captures at two times may differ because the
page changed in between, so the span between them is always told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from archiver.incidents.rules import url_identity
from archiver.summary import CaptureSummary

Seen = Literal["present", "blocked", "gone", "withheld", "out of reach", "unclear"]
Verdict = Literal["same", "differs", "unclear", "one vantage"]

_SEEN: dict[str, Seen] = {
    "captured": "present",
    "blocked": "blocked",
    "geo-blocked": "blocked",
    "not-found": "gone",
    "removed": "gone",
    "parked": "gone",
    "login-wall": "withheld",
    "challenge": "withheld",
    "rate-limited": "withheld",
    "overloaded": "out of reach",
    "unreachable": "out of reach",
    "certificate": "out of reach",
}
_CERTAIN = frozenset({"present", "blocked", "gone"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """One capture, as a comparison looks at it.

    Args:
        vantage: Where it was seen from.
        seen: What was seen, in one word.
        capture: The capture.
    """

    vantage: str
    seen: Seen
    capture: CaptureSummary


@dataclass(frozen=True, slots=True)
class Comparison:
    """The newest capture of a URL from each vantage.

    Args:
        url: As asked for.
        sightings: By vantage, in alphabetical order.
        verdict: ``differs`` only where two certain sightings do; ``unclear`` where one of them is no answer.
        span_s: Between the first and the last of them, in seconds.
        text: The same in one sentence.
    """

    url: str
    sightings: tuple[Sighting, ...]
    verdict: Verdict
    span_s: int
    text: str


def compare(captures: Iterable[CaptureSummary]) -> list[Comparison]:
    """Compare what each URL was from each vantage; captures that were interrupted take no part.

    Args:
        captures: Of one or several URLs, in any order. Mementos have URLs of their own.
    """
    by_url: dict[str, dict[str, CaptureSummary]] = {}
    for one in sorted(captures, key=lambda one: one.started_at):
        if one.completeness != "interrupted":
            by_url.setdefault(url_identity(one.url), {})[one.vantage] = one
    return [_compared(list(newest.values())) for newest in by_url.values()]


def _compared(captures: list[CaptureSummary]) -> Comparison:
    sightings = tuple(
        Sighting(one.vantage, _SEEN.get(one.outcome, "unclear"), one)
        for one in sorted(captures, key=lambda one: one.vantage)
    )
    times = [datetime.fromisoformat(one.started_at) for one in captures]
    span_s = round((max(times) - min(times)).total_seconds())
    verdict = _verdict([one.seen for one in sightings])
    return Comparison(captures[-1].url, sightings, verdict, span_s, _text(sightings, span_s))


def _verdict(seen: list[Seen]) -> Verdict:
    if len(seen) < 2:
        return "one vantage"
    certain = {one for one in seen if one in _CERTAIN}
    if len(certain) > 1:
        return "differs"
    if len(set(seen)) == 1 and certain:
        return "same"
    return "unclear"


def _text(sightings: tuple[Sighting, ...], span_s: int) -> str:
    """Put it into a sentence: ``blocked from kz-ala; present from de; within 41 s``."""
    places: dict[str, list[str]] = {}
    for one in sightings:
        places.setdefault(one.seen, []).append(one.vantage or "a vantage without a name")
    parts = [f"{seen} from {', '.join(names)}" for seen, names in places.items()]
    if len(sightings) > 1:
        parts.append(f"within {span_s} s")
    return "; ".join(parts)
