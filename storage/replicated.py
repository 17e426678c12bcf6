"""Several stores as one: an object is preserved when a quorum of them has confirmed its digest.

What it does not do: decide who is right. Each store keeps the first bytes that it was given for a
key; where two stores hold different ones, ``put``, ``sync`` and an audit say so. A put that fails for
want of a quorum, or for a conflict in one store, may have created the object in another.
"""

from __future__ import annotations

import heapq
import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
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
from storage.retention import Lock, LockingStore, Retention, weakest
from storage.streams import WindowReader, check_announced, check_range, chunks, digest_of, require_announced

MAX_WAITING = 64
"""Puts that may wait for one slow store; further ones pass it by, and ``sync`` catches it up."""

_THREADS_EACH = 4
T = TypeVar("T")


class ReplicatedStore:
    """Writes to all of several stores, succeeds with *quorum* of them, reads from the first that answers.

    A put returns as soon as the quorum has confirmed; slower stores go on in the background, and
    ``lagging`` tells which of them failed. ``close`` waits for them.

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
        self._lanes = [_Lane(store) for store in stores]

    def close(self) -> None:
        """Wait until every store has done what it was given."""
        for lane in self._lanes:
            lane.close()

    @property
    def capabilities(self) -> Capabilities:
        """What every store promises, but for races: each creator may win in one store, and so all lose."""
        each = [store.capabilities for store in self.stores]
        return Capabilities(
            conditional_writes=len(each) == 1 and each[0].conditional_writes,
            retention=all(one.retention for one in each),
            versioning=all(one.versioning for one in each),
        )

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* in every store; the receipt is of the one that confirmed first.

        Raises:
            ObjectConflict: A store has other bytes under this key.
            DigestMismatch: *source* has not the announced digest, or changed while it was read.
            StoreUnavailable: Fewer than the quorum confirmed; put it again to complete it.
        """
        check_key(key)
        check_announced(key, sha256)
        with _rereadable(source) as (digest, reopen):
            require_announced(key, sha256, digest)
            started = [lane.put(key, reopen, digest, self._note) for lane in self._lanes]
        pending = {future for future in started if future is not None}
        receipts: list[Receipt] = []
        failures: list[StoreError] = []
        while pending and len(receipts) < self.quorum:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, StoreError):
                    failures.append(error)
                else:
                    receipts.append(future.result())
        for failure in failures:
            if isinstance(failure, ObjectConflict | DigestMismatch):
                raise failure
        if len(receipts) < self.quorum:
            raise self._too_few(key, f"{len(receipts)} confirmed", failures)
        return receipts[0]

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* in the first store that has it; another goes on where that one fails in the middle."""
        check_range(key, offset, length)
        return _FallbackReader(key, self.stat(key).size_bytes, self.stores).narrowed(offset, length)

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
        for store in self.stores:
            try:
                names.update(store.list_folders(prefix))
            except StoreError as exc:
                broken[store.url] = exc
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

    def _merged(self, prefix: str) -> Iterator[ObjectInfo]:
        broken: dict[str, StoreError] = {}
        streams = [_listed(store, prefix, broken) for store in self.stores]
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
        for store in self.stores:
            try:
                return ask(store)
            except ObjectMissing as exc:
                missing += 1
                failures.append(exc)
            except StoreError as exc:
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


class _Lane:
    """Puts to one store, a few at a time, so that a slow store holds up nobody else."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(_THREADS_EACH, thread_name_prefix="replica")
        self._room = threading.BoundedSemaphore(MAX_WAITING)

    def put(
        self,
        key: str,
        reopen: Callable[[], bytes | BinaryIO],
        sha256: str,
        note: Callable[[Store, str], None],
    ) -> Future[Receipt] | None:
        """Start a put; None when too many are waiting. The source is opened now: the caller may delete it."""
        source = reopen()
        if not self._room.acquire(blocking=False):
            note(self._store, f"object {shown(key)}: passed by, {MAX_WAITING} puts are waiting")
            if not isinstance(source, bytes):
                source.close()
            return None
        future = self._pool.submit(self._put, key, source, sha256)

        def finish(done: Future[Receipt]) -> None:
            self._room.release()
            if error := done.exception():
                note(self._store, str(error))

        future.add_done_callback(finish)
        return future

    def _put(self, key: str, source: bytes | BinaryIO, sha256: str) -> Receipt:
        with io.BytesIO(source) if isinstance(source, bytes) else source as stream:
            return self._store.put(key, stream, sha256=sha256)

    def close(self) -> None:
        """Wait for the puts that were started."""
        self._pool.shutdown(wait=True)


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


def _listed(store: Store, prefix: str, broken: dict[str, StoreError]) -> Iterator[ObjectInfo]:
    """List one store; where it fails, note that and end."""
    try:
        yield from store.list(prefix)
    except StoreError as exc:
        broken[store.url] = exc


def _follow(store: Store, key: str, data: bytes) -> None:
    """Bring a pointer in *store* to *data*, whatever it is there."""
    try:
        etag = store.stat(key).etag
    except ObjectMissing:
        store.replace(key, data, etag=None)
    else:
        store.replace(key, data, etag=etag)
