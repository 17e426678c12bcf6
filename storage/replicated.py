"""Several stores as one: an object is preserved when a quorum of them has confirmed its digest.

What it does not do: decide who is right. Each store keeps the first bytes that it was given for a
key; where two stores hold different ones, ``put``, ``sync`` and an audit say so. A put that fails for
want of a quorum, or for a conflict in one store, may have created the object in another.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, TypeVar

from storage.errors import (
    DigestMismatch,
    ObjectConflict,
    ObjectMissing,
    SourceUnreadable,
    StoreError,
    StoreUnavailable,
)
from storage.interface import Capabilities, ObjectInfo, Receipt, Store
from storage.keys import check_folder, check_key, check_prefix, shown
from storage.lane import Lane
from storage.retention import Lock, LockingStore, Retention, weakest
from storage.streams import WindowReader, check_announced, check_range, chunks, digest_of, require_announced

T = TypeVar("T")


class ReplicatedStore:
    """Writes to all of several stores, succeeds with *quorum* of them, reads from the first that answers.

    A put returns as soon as the quorum has confirmed; slower stores go on in the background, and
    ``lagging`` tells which of them failed. ``close`` waits for them. A store that does not answer is
    passed by for a minute where the others suffice: a dead one costs no time-out for each object.

    Args:
        stores: At least one; the first is asked first, and decides in ``replace``.
        quorum: How many must confirm, 1 to all of them.
    """

    def __init__(self, stores: Sequence[LockingStore], quorum: int) -> None:
        if not 1 <= quorum <= len(stores):
            raise ValueError(f"quorum: expected 1 to {len(stores)} stores, got {quorum}")
        self.stores = tuple(stores)
        self.quorum = quorum
        self.url = " + ".join(store.url for store in stores)
        self.lagging: dict[str, str] = {}
        self._lanes = [Lane(store, partial(self._note, store)) for store in stores]

    def close(self) -> None:
        """Wait until every store has done what it was given."""
        for lane in self._lanes:
            lane.close()

    @property
    def capabilities(self) -> Capabilities:
        """What every store promises, but for races: each creator may win in one store, and so all lose.

        A store that cannot be asked promises nothing.
        """
        each = [_promised(lane) for lane in self._lanes]
        return Capabilities(
            conditional_writes=len(each) == 1 and each[0].conditional_writes,
            retention=all(one.retention for one in each),
            versioning=all(one.versioning for one in each),
        )

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* in every store; the receipt is of the one that confirmed first, ``copies`` of all.

        Raises:
            ObjectConflict: A store has other bytes under this key.
            DigestMismatch: *source* has not the announced digest, or changed while it was read.
            StoreUnavailable: Fewer than the quorum confirmed; put it again to complete it.
        """
        check_key(key)
        check_announced(key, sha256)
        with _rereadable(source) as (digest, reopen):
            require_announced(key, sha256, digest)
            started = {lane.put(key, reopen, digest): lane.store.url for lane in self._chosen(key)}
        pending = {future for future in started if future is not None}
        receipts: list[tuple[str, Receipt]] = []
        failures: list[StoreError] = []
        while pending and len(receipts) < self.quorum:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, StoreError):
                    failures.append(error)
                else:
                    receipts.append((started[future], future.result()))
        for failure in failures:
            if isinstance(failure, ObjectConflict | DigestMismatch):
                raise failure
        if len(receipts) < self.quorum:
            raise self._too_few(key, f"{len(receipts)} confirmed", failures)
        return replace(receipts[0][1], copies=tuple(receipts))

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* in the first store that has it; another goes on where that one fails in the middle."""
        check_range(key, offset, length)
        size_bytes = self.stat(key).size_bytes
        stores = [lane.store for lane in self._up_first()]
        return _FallbackReader(key, size_bytes, stores).narrowed(offset, length)

    def stat(self, key: str) -> ObjectInfo:
        """Describe *key* by the first store that has it; missing means that a quorum cannot have it."""
        return self._first(key, lambda store: store.stat(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield what any store has, in order; fails when so many fail that an object could be overlooked."""
        check_prefix(prefix)
        return self._merged(prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the folders that any store has; see ``list``."""
        check_folder(prefix)
        broken: dict[str, StoreError] = {}
        names: set[str] = set()
        for lane in self._listable():
            try:
                names.update(lane.store.list_folders(prefix))
            except StoreError as exc:
                lane.failed(exc)
                broken[lane.store.url] = exc
        self._require_complete(broken)
        return iter(sorted(names))

    def replace(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Swap *key* in the first store, which decides, then bring the others to the same bytes."""
        new = self.stores[0].replace(key, data, etag=etag)
        for store in self.stores[1:]:
            try:
                _follow(store, key, data)
            except StoreError as exc:
                self._note(store, str(exc))
        return new

    def delete(self, key: str) -> None:
        """Delete *key* everywhere; stops at the first store that refuses."""
        self.stat(key)
        for store in self.stores:
            with suppress(ObjectMissing):
                store.delete(key)

    def lock_of(self, key: str) -> Lock:
        """Return what keeps every copy of *key*: what the stores' locks have in common."""
        return self._on_every(key, lambda store: store.lock_of(key))

    def retain(self, key: str, retention: Retention) -> Lock:
        """Keep every copy of *key* until a date; see ``storage.retention``."""
        return self._on_every(key, lambda store: store.retain(key, retention))

    def hold(self, key: str) -> Lock:
        """Lay a legal hold on every copy of *key*; see ``storage.retention``."""
        return self._on_every(key, lambda store: store.hold(key))

    def release(self, key: str) -> Lock:
        """Take the legal hold off every copy of *key*; see ``storage.retention``."""
        return self._on_every(key, lambda store: store.release(key))

    def cleanup(self) -> int:
        """Clean up every store."""
        return sum(store.cleanup() for store in self.stores)

    def _up_first(self) -> Sequence[Lane]:
        return sorted(self._lanes, key=lambda lane: not lane.is_up)

    def _chosen(self, key: str) -> Sequence[Lane]:
        """The stores that answer; all of them where those are too few."""
        up = [lane for lane in self._lanes if lane.is_up]
        if len(up) < self.quorum:
            return self._lanes
        for lane in self._lanes:
            if lane not in up:
                lane.pass_by(key)
        return up

    def _listable(self) -> Sequence[Lane]:
        """The stores that answer, where nothing that a quorum holds can be overlooked without the others."""
        up = [lane for lane in self._lanes if lane.is_up]
        return up if len(up) > len(self.stores) - self.quorum else self._lanes

    def _merged(self, prefix: str) -> Iterator[ObjectInfo]:
        broken: dict[str, StoreError] = {}
        streams = [_listed(lane, prefix, broken) for lane in self._listable()]
        merged = heapq.merge(*streams, key=lambda info: info.key)
        for _, group in groupby(merged, key=lambda info: info.key):
            self._require_complete(broken)
            yield next(group)
        self._require_complete(broken)

    def _on_every(self, key: str, act: Callable[[LockingStore], Lock]) -> Lock:
        """Do to each copy of *key* what *act* does; fails unless every store did it, after all were tried."""
        self.stat(key)
        locks: list[Lock] = []
        failures: list[StoreError] = []
        for store in self.stores:
            try:
                locks.append(act(store))
            except StoreError as exc:
                failures.append(exc)
        if failures and not locks and len({failure.code for failure in failures}) == 1:
            raise failures[0]
        if failures:
            raise StoreUnavailable(
                f"object {shown(key)}: not done for every copy: expected {len(self.stores)} stores, "
                f"got {len(locks)}: {'; '.join(map(str, failures))}",
                code="E663",
                hint="sync the stores, then run it again",
            )
        return weakest(locks)

    def _note(self, store: Store, failure: str) -> None:
        self.lagging[store.url] = failure

    def _first(self, key: str, ask: Callable[[Store], T]) -> T:
        check_key(key)
        failures: list[StoreError] = []
        missing = 0
        for lane in self._up_first():
            if not lane.is_up and missing > len(self.stores) - self.quorum:
                break
            try:
                return ask(lane.store)
            except ObjectMissing as exc:
                missing += 1
                failures.append(exc)
            except StoreError as exc:
                lane.failed(exc)
                failures.append(exc)
        if missing > len(self.stores) - self.quorum:
            raise failures[0] if missing == len(failures) else ObjectMissing(str(failures[0]), code="E602")
        raise self._too_few(key, f"{missing} without it and the others failing", failures)

    def _require_complete(self, broken: dict[str, StoreError]) -> None:
        if len(broken) >= self.quorum:
            raise self._too_few("listing", f"{len(broken)} that cannot be listed", list(broken.values()))

    def _too_few(self, key: str, got: str, failures: Sequence[StoreError]) -> StoreUnavailable:
        reasons = "; ".join(map(str, failures)) or "stores still busy with earlier objects"
        return StoreUnavailable(
            f"object {shown(key)}: no quorum: expected {self.quorum} of {len(self.stores)} stores, "
            f"got {got}: {reasons}",
            code="E661",
            hint="bring the failing stores back, then run it again",
        )


class _FallbackReader(WindowReader):
    """Reads from one store after another, going on at the same byte."""

    def __init__(self, key: str, size_bytes: int, stores: Sequence[Store]) -> None:
        super().__init__(size_bytes)
        self._key = key
        self._object_bytes = size_bytes
        self._left = list(stores)
        self._stream: BinaryIO | None = None

    def _read_into(self, view: memoryview, position: int) -> int:
        while True:
            try:
                stream = self._stream or self._next()
                stream.seek(position)
                if count := int(stream.readinto(view)):  # type: ignore[attr-defined]  # BinaryIO has it at run time
                    return count
                raise StoreUnavailable(
                    f"object {shown(self._key)}: ended early at byte {position}", code="E643"
                )
            except StoreError:
                self._drop()
                if not self._left:
                    raise

    def _next(self) -> BinaryIO:
        stream = self._left[0].open(self._key)
        self._stream = stream
        if stream.seek(0, os.SEEK_END) != self._object_bytes:
            raise StoreUnavailable(f"object {shown(self._key)}: another size in another store", code="E662")
        return stream

    def _drop(self) -> None:
        del self._left[:1]
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Close what is open."""
        if self._stream is not None:
            self._stream.close()
        super().close()


@contextmanager
def _rereadable(source: bytes | Path | BinaryIO) -> Iterator[tuple[str, Callable[[], bytes | BinaryIO]]]:
    """Yield the SHA-256 of *source* and a way to read it once for each store; a stream goes to disk first."""
    if isinstance(source, bytes):
        yield digest_of(source)[1], lambda: source
    elif isinstance(source, Path):
        yield digest_of(source)[1], lambda: _open_file(source)
    else:
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.NamedTemporaryFile(prefix="archiver-"))
            for chunk in chunks(source):
                spool.write(chunk)
            spool.flush()
            yield digest_of(Path(spool.name))[1], lambda: _open_file(Path(spool.name))


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as exc:
        raise SourceUnreadable(
            f"source {shown(str(path))}: cannot be read: expected a file, got {exc.strerror}",
            code="E607",
            hint="check that the file is there and readable",
        ) from exc


def _promised(lane: Lane) -> Capabilities:
    try:
        return lane.store.capabilities
    except StoreError as exc:
        lane.failed(exc)
        return Capabilities(conditional_writes=False, retention=False, versioning=False)


def _listed(lane: Lane, prefix: str, broken: dict[str, StoreError]) -> Iterator[ObjectInfo]:
    """List one store; where it fails, note that and end."""
    try:
        yield from lane.store.list(prefix)
    except StoreError as exc:
        lane.failed(exc)
        broken[lane.store.url] = exc


def _follow(store: Store, key: str, data: bytes) -> None:
    """Bring a pointer in *store* to *data*, whatever it is there."""
    try:
        etag = store.stat(key).etag
    except ObjectMissing:
        store.replace(key, data, etag=None)
    else:
        store.replace(key, data, etag=etag)
