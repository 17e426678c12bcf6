"""Auditing one store: every object that should be there is read again, and put right from another store.

What should be there is worked out capture by capture (``archiver.preservation.expected``); of everything
else, what any of the stores has. An audit goes on where an earlier one of the same kind was broken off.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from archiver.preservation.expected import Expectation, expectation_of
from archiver.spool import CAPTURE_ID
from archiver.summary import capture_prefix
from storage.audit import Audited, Condition, Expected, audit, in_sample
from storage.errors import ObjectMissing, StoreError, StoreUnavailable
from storage.interface import Store
from storage.repair import RestorableStore, repair
from storage.retention import LockingStore

MAX_FINDINGS = 10_000
CAPTURES = "captures/"
LINKS = "incidents/"
SECTIONS = (CAPTURES, LINKS, "audits/", "holds/", "keys/", "log/", "quality/", "receipts/", "store.json")
BAD = frozenset({Condition.DAMAGED, Condition.MISSING})
FINE = frozenset({Condition.SOUND, Condition.LISTED})
_NAMED = re.compile(r"[/-]([0-9a-f]{64})\.(?:json|age|png)$")


class AuditableStore(LockingStore, RestorableStore, Protocol):
    """A store whose objects can be locked and restored: what audits, repairs and deletions work on."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a store an audit reads.

    Args:
        permille: Of all objects, 1 to 1,000; of the others only presence and size are compared.
        seed: Decides which, so that a resumed audit takes the same ones.
    """

    permille: int
    seed: str

    def takes(self, key: str) -> bool:
        """Tell whether *key* is read."""
        return self.permille == 1000 or in_sample(key, self.permille / 1000, self.seed)


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it should be, and what came of it.

    Args:
        key: Its key.
        condition: What it was found to be.
        detail: Expected against got.
        repaired_from: The store whose copy was put in its place; empty when it is as it was found.
        sha256: What it should be, where that is known.
    """

    key: str
    condition: Condition
    detail: str
    repaired_from: str = ""
    sha256: str = ""


@dataclass(slots=True)
class Progress:
    """How far an audit has come; what a broken-off one is resumed from.

    Args:
        section: The part of the store it is in.
        after: The last key that was audited in it.
        counts: Objects by condition.
        read_bytes: How much was read.
        findings: What was not in order, at most ``MAX_FINDINGS``.
        repaired_count: How many of all findings were put right.
    """

    section: str = CAPTURES
    after: str = ""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Condition, 0))
    read_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    repaired_count: int = 0


def audit_store(
    store: AuditableStore,
    others: Sequence[Store],
    extent: Extent,
    progress: Progress,
    *,
    mend: bool,
    tick: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Audit *store* from where *progress* stands to its end, and put right what *others* have a good copy of.

    Args:
        store: What is audited.
        others: Stores that should hold the same.
        extent: How much is read.
        progress: Is brought up to date with every object.
        mend: Whether to repair.
        tick: Is called after every object.

    Raises:
        StoreError: The store cannot be read any further; *progress* says how far it was.
    """
    for section in SECTIONS[SECTIONS.index(progress.section) :]:
        if section != progress.section:
            progress.section, progress.after = section, ""
        if section == CAPTURES:
            steps = _captures(store, others, extent, progress.after)
        elif section == LINKS:
            steps = _stray_links(store, others, progress.after)
        else:
            steps = _rest(store, others, extent, section, progress.after)
        for found, wanted in steps:
            _take(progress, found, wanted, store, others if mend else ())
            if found.key.startswith(section):
                progress.after = found.key
            tick(progress)


def _take(
    progress: Progress,
    found: Audited,
    wanted: Expected | None,
    store: AuditableStore,
    others: Sequence[Store],
) -> None:
    """Count what was found, and repair it where *others* are given."""
    progress.counts[found.condition] += 1
    progress.read_bytes += found.read_bytes
    if found.condition in FINE:
        return
    detail, source = found.detail, ""
    if others and wanted is not None and found.condition in BAD:
        try:
            source = _mended(store, others, wanted, found.condition)
            progress.repaired_count += 1
        except StoreError as error:
            detail = f"{detail}; {error}"
    if len(progress.findings) < MAX_FINDINGS:
        sha256 = (wanted.sha256 if wanted else None) or ""
        progress.findings.append(Finding(found.key, found.condition, detail, source, sha256))


def _mended(store: AuditableStore, others: Sequence[Store], wanted: Expected, condition: Condition) -> str:
    if wanted.sha256 is not None:
        return repair(wanted, store, others)
    if condition is Condition.DAMAGED:
        raise StoreUnavailable(f"object {wanted.key}: no digest says which copy is right", code="E175")
    for other in others:
        with suppress(ObjectMissing), other.open(wanted.key) as copy:
            store.put(wanted.key, copy)
            return other.url
    raise StoreUnavailable(f"object {wanted.key}: no other store has it", code="E175")


_Step = tuple[Audited, Expected | None]


def _captures(store: Store, others: Sequence[Store], extent: Extent, after: str) -> Iterator[_Step]:
    """Audit the captures, and the links to each when it has been gone through."""
    first = after.removeprefix(CAPTURES).partition("/")[0]
    stores = [store, *others]
    waiting: deque[Expectation] = deque()
    wanted: dict[str, Expected] = {}

    def expected() -> Iterator[Expected]:
        for capture_id in _capture_ids(stores):
            if capture_id >= first:
                one = expectation_of(stores, capture_id)
                waiting.append(one)
                wanted.update((item.key, item) for item in one.objects)
                yield from one.objects

    for found in audit(store, expected(), prefix=CAPTURES, after=after, takes=extent.takes):
        # The join looks ahead; what lies before this key is complete.
        while waiting and f"{capture_prefix(waiting[0].capture_id)}\U0010ffff" < found.key:
            yield from _links(stores, waiting.popleft())
        yield found, wanted.pop(found.key, None)
    for one in waiting:
        yield from _links(stores, one)


def _links(stores: Sequence[Store], capture: Expectation) -> Iterator[_Step]:
    if capture.finding:
        yield capture.finding, None
    for link in capture.links:
        for found in audit(stores[0], [link], prefix=link.key):
            yield found, link


def _stray_links(store: Store, others: Sequence[Store], after: str) -> Iterator[_Step]:
    """Find links that lead to no capture; the others were audited with their captures."""
    known = set(_capture_ids([store, *others]))
    for info in store.list("incidents/"):
        capture_id = info.key.rpartition("/")[2].removesuffix(".json")
        if info.key > after and capture_id not in known:
            yield Audited(info.key, Condition.UNLISTED, "expected a link to a capture, got one to none"), None


def _rest(store: Store, others: Sequence[Store], extent: Extent, section: str, after: str) -> Iterator[_Step]:
    """Audit what is no capture: what any store has should be in each."""
    keys = heapq.merge(*(_keys(one, section) for one in (store, *others)))
    expected = (_by_name(key) for key, _ in groupby(keys))
    for found in audit(store, expected, prefix=section, after=after, takes=extent.takes):
        yield found, _by_name(found.key)


def _keys(store: Store, prefix: str) -> Iterator[str]:
    try:
        for info in store.list(prefix):
            yield info.key
    except StoreError:
        return  # another store that cannot be listed expects nothing of this one


def _capture_ids(stores: Sequence[Store]) -> list[str]:
    """Return the captures that any store has objects or receipts of."""
    found: set[str] = set()
    for store in stores:
        for prefix in (CAPTURES, "receipts/"):
            try:
                found.update(name for name in store.list_folders(prefix) if CAPTURE_ID.fullmatch(name))
            except StoreError:
                continue
    return sorted(found)


def _by_name(key: str) -> Expected:
    """What should lie at a key that ends in its own SHA-256, or anything at all."""
    named = _NAMED.search(key)
    return Expected(key, sha256=named[1] if named else None)
