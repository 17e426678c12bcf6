"""Bringing several stores to the same captures, locks and log."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from archiver.preservation.expected import Expectation, expectation_of
from archiver.preservation.holding import held_incidents, hold_again
from archiver.preservation.receipts import was_deleted
from archiver.spool import CAPTURE_ID
from storage.errors import ObjectMissing, StoreError
from storage.interface import Store
from storage.replicated import ReplicatedStore
from storage.retention import LockingStore
from storage.sync import Outcome, Synced, sync

CHECKPOINT = "log/checkpoint"
MAX_CHECKPOINT_BYTES = 64 * 1024
_SIZE = re.compile(rb"[^\n]+\n([0-9]{1,18})\n")


def sync_stores(store: ReplicatedStore) -> Iterator[Synced]:
    """Copy to each store what it lacks, by its digest and with its locks; yield what was not in order."""
    knowledge = _Knowledge(store.stores)
    yield from sync(store.stores, digest_of=knowledge.digest_of, takes=knowledge.may_be_copied)
    yield from _follow_pointer(store.stores)
    for incident_id in held_incidents(store):
        hold_again(store, incident_id)


def finish_copies(store: LockingStore) -> list[str]:
    """End a run: wait for what was begun, copy the log, and say which of several stores lag behind.

    A store that does not answer is waited for no longer than its own time-outs.
    """
    if not isinstance(store, ReplicatedStore):
        return []
    store.close()
    lagging = dict(store.lagging)
    reached = [one for one in store.stores if one.url not in lagging]
    if len(reached) > 1 and reached[0] is store.stores[0]:
        lagging |= {one.url: one.detail for one in follow_log(reached) if one.outcome is not Outcome.COPIED}
    return [
        f"store {url}: lags behind: {why}; run archiver store sync when it is back"
        for url, why in lagging.items()
    ]


def follow_log(stores: Sequence[Store]) -> Iterator[Synced]:
    """Bring the custody log of the first store to the others; its pointer never goes back."""
    yield from sync(stores, prefix="log/", takes=lambda key: key != CHECKPOINT)
    yield from _follow_pointer(stores)


def catch_up_log(stores: Sequence[Store]) -> None:
    """Bring the log to stores that are merely behind; where all are equally far, the rest is for an audit."""
    sizes = set()
    for store in stores:
        try:
            sizes.add(_size_of(_read(store)))
        except ObjectMissing:
            sizes.add(0)
    if len(sizes) > 1:
        deque(follow_log(stores), maxlen=0)


def _follow_pointer(stores: Sequence[Store]) -> Iterator[Synced]:
    first, *others = stores
    try:
        data = _read(first)
    except ObjectMissing:
        return  # nothing was logged yet
    except StoreError as error:
        yield Synced(first.url, CHECKPOINT, Outcome.FAILED, str(error))
        return
    for other in others:
        try:
            yield from _follow(other, data, first.url)
        except StoreError as error:
            yield Synced(other.url, CHECKPOINT, Outcome.FAILED, str(error))


def _follow(other: Store, data: bytes, source: str) -> Iterator[Synced]:
    there, etag = b"", None
    with suppress(ObjectMissing):
        there, etag = _read(other), other.stat(CHECKPOINT).etag
    if _size_of(there) > _size_of(data):
        detail = f"its log has {_size_of(there)} entries, that of {source} has {_size_of(data)}"
        yield Synced(other.url, CHECKPOINT, Outcome.DISAGREES, detail)
    elif there != data:
        other.replace(CHECKPOINT, data, etag=etag)


def _read(store: Store) -> bytes:
    with store.open(CHECKPOINT, length=MAX_CHECKPOINT_BYTES) as stream:
        return stream.read()


def _size_of(checkpoint: bytes) -> int:
    """Size of a log by its checkpoint, 0 for none. Source: C2SP tlog-checkpoint, the second line."""
    found = _SIZE.match(checkpoint)
    return int(found[1]) if found else 0


class _Knowledge:
    """What is known of the objects that a sync meets, one capture at a time."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = list(stores)
        self._capture = Expectation("")
        self._digests: dict[str, str] = {}
        self._deleted = False

    def digest_of(self, key: str) -> str | None:
        """Return the SHA-256 that the object at *key* must have, where its capture says so."""
        self._meet(key)
        return self._digests.get(key)

    def may_be_copied(self, key: str) -> bool:
        """Tell whether *key* should be everywhere: not the log's pointer, nor what was deleted on purpose."""
        self._meet(key)
        return key != CHECKPOINT and not self._deleted

    def _meet(self, key: str) -> None:
        parts = [] if key.startswith("receipts/") else key.removesuffix(".json").split("/")
        capture_id = next(filter(CAPTURE_ID.fullmatch, parts), "")
        if capture_id == self._capture.capture_id:
            return
        self._capture = expectation_of(self._stores, capture_id) if capture_id else Expectation("")
        known = [*self._capture.objects, *self._capture.links]
        self._digests = {one.key: one.sha256 for one in known if one.sha256}
        self._deleted = bool(capture_id) and any(was_deleted(one, capture_id) for one in self._stores)
