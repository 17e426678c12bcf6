"""One run over the watches that are due: look, capture what tells of a change, enter what came of it.

A change is entered together with its event, in one transaction, after its capture is stored. Killed in
between, the next run captures once more and still knows when the change was first told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from archiver.batch.egress import VantageUnusable
from archiver.batch.politeness import DEAD_HOSTS, host_of, retry_after_ms
from archiver.errors import UsageError
from archiver.incidents.register import Seed
from archiver.watch import rules
from archiver.watch.book import Book
from archiver.watch.rules import Capture, Check, Event, Watch

HOSTS_AT_ONCE = 8
WATCHES_AT_ONCE = 100
MAX_NOTE_CHARS = 1_000

OpenVantage = Callable[[str], Callable[[str], Check]]
Take = Callable[[Sequence[tuple[Watch, Seed]]], dict[Watch, Capture]]


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Args:
        checks: Pages looked at.
        captures: Made.
        events: Changes that were seen.
        problems: What is left for the next run, and why.
    """

    checks: int = 0
    captures: int = 0
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run_watches(book: Book, open_vantage: OpenVantage, take: Take, gap_ms: int) -> Outcome:
    """Look at every watch that is due.

    Args:
        book: Of the watches.
        open_vantage: Returns what looks at a page from a vantage; called in threads, for one host in one at a
            time. It raises when nothing can be seen from there.
        take: Captures pages and returns what was captured; what it leaves out is tried again.
        gap_ms: Between two looks at one host.
    """
    found = Outcome()
    now_s = time.time()
    due = [one for one in book.watches() if rules.is_due(one, now_s)]
    hot = _hot_incidents(book.watches(), now_s)
    looks = {}
    for vantage in sorted({one.vantage for one in due}):
        try:
            looks[vantage] = open_vantage(vantage)
        except (VantageUnusable, UsageError) as error:
            found.problems.append(f"{error}: pages watched from there were not looked at ({error.hint})")
    seen = [one for one in due if one.vantage in looks]
    for at in range(0, len(seen), WATCHES_AT_ONCE):
        _run_some(book, seen[at : at + WATCHES_AT_ONCE], looks, take, gap_ms, hot, found)
    return found


def _run_some(  # noqa: PLR0917  # a step of the loop above, called there alone
    book: Book,
    watches: Sequence[Watch],
    looks: Mapping[str, Callable[[str], Check]],
    take: Take,
    gap_ms: int,
    hot: set[str],
    found: Outcome,
) -> None:
    looked = _looked(watches, looks, gap_ms)
    for vantage, lost in _lines_down(looked).items():
        found.problems.append(
            f"vantage {vantage or 'of the settings'}: {lost} hosts, and none of them reached: "
            "taken for a fault of the line; nothing was entered, and the pages stay due"
        )
        looked = [(watch, check) for watch, check in looked if watch.vantage != vantage]
    found.checks += len(looked)
    orders: list[tuple[Watch, str, Check]] = []
    for before, check in looked:
        watch, signal = rules.checked(before, check)
        if signal:
            book.update(watch)
            orders.append((watch, signal, check))
        else:
            book.update(_again(watch, check, hot))
    taken = take([(watch, _seed(watch, signal)) for watch, signal, _ in orders]) if orders else {}
    for watch, signal, check in orders:
        capture = taken.get(watch)
        if capture is None:
            found.problems.append(f"{watch.url}: not captured now; it stays due")
            continue
        found.captures += 1
        after, event = rules.captured(watch, capture, signal)
        if event is not None:
            found.events.append(event)
            hot.update(event.incident_ids)
        book.update(_again(after, check, hot), event)


def _looked(
    watches: Sequence[Watch], looks: Mapping[str, Callable[[str], Check]], gap_ms: int
) -> list[tuple[Watch, Check]]:
    """Look at all of them: hosts side by side, the pages of one host one after the other."""
    by_host: dict[tuple[str, str], list[Watch]] = {}
    for one in watches:
        by_host.setdefault((one.vantage, host_of(one.url)), []).append(one)

    def visit(pages: list[Watch]) -> list[tuple[Watch, Check]]:
        seen = []
        for number, one in enumerate(pages):
            if number:
                time.sleep(gap_ms / 1_000)
            seen.append((one, looks[one.vantage](one.url)))
        return seen

    with ThreadPoolExecutor(HOSTS_AT_ONCE, thread_name_prefix="watch") as pool:
        return [pair for pairs in pool.map(visit, by_host.values()) for pair in pairs]


def _lines_down(looked: Sequence[tuple[Watch, Check]]) -> dict[str, int]:
    """Return the vantages from which many hosts were looked at and none was reached."""
    hosts: dict[str, dict[str, bool]] = {}
    for watch, check in looked:
        of_vantage = hosts.setdefault(watch.vantage, {})
        host = host_of(watch.url)
        of_vantage[host] = of_vantage.get(host, False) or check.status is not None
    return {
        vantage: len(reached)
        for vantage, reached in hosts.items()
        if len(reached) >= DEAD_HOSTS and not any(reached.values())
    }


def _again(watch: Watch, check: Check, hot: set[str]) -> Watch:
    """Say when to look next."""
    wait_s = rules.interval_s(watch.every_s, watch.quiet, hot=not hot.isdisjoint(watch.incident_ids))
    if watch.by_script:
        wait_s = max(wait_s, rules.DAY_S)
    now = datetime.now(UTC)
    asked_s = (retry_after_ms(check.retry_after, now) or 0) / 1_000
    due_s = rules.next_due_s(watch.url, watch.vantage, now.timestamp(), wait_s)
    return msgspec.structs.replace(watch, due_s=max(due_s, now.timestamp() + asked_s))


def _hot_incidents(watches: Sequence[Watch], now_s: float) -> set[str]:
    return {
        incident
        for one in watches
        if one.changed_at and rules.is_hot(datetime.fromisoformat(one.changed_at).timestamp(), now_s)
        for incident in one.incident_ids
    }


def _seed(watch: Watch, signal: str) -> Seed:
    note = f"watch: {signal}"
    if watch.state and watch.told is not None:
        note += f"; last seen {watch.state} at {watch.seen_at}, told at {watch.told.at}"
    return Seed(watch.url, watch.incident_ids, note=note[:MAX_NOTE_CHARS], vantage=watch.vantage)
