"""Bring stores to the same objects: what one of them has, the others get."""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from storage.errors import StoreError
from storage.interface import ObjectInfo, Store


class Outcome(enum.StrEnum):
    """What came of one object in one store."""

    COPIED = "copied"
    """It was missing and is there now."""
    FAILED = "failed"
    """It is missing and could not be copied."""
    DISAGREES = "disagrees"
    """It is there with another size than in the first store that has it; nothing was changed."""
    UNLISTED = "cannot be listed"
    """The store failed; from here on nothing is known of it and nothing is copied to it."""


@dataclass(frozen=True, slots=True)
class Synced:
    """One thing that ``sync`` did or could not do.

    Args:
        url: The store.
        key: The object; empty for ``UNLISTED``.
        outcome: What came of it.
        detail: For a person.
    """

    url: str
    key: str
    outcome: Outcome
    detail: str = ""


def sync(
    stores: Sequence[Store],
    *,
    digest_of: Callable[[str], str | None] = lambda _: None,
    takes: Callable[[str], bool] = lambda _: True,
    prefix: str = "",
) -> Iterator[Synced]:
    """Copy to each store what another one has; yields only what was not in order. Flat memory.

    Nothing is replaced. Only sizes are compared: an audit of each store compares bytes.

    Args:
        stores: Two or more, the most trusted first: copies are taken from the first that has the object.
        digest_of: Gives the hex SHA-256 that a key's object must have, where it is known; a copy with
            another one is not spread.
        takes: Tells which keys should be everywhere; asked of those that are not in order.
        prefix: The part of the stores to sync.
    """
    broken: dict[int, StoreError] = {}
    streams = [_numbered(number, store, prefix, broken) for number, store in enumerate(stores)]
    told: set[int] = set()
    for key, group in groupby(heapq.merge(*streams, key=_order), key=lambda item: item[1].key):
        for number in broken.keys() - told:
            told.add(number)
            yield Synced(stores[number].url, "", Outcome.UNLISTED, str(broken[number]))
        holders = dict(group)
        targets = [number for number in range(len(stores)) if number not in broken]
        in_order = holders.keys() >= set(targets) and len({one.size_bytes for one in holders.values()}) == 1
        if in_order or not takes(key):
            continue
        yield from _level(key, stores, holders, targets, digest_of)
    for number in broken.keys() - told:
        yield Synced(stores[number].url, "", Outcome.UNLISTED, str(broken[number]))


def _level(
    key: str,
    stores: Sequence[Store],
    holders: dict[int, ObjectInfo],
    targets: Sequence[int],
    digest_of: Callable[[str], str | None],
) -> Iterator[Synced]:
    right = next(iter(holders.values())).size_bytes
    for number in targets:
        if number not in holders:
            sources = [stores[holder] for holder in holders]
            yield _copied(key, sources, stores[number], digest_of(key))
        elif holders[number].size_bytes != right:
            detail = f"expected {right} bytes, got {holders[number].size_bytes} bytes"
            yield Synced(stores[number].url, key, Outcome.DISAGREES, detail)


def _copied(key: str, sources: Sequence[Store], target: Store, sha256: str | None) -> Synced:
    reasons = []
    for source in sources:
        try:
            with source.open(key) as stream:
                target.put(key, stream, sha256=sha256)
        except StoreError as exc:
            reasons.append(str(exc))
        else:
            return Synced(target.url, key, Outcome.COPIED, f"from {source.url}")
    return Synced(target.url, key, Outcome.FAILED, "; ".join(reasons))


def _numbered(
    number: int, store: Store, prefix: str, broken: dict[int, StoreError]
) -> Iterator[tuple[int, ObjectInfo]]:
    try:
        for info in store.list(prefix):
            yield number, info
    except StoreError as exc:
        broken[number] = exc


def _order(item: tuple[int, ObjectInfo]) -> tuple[str, int]:
    return item[1].key, item[0]
