"""When a watched page is looked at again, what tells of a change, and what it has become. Rules only, no I/O.

A check is cheap and proves nothing: it only says that it is time for a capture. What a page has become is
read from captures alone, so that every state rests on an evidence record.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Literal, get_args

import msgspec

from archiver.errors import UsageError

State = Literal["", "present", "changed", "restored", "removed", "blocked", "login wall", "unreachable"]
"""Empty: nothing is known yet. The last four are ways of being away."""
STATES: tuple[str, ...] = get_args(State)
AWAY = frozenset({"removed", "blocked", "login wall", "unreachable"})

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S
MIN_INTERVAL_S = 5 * MINUTE_S
MAX_INTERVAL_S = 30 * DAY_S
EVERY_S = 6 * HOUR_S
HOT_S = 3 * DAY_S
"""An incident is hot for so long after any page of it changed its state."""
GROWTH_CHECKS = 4
"""Checks that told nothing, after which the interval has doubled."""
NEW_QUIET = 2 * GROWTH_CHECKS
"""What a new watch begins with, so that its interval is as asked for."""
MAX_QUIET = 4 * GROWTH_CHECKS

RESTLESS_CHECKS = 3
"""Checks in a row that found another text: from then on another text alone is no news of this page."""
KEPT_SHARE = 0.5
"""Share of its words that a restless page may keep and be told of all the same."""
SEEN_SHARE = 0.5
"""Share of the words of a capture that a check has to see; else the page is made by scripts."""
MAX_TEXT_CHARS = 50_000

_FATES: dict[str, State] = {
    "captured": "present",
    "removed": "removed",
    "not-found": "removed",
    "parked": "removed",
    "blocked": "blocked",
    "geo-blocked": "blocked",
    "login-wall": "login wall",
    "unreachable": "unreachable",
    "overloaded": "unreachable",
    "certificate": "unreachable",
}
_NO_NEWS = frozenset({"failed", "rate-limited"})
"""Outcomes of a check that say something of this collector only; asking harder helps neither."""
_EVERY = re.compile(r"([1-9][0-9]{0,4})\s*(m|h|d)")
_UNIT_S = {"m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
_WORDS = re.compile(r"\w+")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What a cheap look at a page saw.

    Args:
        at: RFC 3339 in UTC with milliseconds.
        outcome: As of ``archiver.capture.outcome``, judged from this look alone.
        reason: One sentence.
        status: Of the last answer; None when none came.
        final_url: Where redirects led, or empty.
        main_sha256: Of the body of the main resource, its transfer codings undone; empty when none came.
        text_sha256: Of the visible text, spaces run together; empty for what is no page.
        text: Its beginning, up to ``MAX_TEXT_CHARS``.
        retry_after: The header as sent, or empty.
    """

    at: str
    outcome: str
    reason: str
    status: int | None = None
    final_url: str = ""
    main_sha256: str = ""
    text_sha256: str = ""
    text: str = ""
    retry_after: str = ""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """One page watched from one vantage.

    Args:
        url: As captured.
        vantage: Name of the vantage; empty for that of the settings.
        incident_ids: Incidents it belongs to.
        every_s: Interval that was asked for.
        added_at: When the watch began.
        ended_at: When it was ended, or empty.
        state: What the page was when it was captured last.
        state_at: When that state was first seen, or empty.
        seen_at: When that state was last seen, by a check or a capture, or empty.
        was_present: Whether any capture of this watch showed the page.
        capture_id: The last capture, or empty.
        capture_text_sha256: Of the text of the last capture that showed the page, or empty.
        last: The last check that was no failure of our own, or None.
        told: The check that told of a change that no capture has settled yet, or None.
        quiet: Checks that told nothing, since the last change.
        restless: Checks in a row that found another text.
        by_script: Checks do not see what captures see, so each look is a capture.
        changed_at: When its state last changed, or empty.
        due_s: When to look again, in seconds since 1970; 0 for now.
    """

    url: str
    vantage: str = ""
    incident_ids: tuple[str, ...]
    every_s: int = EVERY_S
    added_at: str
    ended_at: str = ""
    state: State = ""
    state_at: str = ""
    seen_at: str = ""
    was_present: bool = False
    capture_id: str = ""
    capture_text_sha256: str = ""
    last: Check | None = None
    told: Check | None = None
    quiet: int = NEW_QUIET
    restless: int = 0
    by_script: bool = False
    changed_at: str = ""
    due_s: float = 0.0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a page, bound to two captures.

    Args:
        url: As of the watch.
        vantage: Likewise.
        incident_ids: Likewise.
        was: State before.
        became: State after.
        last_seen_at: Last time the page was seen in the state before.
        first_seen_at: First time it was seen otherwise; the change happened between the two.
        before: Capture that shows the state before.
        after: Capture that shows the state after.
        signal: What told.
        clock_set_back: The collector's clock went backwards in between: the interval cannot be relied upon.
    """

    url: str
    vantage: str
    incident_ids: tuple[str, ...]
    was: State
    became: State
    last_seen_at: str
    first_seen_at: str
    before: str
    after: str
    signal: str
    clock_set_back: bool = False


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules look at of a stored capture.

    Args:
        capture_id: Its ID.
        outcome: What became of the page.
        started_at: RFC 3339 in UTC with milliseconds.
        text_sha256: Of its text exhibit; empty when there is none, or none to be read.
        text: The beginning of that text, or empty.
    """

    capture_id: str
    outcome: str
    started_at: str
    text_sha256: str = ""
    text: str = ""


def parse_every(text: str) -> int:
    """Read an interval such as ``30m``, ``6h`` or ``2d`` into seconds.

    Raises:
        UsageError: E731, it is none, or below ``MIN_INTERVAL_S`` or above ``MAX_INTERVAL_S``.
    """
    if found := _EVERY.fullmatch(text.strip().lower()):
        seconds = int(found[1]) * _UNIT_S[found[2]]
        if MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
            return seconds
    raise UsageError(
        f"watch: interval: expected 5m to 30d, got {ascii(text)[:40]}", code="E731", hint="give it as 6h"
    )


def state_of(outcome: str) -> State:
    """Return what a page is by the outcome of a capture; empty when that does not tell."""
    return _FATES.get(outcome, "")


def interval_s(every_s: int, quiet: int, *, hot: bool) -> int:
    """Return how long to wait for the next check.

    A quarter of what was asked for after a change, four times that for a page that long stayed as it was,
    and never more than half of it while the incident is hot.
    """
    grown = every_s / 4 * 2 ** (min(quiet, MAX_QUIET) / GROWTH_CHECKS)
    wanted = min(grown, every_s / 2) if hot else grown
    return round(min(max(wanted, MIN_INTERVAL_S), MAX_INTERVAL_S))


def next_due_s(url: str, vantage: str, now_s: float, wait_s: int) -> float:
    """Return when to look again: the page's own moment in a round of *wait_s*, after half of it at least.

    Each page has its moment, so that many pages added at once are spread over the round from the first on.
    """
    digest = hashlib.sha256(f"{vantage}\0{url}".encode("utf-8", "replace")).digest()
    phase_s = int.from_bytes(digest[:8]) / 2**64 * wait_s
    rounds = math.ceil((now_s + wait_s / 2 - phase_s) / wait_s)
    return rounds * wait_s + phase_s


def is_due(watch: Watch, now_s: float) -> bool:
    """Whether to look now; also when the next look lies too far off, since a clock was wrong."""
    return not watch.ended_at and (watch.due_s <= now_s or watch.due_s > now_s + 2 * MAX_INTERVAL_S)


def is_hot(changed_at_s: float | None, now_s: float) -> bool:
    """Whether an incident is hot whose pages last changed then."""
    return changed_at_s is not None and now_s - changed_at_s < HOT_S


def kept_share(before: str, after: str) -> float:
    """Return the share of the distinct words of *before* that are in *after* too; 1 when it has none."""
    words = set(_WORDS.findall(before.lower()))
    return len(words & set(_WORDS.findall(after.lower()))) / len(words) if words else 1.0


def signal_of(watch: Watch, check: Check) -> str:
    """Return what tells that a capture is due, or nothing."""
    if not watch.capture_id:
        return "first look"
    before = watch.last
    if check.outcome in _NO_NEWS or before is None:
        return "no check before this one" if before is None and check.outcome not in _NO_NEWS else ""
    if check.outcome != before.outcome:
        return f"outcome of a check: {before.outcome} before, now {check.outcome}: {check.reason}"
    if check.outcome != "captured":
        return ""
    if check.final_url != before.final_url:
        return f"address arrived at: {before.final_url} before, now {check.final_url}"
    if check.text_sha256 != before.text_sha256:
        kept = kept_share(before.text, check.text)
        if watch.restless >= RESTLESS_CHECKS and kept >= KEPT_SHARE:
            return ""
        return f"visible text: another one, with {kept:.0%} of the words there were"
    if not check.text_sha256 and check.main_sha256 != before.main_sha256:
        return "main resource: another SHA-256"
    return ""


def checked(watch: Watch, check: Check) -> tuple[Watch, str]:
    """Take a check in; return the watch and what tells that a capture is due, or nothing."""
    signal = signal_of(watch, check)
    if watch.told is not None:  # an earlier run was broken off before it could capture
        signal = signal or f"told at {watch.told.at}: {watch.told.reason}"
    elif not signal and watch.by_script:
        signal = "checks do not see what this page shows"
    if check.outcome in _NO_NEWS:
        return watch, signal
    other_text = watch.last is not None and check.text_sha256 != watch.last.text_sha256
    seen = not signal and state_of(check.outcome) == _kind(watch.state)
    return (
        msgspec.structs.replace(
            watch,
            last=check,
            told=watch.told or (check if signal else None),
            seen_at=check.at if seen else watch.seen_at,
            restless=watch.restless + 1 if other_text else 0,
            quiet=watch.quiet if signal else min(watch.quiet + 1, MAX_QUIET),
        ),
        signal,
    )


def captured(watch: Watch, capture: Capture, signal: str) -> tuple[Watch, Event | None]:
    """Take the capture in that a signal led to; return the watch, and the event if the page changed."""
    state = state_of(capture.outcome)
    told, other_text = watch.told, _other_text(watch, capture)
    became = _became(watch, state, other_text=other_text) if state else watch.state
    is_event = bool(watch.state and state) and (became != watch.state or (became == "changed" and other_text))
    sees_it = told is not None and state_of(told.outcome) == state
    first = told.at if told is not None and sees_it and signal else capture.started_at
    by_script = watch.by_script
    if watch.last is not None:
        by_script = (
            state_of(watch.last.outcome) != state
            or not state
            or (
                state == "present"
                and bool(capture.text)
                and kept_share(capture.text[:MAX_TEXT_CHARS], watch.last.text) < SEEN_SHARE
            )
        )
    after = msgspec.structs.replace(
        watch,
        state=became,
        state_at=first if is_event or not watch.state else watch.state_at,
        seen_at=capture.started_at if state else watch.seen_at,
        was_present=watch.was_present or state == "present",
        capture_id=capture.capture_id,
        capture_text_sha256=capture.text_sha256 or watch.capture_text_sha256,
        told=None,
        quiet=0 if is_event else min(watch.quiet + bool(watch.by_script), MAX_QUIET),
        by_script=by_script,
        changed_at=first if is_event else watch.changed_at,
    )
    if not is_event:
        return after, None
    return after, Event(
        url=watch.url,
        vantage=watch.vantage,
        incident_ids=watch.incident_ids,
        was=watch.state,
        became=became,
        last_seen_at=watch.seen_at,
        first_seen_at=first,
        before=watch.capture_id,
        after=capture.capture_id,
        signal=signal,
        clock_set_back=first < watch.seen_at,
    )


def _kind(state: State) -> State:
    return "present" if state in {"changed", "restored"} else state


def _other_text(watch: Watch, capture: Capture) -> bool:
    if capture.outcome != "captured" or not (capture.text_sha256 and watch.capture_text_sha256):
        return False
    return capture.text_sha256 != watch.capture_text_sha256


def _became(watch: Watch, state: State, *, other_text: bool) -> State:
    if state != "present":
        return state
    if watch.state in AWAY:
        return "restored" if watch.was_present else "present"
    if other_text:
        return "changed"
    return watch.state or "present"
