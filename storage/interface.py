"""The contract of every store: write-once objects under readable keys.

MUST, for every implementation (``tests/contract/test_store.py`` holds each to it):

1. ``put`` creates or finds, never replaces. Same key and same bytes again is success with
   ``created=False``; same key with other bytes raises ``ObjectConflict`` and changes nothing.
2. An object is visible whole or not at all, also after kill -9 or power loss, and when ``put``
   has returned it is durable.
3. Bytes whose SHA-256 is not the one announced are refused with ``DigestMismatch`` and leave
   nothing behind.
4. Memory stays flat in the size of an object: sources and results are streams.
5. ``list`` yields keys in bytewise order, whole objects only, each once.
6. Every failure is one of ``storage.errors``.

MAY differ, and is declared in ``capabilities`` instead of asked by type. One difference is not:
where the store is a tree (a folder, some S3 servers), one name cannot be both an object and a folder
of objects, and the put of the second is an ``ObjectConflict``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one store promises beyond the contract.

    Args:
        conditional_writes: Racing creators of one key are told apart: one wins.
        retention: Objects can be locked against deletion until a date.
        versioning: Replaced or deleted objects stay readable as versions.
    """

    conditional_writes: bool
    retention: bool
    versioning: bool


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object as the store lists it.

    Args:
        key: The key.
        size_bytes: Length of the object.
        etag: Opaque tag that changes with the bytes; for ``replace``. ``stat`` gives it for every object
            small enough to be replaced; a listing may leave it empty.
        version_id: The store's version of the object, where it keeps versions.
    """

    key: str
    size_bytes: int
    etag: str = ""
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a store answered to a put.

    Args:
        key: The key.
        size_bytes: Length as stored.
        sha256: Lower-case hex SHA-256 of the bytes, as computed on the way in.
        created: False when the same bytes were there already.
        etag: The store's tag.
        version_id: The store's version id, or empty.
        server_checksum: The server's own SHA-256 answer (base64, composite for multipart), or empty.
        copies: Of a store that is several: URL and receipt of each that has confirmed so far.
    """

    key: str
    size_bytes: int
    sha256: str
    created: bool
    etag: str = ""
    version_id: str = ""
    server_checksum: str = ""
    copies: tuple[tuple[str, Receipt], ...] = ()


class Store(Protocol):
    """One place that keeps objects. See the module for what an implementation MUST do."""

    url: str
    """How a person names this store: a path or ``s3://bucket/prefix``."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store promises beyond the contract."""
        ...

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* with the bytes of *source*, or find them there.

        Args:
            key: See ``storage.keys``.
            source: The bytes, a file to read, or a stream read once from its position to its end.
            sha256: Lower-case hex digest the bytes must have, when the caller knows it.

        Raises:
            InvalidKey, ObjectConflict, DigestMismatch, StoreRefused, StoreUnavailable.
        """
        ...

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* for reading from *offset*, at most *length* bytes. The caller closes it.

        The stream can seek within what was opened; a range beyond the object's end reads as empty.

        Raises:
            InvalidKey, ObjectMissing, StoreRefused, StoreUnavailable.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Describe *key*, or raise ``ObjectMissing``."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every whole object whose key starts with *prefix*, in bytewise order of keys."""
        ...

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the distinct next path segments under *prefix* (which ends in ``/`` or is empty).

        What a plain S3 browser shows as folders; for ``captures/`` the capture IDs. A store may still
        name a folder whose last object was deleted, or whose first one is being written.
        """
        ...

    def replace(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Swap a small mutable object, only if it still has *etag* (None: only if absent).

        The one exception to write-once, for pointers such as a log's latest checkpoint.

        Returns:
            The new etag.

        Raises:
            ObjectConflict: Somebody else was first; nothing was changed.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete *key*. For the one command that may; raises ``StoreRefused`` under retention or hold."""
        ...

    def cleanup(self) -> int:
        """Remove what dead writers left behind, none of it ever listed; return how many pieces."""
        ...
