"""The custody log in a store: ``manifests.custody_log`` over a ``storage`` store, below ``log/``."""

from __future__ import annotations

from collections.abc import Iterator

from archiver.stores import first_of
from manifests.log_reader import LogConflict
from storage.errors import ObjectConflict, ObjectMissing, StoreUnavailable
from storage.interface import Store

PREFIX = "log/"
MAX_OBJECT_BYTES = 32 * 1024 * 1024  # the largest object of a log is a bundle of entries, 16 MiB
_MAX_TRIES = 20


class StoreLog:
    """A ``manifests.log_reader.LogStore`` in *store*; errors of the store pass through.

    Args:
        store: Where the log lies, below ``log/``; of several stores the first one keeps it, since only one
            can decide which of two writers was first. ``archiver store sync`` copies it to the others.
    """

    def __init__(self, store: Store) -> None:
        self._store = first_of(store)

    @property
    def conditional_writes(self) -> bool:
        """What the store found out about itself."""
        return self._store.capabilities.conditional_writes

    def put_once(self, key: str, data: bytes) -> bool:
        """Create *key*, or find the same bytes there."""
        try:
            return self._store.put(PREFIX + key, data).created
        except ObjectConflict as error:
            raise LogConflict(key) from error

    def get(self, key: str) -> bytes | None:
        """The bytes at *key*, or None; of an object too large to be the log's, the beginning."""
        try:
            with self._store.open(PREFIX + key, length=MAX_OBJECT_BYTES) as stream:
                return stream.read()
        except ObjectMissing:
            return None

    def get_with_etag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes at *key* and their tag, read until no writer came between the two."""
        try:
            tag = self._store.stat(PREFIX + key).etag
            for _ in range(_MAX_TRIES):
                data, before, tag = self.get(key), tag, self._store.stat(PREFIX + key).etag
                if data is not None and before == tag:
                    return data, tag
        except ObjectMissing:
            return None
        raise StoreUnavailable(
            f"object {PREFIX}{key}: reading: expected it to stay for a moment, got a change each time",
            code="E161",
            hint="try again when fewer writers are at work",
        )

    def replace(self, key: str, data: bytes, etag: str | None) -> str:
        """Swap *key* if it still has *etag*."""
        try:
            return self._store.replace(PREFIX + key, data, etag=etag)
        except ObjectConflict as error:
            raise LogConflict(key) from error

    def list(self, prefix: str) -> Iterator[str]:
        """The log's keys that start with *prefix*, in bytewise order."""
        for info in self._store.list(PREFIX + prefix):
            yield info.key.removeprefix(PREFIX)
