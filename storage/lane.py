"""The way to one of several stores: puts in the background, and whether the store is worth asking."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from storage.errors import StoreUnavailable
from storage.interface import Receipt
from storage.keys import shown
from storage.retention import LockingStore

MAX_WAITING = 64
"""Puts that may wait for one slow store; further ones pass it by, and ``sync`` catches it up."""
REST_S = 60
"""How long a store that did not answer is passed by while the others suffice."""

_THREADS_EACH = 4


class Lane:
    """Puts to one store, a few at a time, so that a slow store holds up nobody else.

    Args:
        store: The store.
        note: Is told what the store failed to do.
    """

    def __init__(self, store: LockingStore, note: Callable[[str], None]) -> None:
        self.store = store
        self._note = note
        self._pool = ThreadPoolExecutor(_THREADS_EACH, thread_name_prefix="replica")
        self._room = threading.BoundedSemaphore(MAX_WAITING)
        self._resting_until = 0.0

    @property
    def is_up(self) -> bool:
        """False for a while after the store did not answer."""
        return time.monotonic() >= self._resting_until

    def failed(self, error: BaseException) -> None:
        """Let the store rest when *error* says that it does not answer."""
        if isinstance(error, StoreUnavailable):
            self._resting_until = time.monotonic() + REST_S

    def pass_by(self, key: str) -> None:
        """Leave *key* to a later ``sync``."""
        self._note(f"object {shown(key)}: passed by, the store did not answer a moment ago")

    def put(self, key: str, reopen: Callable[[], bytes | BinaryIO], sha256: str) -> Future[Receipt] | None:
        """Start a put; None when too many are waiting. The source is opened now: the caller may delete it."""
        source = reopen()
        if not self._room.acquire(blocking=False):
            self._note(f"object {shown(key)}: passed by, {MAX_WAITING} puts are waiting")
            if not isinstance(source, bytes):
                source.close()
            return None
        future = self._pool.submit(self._put, key, source, sha256, was_up=self.is_up)

        def finish(done: Future[Receipt]) -> None:
            self._room.release()
            if error := done.exception():
                self.failed(error)
                self._note(str(error))

        future.add_done_callback(finish)
        return future

    def _put(self, key: str, source: bytes | BinaryIO, sha256: str, *, was_up: bool) -> Receipt:
        with io.BytesIO(source) if isinstance(source, bytes) else source as stream:
            if was_up and not self.is_up:
                # It failed while this waited; a put that was started in spite of that is tried.
                raise StoreUnavailable(
                    f"object {shown(key)}: not tried: expected an answer to the put before it, got none",
                    code="E664",
                    hint="bring the store back, then run archiver store sync",
                )
            return self.store.put(key, stream, sha256=sha256)

    def close(self) -> None:
        """Wait for the puts that were started."""
        self._pool.shutdown(wait=True)
