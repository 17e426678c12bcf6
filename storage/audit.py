"""Read a store again and say of each object whether it is what it was."""

from __future__ import annotations

import enum
import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import blake3

from storage.errors import DigestMismatch, ObjectMissing, StoreError
from storage.interface import ObjectInfo, Store
from storage.keys import shown
from storage.streams import MIB

_BUFFER_BYTES = 1 * MIB
MAX_UNREADABLE_IN_A_ROW = 20
"""After so many the store is out of reach, and asking for the rest takes hours and tells nothing."""


class Condition(enum.StrEnum):
    """What an audit says of one object."""

    SOUND = "sound"
    """Read, and every digest that is known is right."""
    LISTED = "listed"
    """There with the right size; not read, as the sample did not take it."""
    DAMAGED = "damaged"
    """Read, and its size or a digest is another."""
    MISSING = "missing"
    """Expected, and not in the store."""
    UNLISTED = "unlisted"
    """In the store, and nobody expects it."""
    UNACKNOWLEDGED = "unacknowledged"
    """Listed, not readable as an object, and nobody expects it: what a put left that never succeeded."""
    UNREADABLE = "unreadable"
    """Could not be checked: the store failed or refused."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An object that should be in the store.

    Args:
        key: Its key.
        size_bytes: Its length, where it is known.
        sha256: Hex digest, where it is known.
        blake3: Hex digest, where it is known.
    """

    key: str
    size_bytes: int | None = None
    sha256: str | None = None
    blake3: str | None = None


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found of one key.

    Args:
        key: The key.
        condition: The verdict.
        detail: For a person: expected against got, or what failed; empty when all is well.
        read_bytes: How much was read for it.
    """

    key: str
    condition: Condition
    detail: str = ""
    read_bytes: int = 0


def audit(
    store: Store,
    expected: Iterable[Expected],
    *,
    prefix: str = "",
    after: str = "",
    takes: Callable[[str], bool] = lambda _: True,
) -> Iterator[Audited]:
    """Compare *store* with what is *expected* of it, key by key in order; flat memory, one read of each.

    To resume, pass the last key that was yielded as *after*.

    Args:
        store: What to audit.
        expected: In strictly ascending order of keys, all beginning with *prefix*.
        prefix: The part of the store to audit.
        after: Keys up to this one are passed over.
        takes: Tells which keys to read; of the others only presence and size are compared.

    Raises:
        ValueError: *expected* is out of order.
        StoreError: The store cannot be listed, or ``MAX_UNREADABLE_IN_A_ROW`` objects were unreadable.
    """
    unreadable = 0
    with ThreadPoolExecutor(1) as pool:
        for key, listed, wanted in _joined(store.list(prefix), _ascending(expected)):
            if key <= after:
                continue
            found = _examine(store, key, listed, wanted, pool if takes(key) else None)
            yield found
            unreadable = unreadable + 1 if found.condition is Condition.UNREADABLE else 0
            if unreadable == MAX_UNREADABLE_IN_A_ROW:
                store.stat(key)  # raises what is wrong with the store
                unreadable = 0


def in_sample(key: str, fraction: float, seed: str) -> bool:
    """Tell whether *key* belongs to a sample of *fraction* (0 to 1) of all keys, the same for each *seed*."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed}\n{key}".encode()).digest()[:8], "big")
    return drawn < fraction * 2**64


def both_digests(stream: BinaryIO, pool: ThreadPoolExecutor) -> tuple[int, str, str]:
    """Read *stream* to its end once; return its size in bytes, hex SHA-256 and hex BLAKE3.

    Args:
        stream: Read from where it stands.
        pool: One thread that computes SHA-256 while this one reads on and computes BLAKE3.
    """
    sha256, other = hashlib.sha256(), blake3.blake3()
    buffers = [memoryview(bytearray(_BUFFER_BYTES)) for _ in range(2)]
    pending: Future[None] | None = None
    size_bytes = 0
    while count := stream.readinto(buffers[0]):  # type: ignore[attr-defined]  # BinaryIO has it at run time
        if pending:
            pending.result()
        pending = pool.submit(sha256.update, buffers[0][:count])
        other.update(buffers[0][:count])
        size_bytes += count
        buffers.reverse()
    if pending:
        pending.result()
    return size_bytes, sha256.hexdigest(), other.hexdigest()


def _joined(
    listed: Iterator[ObjectInfo], expected: Iterator[Expected]
) -> Iterator[tuple[str, ObjectInfo | None, Expected | None]]:
    """Pair two ascending streams by key."""
    merged: Iterator[ObjectInfo | Expected] = heapq.merge(listed, expected, key=lambda item: item.key)
    for key, group in groupby(merged, key=lambda item: item.key):
        info: ObjectInfo | None = None
        wanted: Expected | None = None
        for item in group:
            if isinstance(item, Expected):
                wanted = item
            else:
                info = item
        yield key, info, wanted


def _ascending(expected: Iterable[Expected]) -> Iterator[Expected]:
    last = ""
    for item in expected:
        if item.key <= last:
            raise ValueError(
                f"expected keys in strictly ascending order, got {shown(item.key)} after {shown(last)}"
            )
        last = item.key
        yield item


def _examine(
    store: Store,
    key: str,
    listed: ObjectInfo | None,
    wanted: Expected | None,
    pool: ThreadPoolExecutor | None,
) -> Audited:
    if listed is None:
        return Audited(key, Condition.MISSING, "expected an object, got none")
    if wanted is None:
        return _stray(store, key)
    if wanted.size_bytes not in {None, listed.size_bytes}:
        detail = f"size: expected {wanted.size_bytes} bytes, got {listed.size_bytes} bytes"
        return Audited(key, Condition.DAMAGED, detail)
    return Audited(key, Condition.LISTED) if pool is None else _read(store, wanted, pool)


def _stray(store: Store, key: str) -> Audited:
    try:
        store.stat(key)
    except ObjectMissing:
        return Audited(key, Condition.UNACKNOWLEDGED, "listed, but there is no such object")
    except StoreError as exc:
        return Audited(key, Condition.UNREADABLE, str(exc))
    return Audited(key, Condition.UNLISTED, "expected nothing, got an object")


def _read(store: Store, wanted: Expected, pool: ThreadPoolExecutor) -> Audited:
    try:
        with store.open(wanted.key) as stream:
            size_bytes, sha256, other = both_digests(stream, pool)
    except ObjectMissing as exc:
        return Audited(wanted.key, Condition.MISSING, str(exc))
    except DigestMismatch as exc:
        return Audited(wanted.key, Condition.DAMAGED, str(exc))
    except StoreError as exc:
        return Audited(wanted.key, Condition.UNREADABLE, str(exc))
    facts = (
        ("size", wanted.size_bytes, size_bytes),
        ("sha256", wanted.sha256, sha256),
        ("blake3", wanted.blake3, other),
    )
    wrong = [f"{name}: expected {right}, got {got}" for name, right, got in facts if right not in {None, got}]
    condition = Condition.DAMAGED if wrong else Condition.SOUND
    return Audited(wanted.key, condition, "; ".join(wrong), size_bytes)
