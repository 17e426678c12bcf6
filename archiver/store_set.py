"""The files of one capture in a store, as the verifier reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Self, cast

from archiver.summary import capture_prefix
from manifests.evidence_set import Entry, EvidenceSet, FolderSet, SetUnreadable
from storage.errors import StoreError
from storage.folder import FolderStore
from storage.interface import Store


def evidence_set(store: Store, capture_id: str) -> EvidenceSet:
    """Return the files of a capture.

    In a folder they are looked at directly, since a store lists only objects: links and other things
    that no store ever wrote are for the verifier to see.
    """
    if isinstance(store, FolderStore):
        return FolderSet(store.root / capture_prefix(capture_id))
    return StoreSet(store, capture_prefix(capture_id))


class StoreSet:
    """The objects under one prefix of a store.

    Args:
        store: The store.
        prefix: Ends in ``/``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def entries(self) -> Iterator[Entry]:
        """Yield every object under the prefix; ``SetUnreadable`` when the store cannot be listed."""
        try:
            for info in self._store.list(self._prefix):
                yield Entry(info.key.removeprefix(self._prefix), info.size_bytes)
        except StoreError as error:
            raise _unreadable(error) from error

    def open(self, name: str) -> BinaryIO:
        """Open an object; ``SetUnreadable`` when that fails, also later from the stream."""
        try:
            # Only read, seek, tell and close of a stream are part of the contract.
            return cast("BinaryIO", _Stream(self._store.open(self._prefix + name)))
        except StoreError as error:
            raise _unreadable(error) from error


class _Stream:
    """A store's stream whose failures are those that a verifier knows."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except StoreError as error:
            raise _unreadable(error) from error

    def readinto(self, buffer: bytearray | memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except StoreError as error:
            raise _unreadable(error) from error

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()


def _unreadable(error: StoreError) -> SetUnreadable:
    return SetUnreadable(error.message, code=error.code, hint=error.hint)
